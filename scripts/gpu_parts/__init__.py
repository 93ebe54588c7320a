"""The parts of `scripts/gpu_check.py`: each measures one stage of the product on a borrowed card.

``runner`` and ``wheels`` need the standard library alone; the parts run in the environments of `envs/`.
"""
