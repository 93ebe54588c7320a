"""Every file a person supplies, broken in every way we could think of: one line, exit code 2, nothing written.

A case names the command, breaks one thing, and says what the line must name: the file and what to do about it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from broken_inputs import EVALUATION, PROMPT, chat, jsonl, norms_file, run_prism, step, trajectory

BACKBONE = "resources/backbones/tiny-qwen3"
Builder = Callable[[Path], Sequence[object]]


@dataclass(frozen=True)
class Case:
    """A broken input.

    Attributes:
        build: writes the inputs into a folder and returns the command line.
        named: texts that the one line must hold: the file, and what is wrong or what to do.
    """

    name: str
    build: Builder
    named: tuple[str, ...]


def trajectories(name: str, content: str | bytes | list, *named: str) -> Case:
    """`prism stage import-trajectories` on a file with this content."""

    def build(folder: Path) -> Sequence[object]:
        path = folder / "corpus.jsonl"
        if isinstance(content, list):
            jsonl(path, *content)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["stage", "import-trajectories", path, "--out", folder / "out.jsonl", "--manifest", folder / "out.json"]

    return Case(f"trajectories: {name}", build, ("corpus.jsonl", *named))


GOOD_LINE = json.dumps(trajectory()) + "\n"
TRAJECTORIES = [
    trajectories("empty", "", "no trajectory"),
    trajectories("blank lines", "\n\n\n", "no trajectory"),
    trajectories("not JSON", GOOD_LINE + "{oops\n", "corpus.jsonl:2", "not valid JSON"),
    trajectories("cut off", GOOD_LINE + GOOD_LINE[:40], "corpus.jsonl:2", "not valid JSON"),
    trajectories("a list", "[1, 2]\n", "corpus.jsonl:1", "not a JSON object"),
    trajectories("not UTF-8", b"\xff\xfe{}\n", "UTF-8"),
    trajectories("zero bytes", b"\0\0\0\0\n", "corpus.jsonl:1", "not valid JSON"),
    trajectories("nested a hundred thousand deep", "[" * 100_000 + "\n", "corpus.jsonl:1"),
    trajectories("a number of ten thousand digits", '{"id": ' + "9" * 10_000 + "}\n", "corpus.jsonl:1"),
    trajectories("half a surrogate pair", GOOD_LINE.replace("You see", "\\ud800"), "corpus.jsonl:1", "surrogate"),
    trajectories("no id", [trajectory(id="")], "corpus.jsonl:1", "'id'"),
    trajectories("id is a number", [trajectory(id=7)], "corpus.jsonl:1", "'id'"),
    trajectories("id twice", [trajectory(), trajectory()], "corpus.jsonl:2", "repeats id 'a' of line 1"),
    trajectories("id with a line break", [trajectory(id="a\nb")], "corpus.jsonl:1", "line break"),
    trajectories("no steps", [trajectory(steps=[])], "corpus.jsonl:1", "'steps'"),
    trajectories("steps is a text", [trajectory(steps="look")], "corpus.jsonl:1", "'steps'"),
    trajectories("a step is a text", [trajectory(steps=["look"])], "step 0", "not an object"),
    trajectories("no action", [trajectory(steps=[step(action=" ")])], "step 0", "'action' is empty"),
    trajectories("admissible is a text", [trajectory(steps=[step(admissible="look")])], "'admissible'"),
    trajectories("nothing demonstrated", [trajectory(steps=[step(demonstrated=False)])], "no step is demonstrated"),
    trajectories("success is a text", [trajectory(success="yes")], "'success'"),
    trajectories("unknown key", [trajectory(reward=1)], "unknown key 'reward'"),
]


def command(name: str, build: Builder, *named: str) -> Case:
    return Case(name, build, named)


def import_from(place: Callable[[Path], Path]) -> Builder:
    return lambda folder: [
        "stage", "import-trajectories", place(folder), "--out", folder / "o.jsonl", "--manifest", folder / "o.json",
    ]  # fmt: skip


def probe(*records: object, model: str = "model", **options: object) -> Builder:
    """`prism probe` on chats, with the test's own copy of a backbone."""

    def build(folder: Path) -> Sequence[object]:
        more = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)]
        data = jsonl(folder / "chats.jsonl", *records)
        return ["probe", "--model", folder / model, "--data", data, "--out", folder / "norms.parquet", *more]

    return build


def turns(*pairs: tuple[str, object]) -> list[dict]:
    return [{"role": role, "content": content} for role, content in pairs]


CHATS = [
    command("chat: no messages key", probe({"id": "a"}), "chats.jsonl:1", "neither 'messages' nor 'conversations'"),
    command("chat: empty", probe(), "chats.jsonl", "is empty"),
    command("chat: no messages", probe(chat(messages=[])), "chats.jsonl:1", "no messages"),
    command("chat: unknown role", probe(chat(messages=turns(("robot", "x")))), "chats.jsonl:1", "robot"),
    command("chat: no answer", probe(chat(messages=turns(("user", "x")))), "chats.jsonl:1"),
    command("chat: content is a number", probe(chat(messages=turns(("user", 5), ("assistant", "x")))), "chats.jsonl:1"),
    command("chat: id twice", probe(chat(), chat()), "chats.jsonl:2", "repeats id 'a'"),
    command("chat: id is a list", probe(chat(id=[1])), "chats.jsonl:1", "'id'"),
    command("chat: an image", probe(chat(messages=turns(("user", [{"type": "image"}]), ("assistant", "x")))), "image"),
    command(
        "chat: ATIF without a message",
        probe({"schema_version": "ATIF-v1.2", "agent": {}, "steps": [{"source": "user"}]}),
        "chats.jsonl:1",
        "looks like ATIF v1.2, but step 1 has no message",
    ),
    command("chat: a column that is not there", probe(chat(), columns="messages=dialog"), "no column 'dialog'"),
    command("chat: a split of a file", probe(chat(), split="test"), "chats.jsonl", "no splits"),
    command("tokens: labels of another length", probe({"input_ids": [1, 2], "labels": [1]}), "chats.jsonl:1 row 1"),
    command("tokens: not of 32 bits", probe({"input_ids": [1, 2**40], "labels": [-100, 2**40]}), "chats.jsonl:1"),
    command("chat: mixed with trajectories", probe(chat(), trajectory(id="b")), "chats.jsonl:2"),
    command("probe: unknown dtype", probe(chat(), dtype="float8"), "float8"),
    command("probe: shard beyond the last", probe(chat(), shard=3, shards=2), "shard"),
    command("probe: context of no token", probe(chat(), context_length=0), "context"),
    command("probe: broken recipe", probe(chat(), recipe="{"), "--recipe", "not valid JSON"),
    command(
        "probe: unknown key in the recipe",
        probe(chat(), recipe=json.dumps({"prompt": PROMPT, "dtipe": "float32"})),
        "--recipe",
        "did you mean 'dtype'",
    ),
]


def broken_model(change: Callable[[Path], None]) -> Builder:
    """`prism probe` with a model folder that `change` has broken."""

    def build(folder: Path) -> Sequence[object]:
        change(folder / "model")
        return probe(chat())(folder)

    return build


def cut(name: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        content = (model / name).read_bytes()
        (model / name).write_bytes(content[: len(content) // 2])

    return change


def only_pickle(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def not_finite(model: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(model / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = torch.nan
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})


def remote_code(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "code.Model", "AutoConfig": "code.Config"}}
    (model / "config.json").write_text(json.dumps(config))
    (model / "code.py").write_text("raise SystemExit('code of a model folder was run')\n")


MODELS = [
    command("model: no folder", probe(chat(), model="nowhere/at/all"), "nowhere"),
    command("model: no config", broken_model(lambda model: (model / "config.json").unlink()), "model", "config.json"),
    command("model: config cut off", broken_model(cut("config.json")), "model"),
    command("model: tokenizer cut off", broken_model(cut("tokenizer.json")), "model"),
    command("model: no tokenizer", broken_model(lambda model: (model / "tokenizer.json").unlink()), "model"),
    command("model: weights cut off", broken_model(cut("model.safetensors")), "model"),
    command("model: pickled weights only", broken_model(only_pickle), "model", "pickled"),
    command("model: a weight is NaN", broken_model(not_finite), "model", "NaN"),
    command("model: code of its own", broken_model(remote_code), "model"),
    command(
        "backbone: no folder",
        lambda folder: [
            "stage",
            "backbone",
            "--source",
            "local",
            "--location",
            folder / "nowhere",
            "--out",
            folder / "b",
        ],
        "nowhere",
    ),
    command(
        "backbone: unknown source",
        lambda folder: ["stage", "backbone", "--source", "web", "--location", "x", "--out", folder / "b"],
        "--source",
        "local, hub or package",
    ),
    command(
        "backbone: a branch, not a commit",
        lambda folder: [
            "stage",
            "backbone",
            "--source",
            "hub",
            "--location",
            "a/b",
            "--revision",
            "main",
            "--out",
            folder / "b",
        ],
        "main",
    ),
]


def evaluate(panel: object, **recipe: object) -> Builder:
    def build(folder: Path) -> Sequence[object]:
        path = folder / "panel.json"
        path.write_text(panel if isinstance(panel, str) else json.dumps(panel))
        settings = json.dumps(EVALUATION | recipe)
        return [
            "stage", "evaluate", "--model", folder / "model", "--games", folder / "games", "--panel", path,
            "--out", folder / "evaluation.json", "--recipe", settings, "--seed", 0,
        ]  # fmt: skip

    return build


def panel(**changes: object) -> dict:
    from prism.environments.base import Panel, Task

    tasks = changes.pop("tasks", [{"id": "a", "task_type": "pick", "game": "seen/a/game.tw-pddl"}])
    value = {"benchmark": "alfworld", "name": "seen", "tasks": tasks} | changes
    try:
        digest = Panel(value["benchmark"], value["name"], tuple(Task(**task) for task in tasks)).sha256
    except TypeError:
        digest = "0"
    return {"sha256": digest} | value


OUTSIDE = [{"id": "a", "task_type": "pick", "game": "../../etc/passwd"}]
PANELS = [
    command("panel: not JSON", evaluate("{"), "panel.json", "not valid JSON"),
    command("panel: no panel", evaluate({"tasks": []}), "panel.json", "not a panel"),
    command("panel: edited by hand", evaluate({**panel(), "tasks": OUTSIDE}), "panel.json", "sha256"),
    command("panel: a list", evaluate([1, 2]), "panel.json", "not a panel"),
    command("panel: without tasks", evaluate(panel(tasks=[])), "panel.json"),
    command("panel: unknown benchmark", evaluate(panel(benchmark="chess")), "panel.json", "unknown benchmark"),
    command("panel: task with an unknown key", evaluate(panel(tasks=[{"id": "a", "nmae": 1}])), "panel.json"),
    command("panel: task twice", evaluate(panel(tasks=panel()["tasks"] * 2)), "panel.json", "'a'"),
    command("panel: game outside its folder", evaluate(panel(tasks=OUTSIDE)), "panel.json", "../../etc/passwd"),
    command("panel: game that does not exist", evaluate(panel()), "seen/a/game.tw-pddl"),
    command("evaluation: unknown generator", evaluate(panel(), generator="magic"), "generator", "magic"),
    command("evaluation: workers is a text", evaluate(panel(), workers="two"), "--recipe.workers", "whole number"),
    command("evaluation: unknown key", evaluate(panel(), top_k=1), "--recipe", "did you mean 'top_p'"),
]


def games(*options: object) -> Builder:
    return lambda folder: ["stage", "games", "alfworld", "--out", folder / "games", *(
        folder / option if isinstance(option, Path) else option for option in options
    )]  # fmt: skip


def dataset(change: Callable[[Path], None]) -> Builder:
    """A data set of one trial a split, then broken."""

    def build(folder: Path) -> Sequence[object]:
        for split in ("train", "valid_seen", "valid_unseen"):
            trial = folder / "data" / "json_2.1.1" / split / "pick_and_place_simple-A-None-B-1" / "trial_1"
            trial.mkdir(parents=True)
            (trial / "traj_data.json").write_text('{"task_type": "pick_and_place_simple"}')
            (trial / "game.tw-pddl").write_text('{"solvable": true}')
        change(folder / "data" / "json_2.1.1")
        return games("--files", Path("data"))(folder)

    return build


def each(name: str, text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for path in root.rglob(name):
            path.write_text(text)

    return change


def game_panel(manifest: str, split: str = "seen", **recipe: int) -> Builder:
    def build(folder: Path) -> Sequence[object]:
        (folder / "games").mkdir()
        (folder / "games" / "manifest.json").write_text(manifest)
        settings = json.dumps(recipe)
        return [
            "stage", "panel", "alfworld", "--games", folder / "games", "--split", split, "--out", folder / "p.json",
            "--recipe", settings,
        ]  # fmt: skip

    return build


ONE_GAME = json.dumps({"games": {"seen": [{"id": "seen/a", "task_type": "pick"}]}})
GAMES = [
    command("games: broken recipe", games("--recipe", "train=3"), "--recipe", "not valid JSON"),
    command("games: missing key", games("--recipe", '{"train": 3}'), "--recipe", "missing"),
    command("games: unknown key", games("--recipe", '{"trian": 3}'), "did you mean 'train'"),
    command("games: neither recipe nor data set", games(), "--recipe"),
    command("games: no data set", games("--files", Path("nowhere")), "nowhere"),
    command("games: a split is missing", dataset(lambda root: shutil.rmtree(root / "valid_seen")), "data"),
    command("games: a split is empty", dataset(lambda root: shutil.rmtree(next((root / "train").iterdir()))), "train"),
    command("games: traj_data is not JSON", dataset(each("traj_data.json", "{")), "traj_data.json"),
    command("games: traj_data is a list", dataset(each("traj_data.json", "[]")), "traj_data.json"),
    command("games: game file is not JSON", dataset(each("game.tw-pddl", "oops")), "game.tw-pddl"),
    command("games: game file is a list", dataset(each("game.tw-pddl", "[]")), "game.tw-pddl"),
    command("panel of games: no manifest", lambda folder: [
        "stage", "panel", "alfworld", "--games", folder, "--split", "seen", "--out", folder / "p.json",
    ], "manifest.json"),
    command("panel of games: manifest without the split", game_panel('{"games": {}}'), "manifest.json", "'seen'"),
    command("panel of games: manifest is a list", game_panel("[]"), "manifest.json"),
    command("panel of games: more tasks than games", game_panel(ONE_GAME, size=5), "seen", "1 games cannot fill"),
    command("panel of games: negative size", game_panel(ONE_GAME, size=-1), "size"),
    command("panel of games: no corpus to train on", game_panel('{"games": {"train": []}}', "train"), "--trajectories"),
]  # fmt: skip

PRODUCT = {
    "asin": "B000000001", "name": "desk", "category": "garden", "query": "desk", "product_category": "Home › Desks",
    "small_description": ["a"], "full_description": "b", "pricing": "$10.00", "customization_options": {},
}  # fmt: skip


def catalog(change: Callable[[Path], None], recipe: str = '{"seed": 0, "goals": ["human"]}') -> Builder:
    """`prism stage games webshop` on a catalog of one product, then broken."""

    def build(folder: Path) -> Sequence[object]:
        place = folder / "catalog"
        place.mkdir()
        (place / "items_shuffle.json").write_text(json.dumps([PRODUCT]))
        (place / "items_ins_v2.json").write_text(json.dumps({PRODUCT["asin"]: {"attributes": ["oak"]}}))
        (place / "items_human_ins.json").write_text("{}")
        change(place)
        return ["stage", "games", "webshop", "--files", place, "--out", folder / "store", "--recipe", recipe]

    return build


def put(name: str, text: str) -> Callable[[Path], None]:
    return lambda place: (place / name).write_text(text) and None


def product(**changes: object) -> Callable[[Path], None]:
    return put("items_shuffle.json", json.dumps([PRODUCT | changes]))


def store_panel(manifest: str) -> Builder:
    def build(folder: Path) -> Sequence[object]:
        (folder / "store").mkdir()
        (folder / "store" / "manifest.json").write_text(manifest)
        recipe = '{"goals": "human", "size": 1, "seed": 0, "split": {"test": 1, "dev": 0}}'
        return [
            "stage", "panel", "webshop", "--games", folder / "store", "--split", "test", "--out", folder / "p",
            "--recipe", recipe,
        ]  # fmt: skip

    return build


CATALOGS = [
    command("catalog: no folder", catalog(shutil.rmtree), "catalog"),
    command("catalog: no products", catalog(lambda place: (place / "items_shuffle.json").unlink()), "items_shuffle"),
    command("catalog: no attributes", catalog(lambda place: (place / "items_ins_v2.json").unlink()), "items_ins_v2"),
    command("catalog: products cut off", catalog(put("items_shuffle.json", '[{"asin": ')), "items_shuffle.json"),
    command("catalog: products are an object", catalog(put("items_shuffle.json", "{}")), "items_shuffle.json"),
    command("catalog: no product at all", catalog(put("items_shuffle.json", "[]")), "items_shuffle.json"),
    command("catalog: a product is a text", catalog(put("items_shuffle.json", '["desk"]')), "items_shuffle.json"),
    command("catalog: name is a number", catalog(product(name=5)), "items_shuffle.json", "'name'"),
    command("catalog: price in words", catalog(product(pricing="a lot")), "price"),
    command("catalog: options are a list", catalog(product(customization_options=[1])), "options"),
    command("catalog: attributes not JSON", catalog(put("items_ins_v2.json", "{")), "items_ins_v2.json"),
    command("catalog: instructions are a list", catalog(put("items_human_ins.json", "[]")), "items_human_ins.json"),
    command("catalog: unknown goals", catalog(lambda place: None, '{"seed": 0, "goals": ["alien"]}'), "alien"),
    command("store: not a store", lambda folder: [
        "stage", "panel", "webshop", "--games", folder, "--split", "test", "--out", folder / "p", "--recipe",
        '{"goals": "human", "size": 1, "seed": 0, "split": {"test": 1, "dev": 0}}',
    ], "not a compiled catalog"),
    command("store: manifest of something else", store_panel("{}"), "store"),
    command("store: another version", store_panel('{"format_version": 99}'), "another version"),
]  # fmt: skip


def evaluations(text: str) -> Builder:
    def build(folder: Path) -> Sequence[object]:
        path = folder / "eval" / "alfworld" / "tiny" / "prism-gini" / "seed0" / "seen.json"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        recipe = '{"scale": "demo", "targets": ["table1"], "backbones": {"table1": ["tiny"]}}'
        return [
            "stage", "claims", "--paper", "resources/paper/v1", "--recipe", recipe, "--out", folder / "out", path,
        ]  # fmt: skip

    return build


def evaluation(**changes: object) -> str:
    record = {"task_id": "a", "task_type": "pick", "success": True, "score": 1.0}
    value = {"benchmark": "alfworld", "panel": "seen", "panel_sha256": "x", "seed": 0, "recipe": {}}
    return json.dumps(value | {"episodes": [record]} | changes)


def episodes(*changes: dict) -> str:
    return evaluation(
        episodes=[{"task_id": "a", "task_type": "pick", "success": True, "score": 1.0} | c for c in changes]
    )


EVALUATIONS = [
    command("evaluation: not JSON", evaluations("{"), "seen.json", "not valid JSON"),
    command("evaluation: an empty object", evaluations("{}"), "seen.json", "not an evaluation"),
    command("evaluation: a list", evaluations("[]"), "seen.json", "not an evaluation"),
    command("evaluation: no episode", evaluations(evaluation(episodes=[])), "seen.json"),
    command("evaluation: success is a number", evaluations(episodes({"success": 1})), "seen.json"),
    command("evaluation: score is NaN", evaluations(episodes({"score": float("nan")})), "seen.json"),
    command("evaluation: score above one", evaluations(episodes({"score": 1.5})), "seen.json", "outside [0, 1]"),
    command("evaluation: a task twice", evaluations(episodes({}, {})), "seen.json", "twice"),
    command("evaluation: seed is a text", evaluations(evaluation(seed="0")), "seen.json"),
    command("evaluation: path says nothing", lambda folder: [
        "stage", "claims", "--paper", "resources/paper/v1", "--out", folder / "out",
        "--recipe", '{"scale": "demo", "targets": [], "backbones": {}}', "x.json",
    ], "x.json"),
]  # fmt: skip


def score(*files: Callable[[Path], Path], **options: object) -> Builder:
    def build(folder: Path) -> Sequence[object]:
        more = [part for key, value in options.items() for part in (f"--{key}", value)]
        return ["score", *(make(folder) for make in files), "--out", folder / "scores.csv", *more]

    return build


def norms(shard: int = 0, shards: int = 1, broken: tuple[int, float] | None = None) -> Callable[[Path], Path]:
    return lambda folder: norms_file(
        folder / f"norms-{shard}.parquet", [shard * 3, shard * 3 + 1], shard, shards, broken
    )


def text_file(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def route(text: str, *options: object) -> Builder:
    def build(folder: Path) -> Sequence[object]:
        path = text_file("scores.csv", text)(folder)
        return ["route", path, "--out", folder / "split.csv", *options]

    return build


SCORES_CSV = "# scores\nid,gini\na,0.1\nb,0.2\n"
SCORES = [
    command("norms: no file", score(lambda folder: folder / "none.parquet"), "none.parquet"),
    command("norms: not parquet", score(text_file("norms.parquet", "hello")), "norms.parquet", "not a parquet file"),
    command("norms: a shard is missing", score(norms(0, 2)), "norms-0.parquet", "shards"),
    command("norms: a shard twice", score(norms(), norms()), "norms-0.parquet"),
    command("norms: NaN", score(norms(broken=(1, float("nan")))), "norms-0.parquet", "NaN, infinite or negative"),
    command("norms: negative", score(norms(broken=(1, -1.0))), "norms-0.parquet", "NaN, infinite or negative"),
    command("score: unknown key", score(norms(), recipe='{"epsilom": 1}'), "did you mean 'epsilon'"),
    command("score: negative epsilon", score(norms(), recipe='{"epsilon": -1}'), "epsilon"),
    command("scores: no file", lambda folder: ["route", folder / "no.csv", "--out", folder / "s.csv"], "no.csv"),
    command("scores: empty", route(""), "scores.csv", "empty"),
    command("scores: only a heading", route("id,gini\n"), "there are none"),
    command("scores: no such column", route(SCORES_CSV, "--by", "ginni"), "scores.csv", "did you mean 'gini'"),
    command("scores: not a number", route("id,gini\na,high\n"), "scores.csv", "'a'"),
    command("scores: NaN", route("id,gini\na,nan\nb,1\n"), "scores.csv", "'a' is NaN"),
    command("scores: infinite", route("id,gini\na,inf\nb,1\n"), "scores.csv", "'a' is NaN or infinite"),
    command("scores: semicolons", route("id;gini\na;0,1\n"), "scores.csv", "semicolons"),
    command(
        "scores: its own input",
        lambda folder: [
            "route",
            text_file("scores.csv", SCORES_CSV)(folder),
            "--out",
            folder / "scores.csv",
        ],
        "scores.csv",
        "also an input",
    ),
    command("scores: a row is short", route("id,gini\na\n"), "scores.csv:2", "1 fields"),
    command("scores: an id twice", route("id,gini\na,1\na,2\n"), "scores.csv", "'a'"),
    command("scores: no share for RL", route(SCORES_CSV, "--rl-share", 0), "--rl-share"),
    command("scores: more than all for RL", route(SCORES_CSV, "--rl-share", 1.5), "--rl-share"),
    command("scores: unknown format", route(SCORES_CSV, "--emit", "trl"), "--emit", "trl"),
    command("scores: corpus not named", route(SCORES_CSV, "--emit", "verl"), "scores.csv", "--data"),
]


def sft(split: str | None, corpus: object = None, **recipe: object) -> Builder:
    def build(folder: Path) -> Sequence[object]:
        data = jsonl(folder / "corpus.jsonl", *(corpus or [trajectory()]))
        more = ["--split", text_file("split.csv", split)(folder)] if split is not None else []
        settings = {
            "prompt": PROMPT, "template": "qwen3", "layout": "steps", "learning_rate": 1e-3, "num_train_epochs": 1,
            "per_device_train_batch_size": 1, "gradient_accumulation_steps": 1,
        } | recipe  # fmt: skip
        return [
            "stage", "sft", "--model", folder / "model", "--trajectories", data, "--out", folder / "sft", "--work",
            folder / "work", "--recipe", json.dumps(settings), "--seed", 0, *more,
        ]  # fmt: skip

    return build


SPLITS = [
    command("split: unknown regime", sft("id,score,regime\na,1,ppo\n"), "split.csv:2", "unknown regime 'ppo'"),
    command("split: an id twice", sft("id,score,regime\na,1,sft\na,1,sft\n"), "split.csv:3", "twice"),
    command("split: no regime", sft("id,score\na,1\n"), "split.csv", "no column 'regime'"),
    command("split: of another corpus", sft("id,score,regime\nz,1,sft\n"), "split.csv"),
    command("split: nothing for SFT", sft("id,score,regime\na,1,rl\n"), "split.csv"),
    command("sft: unknown setting", sft(None, learning_rat=1.0), "--recipe", "did you mean 'learning_rate'"),
    command("sft: learning rate is a text", sft(None, learning_rate="1e-3"), "--recipe.learning_rate"),
]


def paper(name: str, old: str, new: str) -> Builder:
    def build(folder: Path) -> Sequence[object]:
        place = folder / "paper"
        shutil.copytree("resources/paper/v1", place)
        text = (place / name).read_text()
        assert old in text
        (place / name).write_text(text.replace(old, new, 1))
        return ["audit", "--paper", place, "--out-csv", folder / "a.csv", "--out-md", folder / "a.md"]

    return build


def rates(text: str | None) -> Builder:
    def build(folder: Path) -> Sequence[object]:
        if text is not None:
            (folder / "rates.csv").write_text(text)
        return ["audit-table", folder / "rates.csv", "--out-csv", folder / "a.csv"]

    return build


RATES = [
    command("rates: no file", rates(None), "rates.csv", "cannot be read"),
    command("rates: no column of methods", rates("methd,group,rate\na,g,1.0\n"), "did you mean 'methd'"),
    command("rates: a percent sign", rates("method,group,rate\na,g,61.7%\n"), "rates.csv:2", "61.7%"),
    command("rates: above a hundred", rates("method,group,rate\na,g,161.7\n"), "rates.csv:2", "161.7"),
    command("rates: a cell twice", rates("method,group,rate\na,g,1.0\na,g,2.0\n"), "rates.csv:3", "repeats 'a'"),
    command("rates: half an episode", rates("method,group,rate,n\na,g,1.0,12.5\n"), "rates.csv:2", "12.5"),
    command("rates: semicolons", rates("method;group;rate\na;g;1,0\n"), "rates.csv", "semicolons"),
    command("rates: no line", rates("method,group,rate\n"), "rates.csv", "holds no rate"),
]
CODE = "!!python/object/apply:os.system ['id']"
PAPER = [
    command("paper: no folder", lambda folder: [
        "audit", "--paper", folder / "none", "--out-csv", folder / "a.csv", "--out-md", folder / "a.md",
    ], "none"),
    command("paper: one decimal", paper("table1.csv", "95.31", "95.3"), "table1.csv:", "two decimals"),
    command("paper: a column misspelt", paper("table2.csv", "sr,score", "sr,scor"), "did you mean 'scor'"),
    command("paper: a claim misspelt", paper("claims.yaml", "    threshold:", "    thresold:"), "thresold"),
    command("paper: claims are code", paper("claims.yaml", "claims:", f"claims: {CODE}\nold:"), "claims.yaml"),
]  # fmt: skip

CASES = [
    *TRAJECTORIES,
    command("trajectories: no file", import_from(lambda folder: folder / "none.jsonl"), "none.jsonl"),
    command("trajectories: a folder", import_from(lambda folder: folder), "cannot be read"),
    *CHATS,
    *MODELS,
    *PANELS,
    *GAMES,
    *CATALOGS,
    *EVALUATIONS,
    *SCORES,
    *SPLITS,
    *RATES,
    *PAPER,
]

NEED_A_MODEL = ("chat", "probe", "model", "panel", "evaluation", "split", "sft")


@pytest.fixture
def folder(root, tmp_path, monkeypatch, request):
    """An empty folder, with a sound model in it where the case needs one."""
    monkeypatch.chdir(root)
    if request.node.callspec.params["case"].name.split(":")[0] in NEED_A_MODEL:
        shutil.copytree(root / BACKBONE, tmp_path / "model")
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_refused_in_one_line(folder, case):
    arguments = case.build(folder)
    answer = run_prism(folder, *arguments)
    assert answer.code == 2, answer.lines
    said = [line for line in answer.lines if "prism: " in line]
    assert len(said) == 1, answer.lines
    assert answer.lines[-1] == said[0], answer.lines
    for text in case.named:
        assert text in said[0], said[0]
    assert "; " in said[0]
    assert len(said[0]) < 600
    assert not any("Traceback" in line for line in answer.lines)
    assert answer.written == []


def test_there_are_enough_cases():
    assert len(CASES) >= 60
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("name", ["trajectories: cut off", "scores: no such column"])
def test_a_real_process_says_the_same(root, tmp_path, name):
    """The tests above run in one process; here is one of them as a person runs it."""
    case = next(case for case in CASES if case.name == name)
    done = subprocess.run(
        [sys.executable, "-m", "prism", *map(str, case.build(tmp_path))],
        cwd=root, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("prism: ")
    assert all(text in done.stderr for text in case.named)
