"""What RL and sampling leave out because it would change nothing; each can be switched off, to be measured.

``PRISM_WITHOUT`` names those that are off, with commas between them, or ``all``. It is read here alone, and is for
``benchmarks/rl_step.py`` and tests: results are the same with and without, to rounding.
"""

from __future__ import annotations

import os

VARIABLE = "PRISM_WITHOUT"

SAVINGS = {
    "cut_rows_at_once": "micro-batches are cut out of a training step's rows without taking all rows apart each time",
    "response_logits": "logits are computed for the tokens of responses alone",
    "rows_without_advantage": "rows whose advantage is 0 are not passed through the model",
    "equal_rows": "of rows with the same tokens one is passed through the model, with the sum of their advantages",
    "old_log_probs": "old log-probabilities are the current ones where a training step is one optimizer step",
    "needed_fields": "the trainer's processes fetch the fields that they read",
    "whole_waves": "the requests of a process's episodes reach the sampler together, in one call",
    "equal_prompts": "equal prompts of a batch are read once",
    "cache_in_place": "a new token's keys and values are written into room left for them; nothing is copied",
    "shared_heads": "query heads that share a key head do so without copies of it",
}


def active(name: str) -> bool:
    """Whether a saving is made in this process.

    Raises:
        KeyError: there is none of this name.
    """
    SAVINGS[name]
    off = os.environ.get(VARIABLE, "").split(",")
    return "all" not in off and name not in off
