"""Trajectories as the prober sees them, and packs: rows of several trajectories in one sequence without padding."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from prism.core.errors import BadInput
from prism.core.prompts import Encoded, Row

# tokens that rows must begin with alike to share them
SHARED_AT_LEAST = 16


@dataclass(frozen=True)
class Sample:
    """One trajectory as the prober sees it.

    Attributes:
        id: unique in the corpus.
        rows: its token rows; the loss is the mean over the tokens with loss of all of them.
        truncated: number of rows that were cut at the context length (or dropped because nothing was left).
        response_tokens_cut: tokens with loss that were cut off.
        unrendered: parts of a chat that its chat template does not write, counted by kind.
    """

    id: str
    rows: tuple[Row, ...]
    truncated: int = 0
    response_tokens_cut: int = 0
    unrendered: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, identifier: str, encoded: Encoded) -> Sample:
        """A trajectory's rows under its id."""
        return cls(identifier, tuple(encoded.rows), encoded.truncated, encoded.response_tokens_cut, encoded.unrendered)

    def packed(self) -> Sample:
        """The same sample in a tenth of the memory: five bytes a token."""
        return replace(self, rows=tuple(Row(array("i", row.input_ids), bytes(row.response_mask)) for row in self.rows))

    @property
    def response_tokens(self) -> int:
        """Tokens that carry loss. The first token of a row is never predicted, so it cannot."""
        return sum(sum(row.response_mask[1:]) for row in self.rows)

    @property
    def tokens(self) -> int:
        """Tokens that the prober computes at the most: every row up to its last predictor."""
        return sum(useful_length(row) for row in self.rows)


def useful_length(row: Row) -> int:
    """Input tokens of a row that can influence its loss: all before its last response token.

    The last response token is only a target, and what follows it is seen by no loss.
    """
    for index in range(len(row.response_mask) - 1, 0, -1):
        if row.response_mask[index]:
            return index
    return 0


def check_samples(model: nn.Module, samples: Sequence[Sample], name: str) -> None:
    """Check that a model has positions and tokens for all samples.

    Args:
        name: what to call the model in an error.

    Raises:
        BadInput: a row is longer than the model's positions, or a token id is unknown.
    """
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    vocabulary = model.get_input_embeddings().num_embeddings
    for sample in samples:
        longest = max(len(row.input_ids) for row in sample.rows)
        if positions is not None and longest > positions:
            problem = f"has {positions} positions, trajectory {sample.id!r} has {longest} tokens"
            raise BadInput(name, problem, "lower the context length")
        if max(max(row.input_ids) for row in sample.rows) >= vocabulary:
            raise BadInput(name, f"does not know a token of trajectory {sample.id!r}", "use the model's own tokenizer")


@dataclass(frozen=True)
class Pack:
    """Rows of several trajectories in one sequence of T tokens.

    Attributes:
        input_ids: (1, T) token ids.
        position_ids: (1, T) positions, counted from 0 in every row, a shared beginning included.
        row_ends: cumulative row boundaries, starting with 0; attention crosses them only to a beginning.
        row_beginnings: for each row, the number of the one with the tokens before its own; None where it is whole.
        spans: (start, end) of each trajectory; its rows lie side by side.
        predictors: positions whose next token is a response token, R of them.
        predictor_spans: (start, end) of each trajectory within the R predictors.
        row_predictors: for each row, its predictors' positions within the row.
        targets: (R,) the response tokens.
        weights: (R,) float64, 1 / response tokens of the trajectory.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    row_ends: tuple[int, ...]
    row_beginnings: tuple[int | None, ...]
    spans: tuple[tuple[int, int], ...]
    predictors: torch.Tensor
    predictor_spans: tuple[tuple[int, int], ...]
    row_predictors: tuple[torch.Tensor, ...]
    targets: torch.Tensor
    weights: torch.Tensor


def build_pack(
    samples: Sequence[Sample],
    device: torch.device,
    denominators: Sequence[int] | None = None,
    *,
    share_beginnings: bool = False,
) -> Pack:
    """Lay the rows of `samples` side by side.

    Args:
        denominators: response tokens each loss is divided by; by default those of the sample. Differs where a
            trajectory is probed in several parts.
        share_beginnings: what all rows of a trajectory begin with is laid down once, as a row of its own. Its hidden
            states are the same in each of them, and its gradient is the sum of theirs (`shared_beginning`).
    """
    ids: list[int] = []
    positions: list[int] = []
    predictors: list[int] = []
    targets: list[int] = []
    weights: list[float] = []
    row_ends, row_beginnings, row_predictors, spans, predictor_spans = [0], [], [], [], []
    for index, sample in enumerate(samples):
        first_row, first_token, first_predictor = len(row_beginnings), len(ids), len(predictors)
        weight = 1.0 / (denominators[index] if denominators else sample.response_tokens)
        rows = [row for row in sample.rows if useful_length(row)]
        for row, start, end in _pieces(rows, shared_beginning(rows) if share_beginnings else 0):
            offset = len(ids) - start
            in_row = [token for token in range(start, end) if row.response_mask[token + 1]]
            predictors += [offset + token for token in in_row]
            targets += [row.input_ids[token + 1] for token in in_row]
            weights += [weight] * len(in_row)
            row_predictors.append(torch.tensor([token - start for token in in_row], dtype=torch.long, device=device))
            row_beginnings.append(first_row if start else None)
            ids += row.input_ids[start:end]
            positions += range(start, end)
            row_ends.append(len(ids))
        spans.append((first_token, len(ids)))
        predictor_spans.append((first_predictor, len(predictors)))
    return Pack(
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        row_ends=tuple(row_ends),
        row_beginnings=tuple(row_beginnings),
        spans=tuple(spans),
        predictors=torch.tensor(predictors, device=device),
        predictor_spans=tuple(predictor_spans),
        row_predictors=tuple(row_predictors),
        targets=torch.tensor(targets, device=device),
        weights=torch.tensor(weights, dtype=torch.float64, device=device),
    )


def _pieces(rows: Sequence[Row], shared: int) -> list[tuple[Row, int, int]]:
    """What is laid down of a trajectory, (row, start, end): the tokens that its rows share, then the rest of each."""
    beginning = [(rows[0], 0, shared)] if shared else []
    return beginning + [(row, shared, useful_length(row)) for row in rows]


def shared_beginning(rows: Sequence[Row]) -> int:
    """Number of tokens that all of several rows begin with, before the first one that predicts a response token.

    The steps of one episode do: their prompts open with the same instructions and the same task. 0 where too little is
    saved to be worth the trouble.
    """
    if len(rows) < 2:
        return 0
    # what predicts a response token has a target of its own in each row
    most = min(_first_predictor(row) for row in rows)
    beginnings = [list(row.input_ids[:most]) for row in rows]
    # in the order of lists whatever the first and the last have in common is common to all between them
    pairs = enumerate(zip(min(beginnings), max(beginnings), strict=True))
    length = next((index for index, (one, other) in pairs if one != other), most)
    return length if length >= SHARED_AT_LEAST else 0


def _first_predictor(row: Row) -> int:
    return next(index for index in range(len(row.response_mask) - 1) if row.response_mask[index + 1])


def plan_packs(samples: Sequence[Sample], tokens_per_pack: int) -> list[list[Sample]]:
    """Group samples into packs of at most `tokens_per_pack` tokens, deterministically.

    Longest first, so that memory runs out at once or never. A longer sample is a pack of its own.
    """
    ordered = sorted(samples, key=lambda sample: (-sample.tokens, sample.id))
    packs: list[list[Sample]] = []
    filled = 0
    for sample in ordered:
        if not packs or filled + sample.tokens > tokens_per_pack:
            packs.append([])
            filled = 0
        packs[-1].append(sample)
        filled += sample.tokens
    return packs
