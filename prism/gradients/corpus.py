"""The corpus to probe: expert trajectories of the workflow, or a person's own chats or tokens."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from prism.core.chat_formats.tokens import TokenRow
from prism.core.chat_rows import ChatEncoder
from prism.core.chat_templates import ChatForm, ChatTemplate
from prism.core.chats import TOKENS, TRAJECTORIES, Chat, kind_of_data, stream_chats, stream_tokens
from prism.core.data_source import DataSource
from prism.core.errors import BadInput
from prism.core.files import sha256_json
from prism.core.prompts import PROMPT_VERSION, Encoded, PromptEncoder, PromptFormat, join_spans
from prism.core.trajectories import Trajectory, read_trajectories
from prism.gradients.packs import Sample

# Raised whenever the same chats give another token stream
CHAT_VERSION = 2


class Corpus(Protocol):
    """Trajectories by id, where each stands, and how it becomes token rows."""

    ids: list[str]

    def samples(
        self, ids: Sequence[str], tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str
    ) -> list[Sample]:
        """Token rows of the trajectories with these ids, in their order; see `PromptEncoder.encode_trajectory`."""

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

    def samples(
        self, ids: Sequence[str], tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str
    ) -> list[Sample]:
        """Token rows of these trajectories."""
        return [self.encode(identifier, tokenizer, prompt, layout, loss_on) for identifier in ids]

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


class StreamedCorpus(ABC):
    """A data set of records that is read twice, record by record: to check it all, and to encode what is asked for.

    Of a record only its id and place are kept, and of those that are encoded their tokens.
    """

    def __init__(self, source: DataSource):
        self.source = source
        self._places = {identifier: place for identifier, place, _ in self._read()}
        self.ids = list(self._places)

    @abstractmethod
    def _read(self) -> Iterator[tuple[str, str, Any]]:
        """Id, place and content of every record, checked."""

    @abstractmethod
    def _encoder(self, tokenizer: Any, prompt: PromptFormat, loss_on: str) -> Callable[[Any], Encoded]:
        """What turns the content of a record into token rows."""

    def samples(
        self, ids: Sequence[str], tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str
    ) -> list[Sample]:
        """Token rows of these records; they have no layout but their own."""
        encode, wanted = self._encoder(tokenizer, prompt, loss_on), set(ids)
        found = {
            identifier: Sample.of(identifier, encode(content)).packed()
            for identifier, _, content in self._read()
            if identifier in wanted
        }
        if len(found) < len(wanted):
            raise BadInput(self.source.path, "has changed while it was read", "run the command again")
        return [found[identifier] for identifier in ids]

    def place(self, identifier: str) -> str:
        """File, and line or record."""
        return self._places[identifier]


class ChatCorpus(StreamedCorpus):
    """People's own chats; their layout is the chat template's own.

    Args:
        form: how they are rendered.
    """

    def __init__(self, source: DataSource, form: ChatForm):
        super().__init__(source)
        self.form = form

    def _read(self) -> Iterator[tuple[str, str, Chat]]:
        return ((chat.id, chat.place, chat) for chat in stream_chats(self.source))

    def _encoder(self, tokenizer: Any, prompt: PromptFormat, loss_on: str) -> Callable[[Chat], Encoded]:
        return ChatEncoder(tokenizer, prompt.context_length, self.form, loss_on).encode

    def prompt_facts(self, tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str) -> dict[str, str]:
        """Chat template with its variables and date, context length and loss, hashed."""
        return chat_facts(tokenizer, self.form, prompt.context_length, loss_on)


class TokenCorpus(StreamedCorpus):
    """People's own tokens, with a mark for each that carries loss: neither template nor tokenizer is asked."""

    def _read(self) -> Iterator[tuple[str, str, list[TokenRow]]]:
        return stream_tokens(self.source)

    def _encoder(self, tokenizer: Any, prompt: PromptFormat, loss_on: str) -> Callable[[list[TokenRow]], Encoded]:
        return lambda rows: encode_tokens(rows, prompt.context_length, loss_on)

    def prompt_facts(self, tokenizer: Any, prompt: PromptFormat, layout: str, loss_on: str) -> dict[str, str]:
        """Context length and loss, hashed."""
        form = {"context_length": prompt.context_length, "loss_on": loss_on}
        return {
            "prompt_format": f"tokens as given, context_length={prompt.context_length}, loss_on={loss_on}",
            "prompt_sha256": sha256_json({"tokens": "as given", **form, "version": CHAT_VERSION}),
            "prompt_version": str(CHAT_VERSION),
        }


def encode_tokens(rows: Sequence[TokenRow], context_length: int, loss_on: str = "response") -> Encoded:
    """Rows that are tokens already, cut at the context length."""
    spans = [[([token], bool(mark)) for token, mark in zip(ids, marks, strict=True)] for ids, marks in rows]
    return join_spans(spans, context_length, loss_on)


def chat_facts(tokenizer: Any, form: ChatForm, context_length: int, loss_on: str) -> dict[str, str]:
    """What the tokens of chats depend on beside the chats, for the metadata."""
    rest = {"context_length": context_length, "loss_on": loss_on}
    told = asdict(form) | rest
    return {
        "prompt_format": f"chat template, {', '.join(f'{key}={value}' for key, value in rest.items())}",
        "prompt_sha256": sha256_json({**ChatTemplate(tokenizer, form).facts(), **rest, "version": CHAT_VERSION}),
        "prompt_version": str(CHAT_VERSION),
        "chats": json.dumps(told, sort_keys=True),
    }


def load_corpus(data: str | Path | DataSource, form: ChatForm | None = None) -> Corpus:
    """Read a corpus; its first record tells the format.

    Args:
        form: how chats are rendered.

    Raises:
        BadInput: names file and line of what cannot be used.
    """
    source = DataSource.of(data)
    kind = kind_of_data(source)
    if kind == TRAJECTORIES:
        return ExpertCorpus(source.trajectory_file())
    return TokenCorpus(source) if kind == TOKENS else ChatCorpus(source, form or ChatForm())
