"""What a probe will do, in words, before time is spent: its rows and tokens, what is cut, what is not rendered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prism.core.errors import BadInput
from prism.core.memory import readable
from prism.core.progress import counted
from prism.gradients.corpus import Corpus
from prism.gradients.packs import Sample


@dataclass(frozen=True)
class Estimate:
    """What a probe will take.

    Attributes:
        seconds: of all passes to come; None where a first small pass does not tell.
        memory: bytes that a process holds at its peak.
        processes: how many share the work.
    """

    seconds: float | None
    memory: float
    processes: int = 1

    def __str__(self) -> str:
        each = f" for each of {self.processes} processes" if self.processes > 1 else ""
        return f"{self._time()}, {readable(self.memory)} of memory{each}"

    def _time(self) -> str:
        if self.seconds is None:
            return "how long it takes is said after the first pack"
        seconds = self.seconds / self.processes
        if seconds < 60:
            return "less than a minute"
        if seconds < 2 * 3600:
            return f"about {counted(round(seconds / 60), 'minute', 'minutes')}"
        return f"about {seconds / 3600:.1f} hours"


def forecast(samples: Sequence[Sample], context_length: int, estimate: Estimate | None = None) -> str:
    """One line: N trajectories -> M rows, T tokens, K cut at the context; minutes and memory where they are known."""
    rows = sum(len(sample.rows) for sample in samples)
    tokens = sum(len(row.input_ids) for sample in samples for row in sample.rows)
    with_loss = sum(sample.response_tokens for sample in samples)
    cut = sum(sample.truncated > 0 for sample in samples)
    lost = sum(sample.response_tokens_cut for sample in samples)
    trajectories = counted(len(samples), "trajectory", "trajectories")
    return (
        f"{trajectories} -> {counted(rows, 'row', 'rows')}, {tokens:,} tokens ({with_loss:,} with loss), "
        f"{cut} cut at the context of {context_length} tokens"
        + (f" ({lost:,} with loss lost)" if lost else "")
        + (f"; {estimate}" if estimate else "")
    )


def unrendered(samples: Sequence[Sample], place: Callable[[str], str]) -> list[str]:
    """What the chat template does not write: a sentence a kind, with how many, of how many chats, and the first.

    Args:
        place: where the chat of an id stands.
    """
    parts, chats = Counter[str](), Counter[str]()
    first: dict[str, str] = {}
    for sample in samples:
        for kind, number in sample.unrendered.items():
            parts[kind] += number
            chats[kind] += 1
            first.setdefault(kind, sample.id)
    return [
        f"{_amount(parts[kind], kind)} of {counted(chats[kind], 'chat', 'chats')} "
        f"{'is' if parts[kind] == 1 else 'are'} not rendered in full by this chat template; "
        f"the first: {place(first[kind])}"
        for kind in parts
    ]


def _amount(number: int, kind: str) -> str:
    return counted(number, kind, f"{kind}s")


def check_complete(sample: Sample, corpus: Corpus, context_length: int) -> None:
    """Refuse a trajectory that is cut at the context, or of which the chat template leaves something out.

    Raises:
        BadInput: names the trajectory.
    """
    if sample.truncated:
        problem = f"trajectory {sample.id!r} is longer than the context of {context_length} tokens"
        raise BadInput(corpus.place(sample.id), problem, "raise the context length, shorten it, or drop --strict")
    if sample.unrendered:
        lost = ", ".join(_amount(number, kind) for kind, number in sample.unrendered.items())
        problem = f"{lost} of {sample.id!r} not rendered in full by this chat template"
        raise BadInput(corpus.place(sample.id), problem, "give a --chat-template that does, or drop --strict")
