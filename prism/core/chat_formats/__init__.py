"""Formats of chats that people bring, each told by its record's keys and turned into OpenAI's messages.

A format is a line in `FORMATS`; `to_openai` is the one door. What a record says that its messages cannot hold is
refused or, where it can carry no loss, named in docs/route-your-own-data.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from prism.core import messages as message_model
from prism.core.chat_formats import agents, atif, instructions, messages, openhands, tokens
from prism.core.chat_formats.parts import keys_of, parsed_column, refuse_media, without_nulls
from prism.core.errors import BadInput, first_line

CHOSEN = "name what to probe: --columns completion=chosen, or messages=chosen where it holds the prompt"


@dataclass(frozen=True)
class ChatFormat:
    """A format of chats.

    Attributes:
        name: as people call it.
        detect: whether a record is in it.
        convert: the record's ``messages`` in OpenAI's form, and its ``tools`` and ``id`` where they stand elsewhere;
            gets the record's place for errors.
    """

    name: str
    detect: Callable[[Mapping[str, Any]], bool]
    convert: Callable[[Mapping[str, Any], str], dict[str, Any]]


# the first that fits is taken
FORMATS = (
    ChatFormat("ATIF", atif.detect, atif.convert),
    ChatFormat("OpenHands", openhands.detect, openhands.convert),
    ChatFormat("SWE-agent", agents.detect, agents.convert),
    ChatFormat("messages", messages.detect, messages.convert),
    ChatFormat("prompt and completion", instructions.detect_completion, instructions.convert_completion),
    ChatFormat("alpaca", instructions.detect_alpaca, instructions.convert_alpaca),
)


def to_openai(record: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A record of any format with ``messages`` as OpenAI has them; what else it holds is kept.

    Raises:
        BadInput: the record is in no format that is known, is not whole, or holds images, audio or video.
    """
    record = {key: parsed_column(key, value) for key, value in without_nulls(record).items()}
    refuse_media(record, place)
    _refuse_preferences(record, place)
    if record.get("chat_template_kwargs"):
        raise BadInput(place, "has variables of the chat template of its own ('chat_template_kwargs')",
                       "remove them, and give --chat-template-kwargs for all chats")  # fmt: skip
    for known in FORMATS:
        if known.detect(record):
            try:
                return {**record, **known.convert(record, place)}
            except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
                problem = f"looks like {known.name}, but a field of it is of another type ({first_line(error)})"
                raise BadInput(place, problem, "mend it, or write its messages as OpenAI's") from error
    raise BadInput(place, *_unknown(record))


def _refuse_preferences(record: Mapping[str, Any], place: str) -> None:
    """Refuse answers that somebody judged: one that was rejected would be taken for a trajectory."""
    for column in ("kto_tag", "label"):
        judged = column == "kto_tag" or "completion" in record
        if judged and isinstance(record.get(column), bool):
            remedy = f"keep the good answers, without the column {column!r}"
            raise BadInput(place, f"is preference data: {column!r} says whether the answer is a good one", remedy)
    if "rejected" in record and not {"messages", "completion"} & record.keys():
        raise BadInput(place, "is a preference pair, not a trajectory", CHOSEN)


def _unknown(record: Mapping[str, Any]) -> tuple[str, str]:
    """What a record in no known format looks like, and what to do."""
    if tokens.detect(record):
        return "holds tokens, among chats", "put records with 'input_ids' into a file of their own"
    if "chosen" in record:
        return "is a preference pair, not a trajectory", CHOSEN
    if "prompt" in record:
        return "has a prompt but no completion", "write the answer as 'completion'"
    if "text" in record:
        return "is plain text, of which no token is known to be an answer", message_model.FORMATS
    if "role" in record or "from" in record:
        return "is a single message, not a chat", 'put the messages of a chat into one record: {"messages": [...]}'
    problem = f"has neither 'messages' nor 'conversations', nor the keys of another format; it has {keys_of(record)}"
    return problem, f"{message_model.FORMATS}, or name the columns: --columns messages=..."
