"""The rendering of chats that a table of scores was made with, from the table's head."""

from __future__ import annotations

import json

from prism.core.chat_rows import ChatEncoder
from prism.core.chat_templates import ChatForm
from prism.core.csv_files import Table
from prism.core.errors import BadInput
from prism.core.tokenizers import load_tokenizer
from prism.gradients.corpus import chat_facts
from prism.gradients.models import find_model, tokenizer_folder

_REMEDY = "probe and score the chats again, or emit llamafactory-messages"


def probed_encoder(table: Table) -> ChatEncoder:
    """What made the token rows of the chats whose scores stand in a table.

    Raises:
        BadInput: the table does not say how they were rendered, or the model's chat template is another one today.
    """
    said, model = table.note("chats"), table.note("model")
    if said is None or model is None:
        raise BadInput(table.path, "does not say how its chats were rendered", _REMEDY)
    told = json.loads(said)
    context_length, loss_on = told.pop("context_length"), told.pop("loss_on")
    form = ChatForm(**told)
    tokenizer = load_tokenizer(tokenizer_folder(find_model(model.rpartition(" sha256 ")[0])))
    facts = chat_facts(tokenizer, form, context_length, loss_on)
    if not (table.note("probe") or "").endswith(facts["prompt_sha256"]):
        raise BadInput(table.path, "its chats were rendered with another chat template than the model has", _REMEDY)
    return ChatEncoder(tokenizer, context_length, form, loss_on)
