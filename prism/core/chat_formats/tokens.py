"""Records that are tokens already: ``input_ids``, and which of them carry loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prism.core.chat_formats.parts import without_nulls
from prism.core.errors import BadInput, first_line

IGNORED = -100
# more than any vocabulary has: ids are kept in 32 bits
MOST_TOKENS = 1 << 31
# labels aligned with input_ids, as transformers takes them; masks are 1 where the loss falls, as TRL writes them
MASKS = ("labels", "completion_mask", "assistant_masks", "loss_mask", "response_mask")
TokenRow = tuple[list[int], list[int]]


def detect(record: Mapping[str, Any]) -> bool:
    """Whether a record is tokens."""
    return record.get("input_ids") is not None


def token_rows(record: Mapping[str, Any], place: str) -> list[TokenRow]:
    """Rows of token ids with a mask that is 1 where the loss falls; a record has one row, or a list of them.

    Padding (``attention_mask`` 0) is taken off.

    Raises:
        BadInput: no mask, another length, no whole numbers, labels that are not their tokens, or several packed rows.
    """
    try:
        return _token_rows(without_nulls(record), place)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadInput(place, f"its tokens are no lists of numbers ({first_line(error)})", "write token ids") from error


def _token_rows(record: Mapping[str, Any], place: str) -> list[TokenRow]:
    kind = next((name for name in MASKS if name in record), None)
    if kind is None:
        raise BadInput(place, "has 'input_ids' and no 'labels': no token is known to carry loss",
                       f"write 'labels', {IGNORED} where there is no loss")  # fmt: skip
    if len(record.get("seq_lengths") or ()) > 1 or list(record.get("position_ids") or ()).count(0) > 1:
        raise BadInput(place, "is several rows packed into one", "write every trajectory as a record of its own")
    columns = [record["input_ids"], record[kind], record.get("attention_mask")]
    if not _nested(columns[0]):
        columns = [None if column is None else [column] for column in columns]
    ids, marks, seen = columns
    if not ids or not _nested(marks) or len(marks) != len(ids) or (seen is not None and len(seen) != len(ids)):
        raise BadInput(place, f"'input_ids' and {kind!r} have other lengths", "write a mark for every token")
    return [
        _row(row, marks[number], None if seen is None else seen[number], f"{place} row {number + 1}", kind)
        for number, row in enumerate(ids)
    ]


def _nested(value: Any) -> bool:
    return isinstance(value, Sequence) and bool(value) and all(isinstance(row, Sequence) for row in value)


def _row(ids: Sequence[int], marks: Sequence[int], seen: Sequence[int] | None, place: str, kind: str) -> TokenRow:
    seen = [1] * len(ids) if seen is None else seen
    if not len(ids) == len(marks) == len(seen):
        raise BadInput(
            place, f"has {len(ids)} 'input_ids' and {len(marks)} of {kind!r}", "write a mark for every token"
        )
    kept = [(token, mark) for token, mark, shown in zip(ids, marks, seen, strict=True) if shown]
    for token, mark in kept:
        if type(token) is not int or type(mark) not in (int, bool) or not 0 <= token < MOST_TOKENS:
            raise BadInput(place, "its tokens are not whole numbers from 0 up", "write token ids")
        if kind == "labels" and mark not in (IGNORED, token):
            problem = f"label {mark} is neither {IGNORED} nor its token {token}"
            raise BadInput(place, problem, "align labels with input_ids; they must not be shifted")
    carries = [int(mark != IGNORED) if kind == "labels" else int(bool(mark)) for _, mark in kept]
    if not any(carries[1:]):
        raise BadInput(place, "has no token with loss", "add one or remove the record")
    return [token for token, _ in kept], carries
