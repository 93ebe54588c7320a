"""What a result of a scale means."""

from __future__ import annotations

SCALE_NOTES = {
    "paper": "paper scale",
    "demo": "DEMO SCALE: tiny backbones, generated games; shows that the machinery works, not that the paper is right",
    "laptop": "LAPTOP SCALE: tiny backbones, generated games; what it says is about this world, not about the paper's "
    "models",
    "gpu": "ONE-GPU SCALE: backbones of one to two billion parameters, smaller batches, fewer steps; none of the "
    "paper's models",
    "pretrained": "PRETRAINED SCALE: one language model of 135 million parameters whose weights had 4 bits, tiny "
    "backbones beside it, generated games; none of the paper's models",
}


def scale_note(scale: str) -> str:
    """One sentence on what a result of this scale means; every table and figure carries it."""
    return SCALE_NOTES.get(
        scale, f"{scale.upper()} SCALE: tiny backbones; it shows that the machinery works, not that the paper is right"
    )
