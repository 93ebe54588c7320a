"""Trajectories as the prober sees them. No torch here: reading and routing must not wait for it."""

from __future__ import annotations

from dataclasses import dataclass

from prism.core.prompts import Encoded, Row

MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Sample:
    """One trajectory as the prober sees it.

    Attributes:
        id: unique in the corpus.
        rows: its token rows; the loss is the mean over the tokens with loss of all of them.
        truncated: number of rows that were cut at the context length (or dropped because nothing was left).
        response_tokens_cut: tokens with loss that were cut off.
    """

    id: str
    rows: tuple[Row, ...]
    truncated: int = 0
    response_tokens_cut: int = 0

    @classmethod
    def of(cls, identifier: str, encoded: Encoded) -> Sample:
        """A trajectory's rows under its id."""
        return cls(identifier, tuple(encoded.rows), encoded.truncated, encoded.response_tokens_cut)

    @property
    def response_tokens(self) -> int:
        """Tokens that carry loss. The first token of a row is never predicted, so it cannot."""
        return sum(sum(row.response_mask[1:]) for row in self.rows)

    @property
    def tokens(self) -> int:
        """Tokens that the prober computes: every row up to its last predictor."""
        return sum(useful_length(row) for row in self.rows)


def useful_length(row: Row) -> int:
    """Input tokens of a row that can influence its loss: all before its last response token.

    The last response token is only a target, and what follows it is seen by no loss.
    """
    for index in range(len(row.response_mask) - 1, 0, -1):
        if row.response_mask[index]:
            return index
    return 0
