"""What verl needs to know of this project: a CPU platform, a sampler, the agent loop and the trainer's advantages.

verl loads the modules named in ``VERL_USE_EXTERNAL_MODULES`` in every process; they register themselves with verl's
own registries. verl's source is not edited.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any


def replace(module: ModuleType | type, name: str, replacement: Any) -> None:
    """Replace one attribute of verl.

    Raises:
        RuntimeError: this version of verl has no such attribute, so the replacement would silently do nothing.
    """
    if not hasattr(module, name):
        raise RuntimeError(f"verl has no {module.__name__}.{name}: this plug-in was written for verl 0.9.1")
    setattr(module, name, replacement)
