"""What verl needs to know of this project: a CPU platform, a sampler, the agent loop and the trainer's advantages.

verl loads the modules named in ``VERL_USE_EXTERNAL_MODULES`` in every process; they register themselves with verl's
own registries. verl's source is not edited.
"""
