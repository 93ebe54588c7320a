"""Routing for people with their own data: a split, and both halves in the formats of the training frameworks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from prism.core.chats import TOKENS, TRAJECTORIES, Chat, kind_of_data, read_chats
from prism.core.csv_files import read_table
from prism.core.data_source import DataSource
from prism.core.errors import BadInput
from prism.core.files import atomic_folder, check_apart, check_folder_output, write_json
from prism.core.progress import say
from prism.core.prompts import conversation_messages
from prism.core.splits import RL, SFT
from prism.core.trajectories import read_trajectories
from prism.stages.splits import route_table, score_table, write_split

LLAMAFACTORY_DATASET = "prism_sft"
VERL_FILE = "prism_rl.parquet"


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
        emit: ``llamafactory`` writes the SFT half to ``llamafactory/`` beside `out_csv` (messages and
            ``dataset_info.json``), ``verl`` the RL half to ``verl/prism_rl.parquet``.
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
        chats, source = _scored_corpus(Path(scores_csv), data)
        regimes = dict(zip(table.column("id"), split.regimes, strict=True))
        for name in emit:
            check_folder_output(parent / name)
            for given in (scores_csv, source):
                check_apart(parent / name, given)
            halves[parent / name] = EMITTERS[name](chats, regimes)
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


def _scored_corpus(scores_csv: Path, data: str | Path | None) -> tuple[list[Chat], DataSource]:
    """The corpus that was scored, as chats, and where it is."""
    table = read_table(scores_csv)
    path = data or table.note("data")
    if path is None:
        raise BadInput(scores_csv, "does not name the corpus it was made from", "name it with --data")
    source = DataSource.with_options(str(path), table.note("data_options"))
    chats = _read_corpus(source)
    if source.sha256() != table.note("data_sha256"):
        raise BadInput(path, f"is not the corpus that {scores_csv} was made from", "probe and score it again")
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
        else:
            write_json(folder / name, content)


def llamafactory_files(chats: Sequence[Chat], regimes: Mapping[str, str]) -> dict[str, Any]:
    """The SFT half as a LLaMA-Factory dataset named ``prism_sft``: contents by file name.

    LLaMA-Factory drops chats that do not alternate between user (or tool) and assistant with no more than a warning;
    they are refused here.
    """
    records = [_llamafactory_record(chat) for chat in _half(chats, regimes, SFT)]
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "observation_tag": "tool",
        "function_tag": "function_call",
        "system_tag": "system",
    }
    columns = {"messages": "messages"} | ({"tools": "tools"} if any("tools" in record for record in records) else {})
    entry = {
        "file_name": f"{LLAMAFACTORY_DATASET}.json",
        "formatting": "sharegpt",
        "columns": columns,
        "tags": tags,
    }
    return {entry["file_name"]: records, "dataset_info.json": {LLAMAFACTORY_DATASET: entry}}


def _llamafactory_record(chat: Chat) -> dict[str, Any]:
    messages = [_llamafactory_message(message, chat) for message in chat.messages]
    while messages[-1]["role"] not in ("assistant", "function_call"):
        messages.pop()  # nothing after the last answer carries loss
    turns = messages[1:] if messages[0]["role"] == "system" else messages
    for number, turn in enumerate(turns):
        expected = ("assistant", "function_call") if number % 2 else ("user", "tool")
        if turn["role"] not in expected:
            problem, remedy = "does not alternate between user and assistant", "merge neighbouring messages of one role"
            if turn["role"] == "system":
                problem, remedy = "has a system message that is not the first one", "move it to the front or remove it"
            raise BadInput(chat.place, f"{chat.id!r} {problem}, as LLaMA-Factory requires", remedy)
    record: dict[str, Any] = {"id": chat.id, "messages": messages}
    return record | ({"tools": json.dumps(chat.tools, ensure_ascii=False)} if chat.tools else {})


def _llamafactory_message(message: Mapping[str, Any], chat: Chat) -> dict[str, str]:
    if message.get("weight", 1) == 0:
        raise BadInput(
            chat.place, f"{chat.id!r} has answers without loss: LLaMA-Factory cannot express them", "remove the weights"
        )
    if "tool_calls" not in message:
        return {"role": message["role"], "content": message["content"]}
    calls = [call.get("function", call) for call in message["tool_calls"]]
    return {"role": "function_call", "content": json.dumps(calls, ensure_ascii=False)}


def verl_files(chats: Sequence[Chat], regimes: Mapping[str, str]) -> dict[str, Any]:
    """The RL half as verl's parquet: one prompt a trajectory, the messages before its first answer.

    ``reward_model.ground_truth`` is the last answer, ``extra_info.trajectory`` the whole chat as JSON: how they are
    turned into a reward is up to the reward function of the task.
    """
    records = [_verl_record(chat, index) for index, chat in enumerate(_half(chats, regimes, RL))]
    return {VERL_FILE: pa.Table.from_pylist(records)}


def _verl_record(chat: Chat, index: int) -> dict[str, Any]:
    answers = [number for number, message in enumerate(chat.messages) if message["role"] == "assistant"]
    if not answers[0]:
        raise BadInput(chat.place, f"{chat.id!r} starts with an answer: there is no prompt to act on", "add one")
    prompt = [{"role": turn["role"], "content": turn["content"]} for turn in chat.messages[: answers[0]]]
    return {
        "data_source": "prism",
        "prompt": prompt,
        "ability": "trajectory",
        "reward_model": {"style": "rule", "ground_truth": chat.messages[answers[-1]]["content"]},
        "extra_info": {
            "index": index,
            "id": chat.id,
            "trajectory": json.dumps(chat.messages, ensure_ascii=False),
        },
    }


def _half(chats: Sequence[Chat], regimes: Mapping[str, str], regime: str) -> list[Chat]:
    """The chats of one half, in the order of the corpus."""
    half = [chat for chat in chats if regimes.get(chat.id) == regime]
    if not half:
        raise BadInput("split", f"routes nothing to {regime}", "choose another share or score")
    return half


EMITTERS: dict[str, Callable[[Sequence[Chat], Mapping[str, str]], dict[str, Any]]] = {
    "llamafactory": llamafactory_files,
    "verl": verl_files,
}
