"""The corpus to probe: expert trajectories of the workflow, or a person's own chats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from prism.core.chat_rows import ChatEncoder
from prism.core.chat_templates import ChatForm, ChatTemplate
from prism.core.chats import holds_trajectories, read_chats
from prism.core.files import sha256_json
from prism.core.prompts import PROMPT_VERSION, PromptEncoder, PromptFormat
from prism.core.trajectories import Trajectory, read_trajectories
from prism.gradients.packs import Sample

# Raised whenever the same chats give another token stream
CHAT_VERSION = 2


class Corpus(Protocol):
    """Trajectories by id, where each stands, and how it becomes token rows."""

    ids: list[str]

    def encode(self, identifier: str, tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str) -> Sample:
        """Token rows of one trajectory; see `PromptEncoder.encode_trajectory`."""

    def place(self, identifier: str) -> str:
        """Where a trajectory stands, for errors."""

    def prompt_facts(self, tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str) -> dict[str, str]:
        """What the token stream depends on, for the metadata."""


class ExpertCorpus:
    """Expert trajectories in the workflow's format."""

    def __init__(self, path: Path):
        self.path = path
        self._trajectories: dict[str, Trajectory] = {one.id: one for one in read_trajectories(path)}
        self.ids = list(self._trajectories)
        self._encoder: PromptEncoder | None = None

    def encode(self, identifier: str, tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str) -> Sample:
        """Token rows of one trajectory, as SFT sees them in the same layout."""
        if self._encoder is None or self._encoder.form != prompt or self._encoder.tokenizer is not tokenizer:
            self._encoder = PromptEncoder(tokenizer, prompt)
        encoded = self._encoder.encode_trajectory(self._trajectories[identifier], layout, loss_on)
        return Sample.of(identifier, encoded)

    def place(self, identifier: str) -> str:
        """File and id."""
        return f"{self.path} ({identifier})"

    def prompt_facts(self, tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str) -> dict[str, str]:
        """Prompt format, layout and loss, and their hash."""
        return {
            "prompt_format": f"{prompt}, layout={layout}, loss_on={loss_on}",
            "prompt_sha256": prompt.sha256(layout=layout, loss_on=loss_on),
            "prompt_version": str(PROMPT_VERSION),
        }


class ChatCorpus:
    """People's own chats; their layout is the chat template's own.

    Args:
        form: how they are rendered.
    """

    def __init__(self, path: Path, form: ChatForm):
        self._chats = {chat.id: chat for chat in read_chats(path)}
        self.ids, self.form = list(self._chats), form
        self._encoder: ChatEncoder | None = None

    def encode(self, identifier: str, tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str) -> Sample:
        """Token rows of one chat under the chat template."""
        wanted = (tokenizer, prompt.context_length, loss_on)
        if self._encoder is None or self._encoder.settings != wanted:
            self._encoder = ChatEncoder(tokenizer, prompt.context_length, self.form, loss_on)
        return Sample.of(identifier, self._encoder.encode(self._chats[identifier]))

    def place(self, identifier: str) -> str:
        """File and line."""
        return self._chats[identifier].place

    def prompt_facts(self, tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str) -> dict[str, str]:
        """Chat template with its variables and date, context length and loss, hashed."""
        return chat_facts(tokenizer, self.form, prompt.context_length, loss_on)


def chat_facts(tokenizer: Any, form: ChatForm, context_length: int, loss_on: str) -> dict[str, str]:
    """What the tokens of chats depend on beside the chats, for the metadata."""
    rest = {"context_length": context_length, "loss_on": loss_on}
    told = {"variables": form.variables, "date": form.date} | rest
    return {
        "prompt_format": f"chat template, {', '.join(f'{key}={value}' for key, value in rest.items())}",
        "prompt_sha256": sha256_json({**ChatTemplate(tokenizer, form).facts(), **rest, "version": CHAT_VERSION}),
        "prompt_version": str(CHAT_VERSION),
        "chat_form": json.dumps(told, sort_keys=True, ensure_ascii=False),
    }


def load_corpus(path: str | Path, form: ChatForm | None = None) -> Corpus:
    """Read a corpus; its first record tells the format.

    Args:
        form: how chats are rendered.

    Raises:
        BadInput: names file and line of what cannot be used.
    """
    path = Path(path)
    return ExpertCorpus(path) if holds_trajectories(path) else ChatCorpus(path, form or ChatForm())
