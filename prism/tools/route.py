"""Routing for people with their own data: a split, and both halves in the formats of the training frameworks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from prism.core.chats import TOKENS, TRAJECTORIES, Chat, kind_of_data, read_chats
from prism.core.csv_files import Table, read_table
from prism.core.data_source import DataSource
from prism.core.errors import BadInput
from prism.core.files import atomic_folder, check_apart, check_folder_output, write_json, write_text
from prism.core.progress import say
from prism.core.prompts import conversation_messages
from prism.core.splits import RL, SFT
from prism.core.trajectories import read_trajectories
from prism.stages.splits import route_table, score_table, write_split
from prism.tools.llamafactory_data import message_files, rendered_files
from prism.tools.probed import probed_encoder
from prism.tools.verl_data import verl_files

# of people's chats; the workflow's own trajectories are written as messages under this name too
RENDERED = "llamafactory"
# name of a format: the half that is written in it, and its files by name
EMITTERS: dict[str, tuple[str, Callable[[Sequence[Chat]], dict[str, Any]]]] = {
    RENDERED: (SFT, message_files),
    "llamafactory-messages": (SFT, message_files),
    "verl": (RL, verl_files),
}


def route(
    scores_csv: str | Path,
    score: str,
    rl_percent: float,
    out_csv: str | Path,
    emit: Sequence[str] = (),
    data: str | Path | None = None,
) -> None:
    """Split a corpus and write its halves for training.

    Args:
        out_csv: the split: id, score, regime.
        emit: ``llamafactory`` and ``llamafactory-messages`` write the SFT half to a folder of that name beside
            `out_csv`, as it was probed or as messages; ``verl`` the RL half to ``verl/prism_rl.parquet``.
        data: the corpus that was probed; by default the path that the score table names.

    Raises:
        BadInput: an unknown format, a corpus that is not the one that was scored or that a framework would not take, or
            a folder of a format's name that `prism route` did not make.
    """
    for name in emit:
        if name not in EMITTERS:
            raise BadInput("--emit", f"unknown format {name!r}", f"use one of {', '.join(EMITTERS)}")
    table = score_table(scores_csv, score)
    split = route_table(table, score, rl_percent)
    parent = Path(out_csv).parent
    halves = {}
    if emit:
        # the table of a random score has no head
        scored = read_table(scores_csv)
        chats, source = _scored_corpus(scored, data)
        regimes = dict(zip(table.column("id"), split.regimes, strict=True))
        for name in emit:
            check_folder_output(parent / name)
            for given in (scores_csv, source):
                check_apart(parent / name, given)
            regime, files = EMITTERS[name]
            half = _half(chats, regimes, regime)
            if name == RENDERED and kind_of_data(source) != TRAJECTORIES:
                halves[parent / name] = rendered_files(half, probed_encoder(scored))
            else:
                halves[parent / name] = files(half)
    # nothing was written so far, and all of it appears together
    with ExitStack() as outputs:
        for folder, files in halves.items():
            _write_files(outputs.enter_context(atomic_folder(folder)), files)
        write_split(table, split, score, rl_percent, out_csv)
    say(
        f"{out_csv}: {split.count(SFT)} to SFT, {split.count(RL)} to RL by {score} "
        f"(threshold {split.threshold:.6g}, {split.ties} at it)"
    )
    for folder, files in halves.items():
        say(f"wrote {folder}: {', '.join(files)}")


def _scored_corpus(table: Table, data: str | Path | None) -> tuple[list[Chat], DataSource]:
    """The corpus that was scored, as chats, and where it is."""
    path = data or table.note("data")
    if path is None:
        raise BadInput(table.path, "does not name the corpus it was made from", "name it with --data")
    source = DataSource.with_options(str(path), table.note("data_options"))
    chats = _read_corpus(source)
    if source.sha256() != table.note("data_sha256"):
        raise BadInput(path, f"is not the corpus that {table.path} was made from", "probe and score it again")
    return chats, source


def _read_corpus(source: DataSource) -> list[Chat]:
    """A corpus as chats; expert trajectories with instructions in words."""
    kind = kind_of_data(source)
    if kind == TOKENS:
        raise BadInput(source, "holds tokens, of which no chat can be written", "drop --emit")
    if kind != TRAJECTORIES:
        return read_chats(source)
    return [
        Chat(trajectory.id, tuple(conversation_messages(trajectory, "full")), None, f"{source} ({trajectory.id})")
        for trajectory in read_trajectories(source.trajectory_file())
    ]


def _write_files(folder: Path, files: Mapping[str, Any]) -> None:
    for name, content in files.items():
        if isinstance(content, pa.Table):
            pq.write_table(content, folder / name)
        elif isinstance(content, str):
            write_text(folder / name, content)
        else:
            write_json(folder / name, content)


def _half(chats: Sequence[Chat], regimes: Mapping[str, str], regime: str) -> list[Chat]:
    """The chats of one half, in the order of the corpus."""
    half = [chat for chat in chats if regimes.get(chat.id) == regime]
    if not half:
        raise BadInput("split", f"routes nothing to {regime}", "choose another share or score")
    return half
