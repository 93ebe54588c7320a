"""Services that trainings report to: off unless the config asks, offline unless the user's environment says more."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

TRACKERS = ("tensorboard", "wandb", "swanlab", "mlflow")


def tracker_environment(wanted: Sequence[str], folder: Path) -> dict[str, str]:
    """Environment variables of the trackers, on top of the caller's own.

    What is not wanted is switched off, whatever the user's shell says. What is wanted writes below `folder` and sends
    nothing, unless the user has set a mode or a place. Keys stay in the environment: no command or file holds one.
    """
    modes = {f"{name.upper()}_MODE": "offline" if name in wanted else "disabled" for name in ("wandb", "swanlab")}
    places = {
        "WANDB_DIR": str(folder),
        "SWANLAB_LOG_DIR": str(folder / "swanlab"),
        "TENSORBOARD_DIR": str(folder / "tensorboard"),
        "TENSORBOARD_LOGGING_DIR": str(folder / "tensorboard"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
    }
    chosen = {name: os.environ.get(name, value) for name, value in (modes | places).items()}
    return chosen | {name: mode for name, mode in modes.items() if mode == "disabled"}
