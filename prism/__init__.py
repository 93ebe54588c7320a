"""PRISM, rebuildable: route trajectories to SFT or RL by gradient concentration (arXiv 2601.07224).

Layers, top to bottom; imports run downwards only:

* ``prism.cli``          the commands, nothing but argument handling; ``prism.api``, the same for Python
* ``prism.tools``        what people call and no rule runs
* ``prism.stages``       what rules run: files in, files out
* ``prism.environments`` the benchmarks, ``prism.generation`` the samplers,
  ``prism.rl.in_verl``  what verl loads (agent loop, CPU platform)
* ``prism.core``         the science and the formats; imports nothing from above
"""

__version__ = "0.2.0"

# what Python users call: loaded when it is asked for, so that importing the package costs nothing
_API = ("DataSource", "Norms", "probe", "route")


def __getattr__(name: str) -> object:
    if name in _API:
        from prism import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
