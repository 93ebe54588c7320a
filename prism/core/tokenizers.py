"""Loading a model folder's tokenizer, with one line where it cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prism.core.errors import BadInput, first_line
from prism.core.files import read_json

# how the chat templates of a family open a turn, by LLaMA-Factory's names
TURN_MARKS = {
    "qwen3": "<|im_start|>",
    "qwen3_nothink": "<|im_start|>",
    "llama3": "<|start_header_id|>",
    "chatml": "<|im_start|>",
}


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
        reason = first_line(error)[:120]
        raise BadInput(folder, f"its tokenizer cannot be loaded ({reason})", "fetch or save the model again") from error


def check_starts(tokenizer: Any) -> None:
    """Refuse a tokenizer that puts its beginning-of-text token before every text, also where it is told not to.

    The chat template writes the token once; prompts and answers are tokenized apart and would each get another.
    """
    start = getattr(tokenizer, "bos_token_id", None)
    if start is not None and start in tokenizer("a", add_special_tokens=False)["input_ids"]:
        name = getattr(tokenizer, "name_or_path", "") or "tokenizer"
        problem = f"puts {tokenizer.bos_token!r} before every text, also where it is told not to"
        raise BadInput(name, problem, "take it out of tokenizer.json: the chat template writes it")


def check_template(folder: str | Path, template: str, place: str) -> None:
    """Refuse a name of LLaMA-Factory's that belongs to another family than a model's own chat template.

    Args:
        folder: the model; one without a chat template is not judged.
        template: LLaMA-Factory's name; one that is not among `TURN_MARKS` is not judged.
        place: where the name comes from, for the error.
    """
    own = _chat_template(Path(folder))
    if own and template in TURN_MARKS and TURN_MARKS[template] not in own:
        fitting = [name for name, mark in TURN_MARKS.items() if mark in own]
        remedy = f"use {' or '.join(fitting)}" if fitting else "name the family of the model"
        raise BadInput(place, f"{template!r} is not the family of the chat template in {folder}", remedy)


def _chat_template(folder: Path) -> str:
    """A model's chat template as text, from the file of its own or the tokenizer's settings; empty for none."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    if not (folder / "tokenizer_config.json").is_file():
        return ""
    return str(read_json(folder / "tokenizer_config.json").get("chat_template") or "")
