"""The corpus to probe: expert trajectories of the workflow, or a person's own chats."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from prism.core.probe.packing import Sample
from prism.core.prompts import PROMPT_VERSION, PromptEncoder, PromptFormat
from prism.core.trajectories import read_trajectories


class Corpus(Protocol):
    """Trajectories by id, and how each becomes token rows."""

    ids: list[str]

    def encode(self, identifier: str, tokenizer: Any, prompt: PromptFormat) -> Sample:
        """Token rows of one trajectory."""

    def place(self, identifier: str) -> str:
        """Where the trajectory stands, for errors."""

    def prompt_facts(self, tokenizer: Any, prompt: PromptFormat) -> dict[str, str]:
        """What the token stream depends on, for the metadata."""


class ExpertCorpus:
    """Expert trajectories in the workflow's format."""

    def __init__(self, path: Path):
        self.path = path
        self._trajectories = {trajectory.id: trajectory for trajectory in read_trajectories(path)}
        self.ids = list(self._trajectories)
        self._encoder: PromptEncoder | None = None

    def encode(self, identifier: str, tokenizer: Any, prompt: PromptFormat) -> Sample:
        """Token rows of one trajectory, as SFT and RL see them."""
        if self._encoder is None or self._encoder.form != prompt or self._encoder.tokenizer is not tokenizer:
            self._encoder = PromptEncoder(tokenizer, prompt)
        rows, truncated = self._encoder.encode_trajectory(self._trajectories[identifier])
        return Sample(identifier, tuple(rows), truncated)

    def place(self, identifier: str) -> str:
        """The corpus file."""
        return str(self.path)

    def prompt_facts(self, tokenizer: Any, prompt: PromptFormat) -> dict[str, str]:
        """Prompt format and its hash."""
        return {"prompt_format": str(prompt), "prompt_sha256": prompt.sha256(), "prompt_version": str(PROMPT_VERSION)}


def load_corpus(path: str | Path) -> Corpus:
    """Read a corpus."""
    return ExpertCorpus(Path(path))
