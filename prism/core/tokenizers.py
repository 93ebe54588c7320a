"""Loading a model folder's tokenizer, with one line where it cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prism.core.errors import BadInput


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer of a local model folder; none of the folder's own code is run.

    Raises:
        BadInput: a file of it, or of the model's configuration, is missing or broken.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    # the libraries beneath raise bare Exceptions for a broken tokenizer.json
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise BadInput(folder, f"its tokenizer cannot be loaded ({reason})", "fetch or save the model again") from error
