"""PRISM from Python, on chats of your own: norms, scores, split; pandas in and out.

`prism.probe`, `prism.route`, `prism.Norms` and `prism.DataSource` are these.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from prism.core.chat_formats import tokens
from prism.core.chat_rows import ChatEncoder
from prism.core.chats import parse_chat, parse_id
from prism.core.concentration import EPSILON, PROBE_COLUMNS, concentration_scores
from prism.core.csv_files import missing_column
from prism.core.data_source import DataSource
from prism.core.errors import BadInput, NotFinite
from prism.core.progress import track
from prism.core.records import Record, drop_nulls
from prism.core.splits import Split, split_by_quantile
from prism.gradients.corpus import encode_tokens
from prism.gradients.families import make_prober
from prism.gradients.forecast import unrendered
from prism.gradients.packs import Sample, check_samples, plan_packs
from prism.gradients.projections import find_projections, parameter_counts


@dataclass(frozen=True)
class Norms:
    """Gradient norms of chats.

    Attributes:
        frame: a row a chat, in the order given, by id: loss (mean over the response tokens, nats), response_tokens,
            truncated (rows cut at the context length), then the Frobenius norms, a column a matrix: 7L, named
            ``layers.{l}.{module}``, where layers have just the seven.
        parameter_counts: number of weights of each of these matrices.
    """

    frame: pd.DataFrame
    parameter_counts: tuple[int, ...]

    def score(self, epsilon: float = EPSILON) -> pd.DataFrame:
        """Gini, kurtosis, CV, L2 (eq. 5-7) and the score table's other columns of every chat, by id.

        Args:
            epsilon: keeps the denominators of eq. 5-7 away from zero.
        """
        norms = self.frame.iloc[:, -len(self.parameter_counts) :].to_numpy()
        counts = np.array(self.parameter_counts, dtype=np.float64)
        recorded = {name: self.frame[column].astype(float) for name, column in PROBE_COLUMNS.items()}
        return pd.DataFrame(concentration_scores(norms, counts, epsilon) | recorded, index=self.frame.index)


def probe(
    model: nn.Module,
    tokenizer: Any,
    chats: Iterable[Mapping[str, Any] | Sequence[Mapping[str, Any]]] | str | Path | DataSource,
    context_length: int = 4096,
    tokens_per_pack: int = 4096,
    progress: bool = False,
) -> Norms:
    """Gradient norm of every projection matrix for every chat, as ``prism probe`` computes them.

    Args:
        model: a causal language model of transformers on its device; it is left as it was. Load it as float32, unless
            memory is short.
        tokenizer: the model's, with a chat template.
        chats: records of any format that ``prism probe`` reads, a ``datasets.Dataset`` of them, lists of messages, or
            where they are: a path, the id of a data set of the Hub, or a `DataSource` with its split and columns.
            Without ``id`` the position is the id.
        context_length: tokens a chat may have; longer ones are truncated and counted.
        tokens_per_pack: tokens of one forward pass; less needs less memory.
        progress: say on standard error how far it is.

    Raises:
        BadInput: a chat, the tokenizer or the model cannot be used; names the chat.
        NotFinite: a loss or norm is NaN or infinite; names the chat.
    """
    samples = _encode(_records(chats), ChatEncoder(tokenizer, context_length))
    check_samples(model, samples, "model")
    with _stand_in(model) as network:
        projections = find_projections(network)
        counts = tuple(parameter_counts(projections))
        prober = make_prober(network, projections)
        packs = prober.probe(plan_packs(samples, tokens_per_pack))
        probed = (one for pack in packs for one in pack)
        found = {one.sample.id: one for one in (track(probed, len(samples), "probe") if progress else probed)}
    records = [
        {"id": sample.id, "loss": found[sample.id].loss, "response_tokens": sample.response_tokens,
         "truncated": sample.truncated, **dict(zip(prober.names, found[sample.id].norms, strict=True))}
        for sample in samples
    ]  # fmt: skip
    return Norms(pd.DataFrame(records).set_index("id"), counts)


def route(scores: pd.DataFrame, by: str = "gini", rl_share: float = 0.5) -> Split:
    """Send the concentrated chats to RL, the others to SFT (eq. 2-3).

    Args:
        scores: what `Norms.score` returns, or any table of scores.
        by: the column to route by.
        rl_share: share of the chats for RL, between 0 and 1; ties at the threshold go to SFT.

    Returns:
        The split; its `regimes`, ``sft`` or ``rl``, are in the order of `scores`.

    Raises:
        BadInput: there is no such column, or the share leaves one side empty.
        NotFinite: a score is NaN or infinite; names the chat.
    """
    if by not in scores:
        raise missing_column("scores", by, [str(name) for name in scores])
    if not 0 < rl_share < 1:
        raise BadInput("rl_share", f"{rl_share} leaves one side empty", "choose a share between 0 and 1")
    values = scores[by].to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        raise NotFinite(f"{by} of {scores.index[~np.isfinite(values)][0]!r} is NaN or infinite; probe it again")
    return split_by_quantile(values, 100 * rl_share)


def _encode(records: Iterable[Record], encoder: ChatEncoder) -> list[Sample]:
    _, context_length, _ = encoder.settings
    samples: list[Sample] = []
    places: dict[str, str] = {}
    for number, place, record in records:
        if tokens.detect(record):
            identifier = parse_id(record, number, place)
            encoded = encode_tokens(tokens.token_rows(record, place), context_length)
        else:
            chat = parse_chat(record, number, place)
            identifier, encoded = chat.id, encoder.encode(chat)
        if identifier in places:
            raise BadInput(place, f"repeats id {identifier!r} of {places[identifier]}", "make ids unique")
        places[identifier] = place
        samples.append(Sample.of(identifier, encoded).packed())
        if not samples[-1].response_tokens:
            problem = f"{identifier!r} has no response token within {context_length} tokens"
            raise BadInput(place, problem, "raise context_length or remove it")
    if not samples:
        raise BadInput("chats", "there are none", "give at least one")
    for sentence in unrendered(samples, places.__getitem__):
        warnings.warn(sentence, stacklevel=3)
    return samples


def _records(chats: Any) -> Iterator[Record]:
    """Chats from wherever they are, as records with number and place."""
    if isinstance(chats, str | Path | DataSource):
        yield from DataSource.of(chats).records()
        return
    # a table of chats has None where a record lacks a column
    table = hasattr(chats, "column_names")
    for number, record in enumerate(chats):
        place = f"chats[{number}]"
        if isinstance(record, Mapping):
            yield number, place, drop_nulls(dict(record)) if table else dict(record)
        elif isinstance(record, list | tuple):
            yield number, place, {"messages": list(record)}
        else:
            raise BadInput(place, "is no chat", "give records with 'messages', or lists of messages")


@contextmanager
def _stand_in(model: nn.Module) -> Iterator[nn.Module]:
    """A copy of the model's modules over the same weights: the prober changes modules, and freezes weights."""
    tensors = [*model.parameters(), *model.buffers()]
    wanted = [tensor.requires_grad for tensor in tensors]
    try:
        yield copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    finally:
        for tensor, requires_grad in zip(tensors, wanted, strict=True):
            tensor.requires_grad_(requires_grad)
