"""The corpus to probe: expert trajectories of the workflow, or a person's own chats."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from prism.core.chats import holds_trajectories, read_chats
from prism.core.files import sha256_json
from prism.core.prompts import (
    PROMPT_VERSION,
    PromptEncoder,
    PromptFormat,
    encode_chat,
)
from prism.core.trajectories import Trajectory, read_trajectories
from prism.gradients.packs import Sample


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
    """Chats in OpenAI's or ShareGPT's format; their layout is the chat template's own."""

    def __init__(self, path: Path):
        self._chats = {chat.id: chat for chat in read_chats(path)}
        self.ids = list(self._chats)

    def encode(self, identifier: str, tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str) -> Sample:
        """Token rows of one chat under the tokenizer's chat template."""
        chat = self._chats[identifier]
        encoded = encode_chat(tokenizer, chat.messages, prompt.context_length, chat.place, chat.tools, loss_on)
        return Sample.of(identifier, encoded)

    def place(self, identifier: str) -> str:
        """File and line."""
        return self._chats[identifier].place

    def prompt_facts(self, tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str) -> dict[str, str]:
        """Chat template, context length and loss, hashed."""
        form = {"chat_template": tokenizer.chat_template, "context_length": prompt.context_length, "loss_on": loss_on}
        return {
            "prompt_format": f"chat template, context_length={prompt.context_length}, loss_on={loss_on}",
            "prompt_sha256": sha256_json({**form, "version": PROMPT_VERSION}),
            "prompt_version": str(PROMPT_VERSION),
        }


def load_corpus(path: str | Path) -> Corpus:
    """Read a corpus; its first record tells the format.

    Raises:
        BadInput: names file and line of what cannot be used.
    """
    path = Path(path)
    return ExpertCorpus(path) if holds_trajectories(path) else ChatCorpus(path)
