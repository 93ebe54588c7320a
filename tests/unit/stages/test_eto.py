"""ETO's conversations: the format, the old wording, and the replay in the engines of today."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

from prism.core.errors import BadInput
from prism.core.eto import read_conversations, split_reply
from prism.core.files import read_json
from prism.core.trajectories import Trajectory, read_trajectories
from prism.environments.alfworld.data import EtoRecipe, TrajectoriesRecipe, modern_actions
from prism.environments.alfworld.dataset import GamesRecipe, generate_games
from prism.environments.webshop import rewards
from prism.environments.webshop.data import (
    StoreRecipe,
    WebshopEtoRecipe,
    WebshopTrajectoriesRecipe,
    instruction_key,
    shopping_instruction,
)
from prism.environments.webshop.environment import GoalSplit
from prism.environments.webshop.generator import CatalogRecipe
from prism.environments.webshop.store import Store
from prism.stages.eto import play_conversations
from prism.stages.games import make_catalog, make_games
from prism.stages.trajectories import CorpusFiles, collect_trajectories

SPLIT = GoalSplit(test=4, dev=0)


def turns(opening: str, steps: list[tuple[str, str]]) -> list[dict[str, str]]:
    """A conversation as ETO writes it."""
    told = [("human", "Interact with a household to solve a task. ..."), ("gpt", "OK"), ("human", opening)]
    for thought, action in steps:
        told += [("gpt", f"Thought: {thought}\nAction: {action}"), ("human", "Observation: as it was then")]
    return [{"from": speaker, "value": text} for speaker, text in told[:-1]]


def old_wording(action: str) -> str:
    """How ALFWorld before version 0.4 said it."""
    if not action.startswith("move "):
        return action
    thing, place = action.removeprefix("move ").split(" to ")
    return f"put {thing} in/on {place}"


def alfworld_entry(trajectory: Trajectory, number: int) -> dict:
    room = f"{trajectory.steps[0].observation}\n\nYour task is to: {trajectory.task}"
    trial = Path(trajectory.game).parent
    return {
        "id": number,
        "game_file": f"json_2.1.1/{trial.parent}/{trial.name}",
        "conversations": turns(room, [(step.thought, old_wording(step.action)) for step in trajectory.steps]),
    }


def write(path: Path, entries: list) -> Path:
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> tuple[Path, list[Trajectory]]:
    """Generated games and the expert's own trajectories on them."""
    folder = tmp_path_factory.mktemp("alfworld")
    generate_games(folder / "games", GamesRecipe(train=6, seen=1, unseen=1, seed=2))
    recipe = TrajectoriesRecipe(max_steps=30, noise=0.0, seed=0)
    collect_trajectories(
        "alfworld", folder / "games", CorpusFiles(folder / "expert.jsonl", folder / "expert.json"), recipe
    )
    return folder / "games", read_trajectories(folder / "expert.jsonl")


def replay(tmp_path: Path, games: Path, entries: list, benchmark: str = "alfworld", **settings):
    source = write(tmp_path / "sft.json", entries)
    kind = {"alfworld": EtoRecipe, "webshop": partial(WebshopEtoRecipe, split=SPLIT)}[benchmark]
    recipe = kind(**{"max_steps": 50, **settings})
    play_conversations(benchmark, source, games, CorpusFiles(tmp_path / "out.jsonl", tmp_path / "out.json"), recipe)
    return read_trajectories(tmp_path / "out.jsonl"), read_json(tmp_path / "out.json")


def test_recordings_in_the_old_wording_become_the_same_trajectories(played, tmp_path):
    games, corpus = played
    entries = [alfworld_entry(trajectory, number) for number, trajectory in enumerate(corpus)]
    assert '" in/on ' not in json.dumps(entries)
    assert "Action: put " in json.dumps(entries)
    replayed, manifest = replay(tmp_path, games, entries)
    assert [trajectory.steps for trajectory in replayed] == [trajectory.steps for trajectory in corpus]
    assert [trajectory.id for trajectory in replayed] == [trajectory.id for trajectory in corpus]
    assert {trajectory.expert for trajectory in replayed} == {"eto"}
    assert manifest["trajectories"] == len(corpus)
    assert manifest["dropped"] == {}


def test_what_cannot_be_used_is_dropped_and_counted(played, tmp_path):
    games, corpus = played
    good, short, strange = (alfworld_entry(trajectory, 0) for trajectory in corpus[:3])
    short["conversations"] = short["conversations"][:4]
    strange["game_file"] = "json_2.1.1/train/pick_and_place_simple-Mug-None-Desk-999/trial_T0"
    replayed, manifest = replay(tmp_path, games, [good, good, short, strange])
    assert [trajectory.id for trajectory in replayed] == [corpus[0].id]
    assert manifest["dropped"] == {
        "does not win its game": 1,
        "its task is not among the training tasks": 1,
        "repeats a task": 1,
    }


def test_an_action_that_fails_today_is_not_imitated(played, tmp_path):
    games, corpus = played
    entry = alfworld_entry(corpus[0], 0)
    entry["conversations"][3:3] = [
        {"from": "gpt", "value": "Thought: try\nAction: open the pod bay doors"},
        {"from": "human", "value": "Observation: Nothing happens."},
    ]
    ((trajectory,), _) = replay(tmp_path, games, [entry])
    assert [step.demonstrated for step in trajectory.steps[:2]] == [False, True]
    assert trajectory.steps[1].observation == "Nothing happens."


def test_workers_change_nothing(played, tmp_path):
    games, corpus = played
    source = write(tmp_path / "sft.json", [alfworld_entry(trajectory, 0) for trajectory in corpus])
    written = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.jsonl"
        files = CorpusFiles(out, tmp_path / "m.json")
        play_conversations("alfworld", source, games, files, EtoRecipe(max_steps=50), workers)
        written.append(out.read_bytes())
    assert written[0] == written[1]


@pytest.fixture(scope="module")
def shopped(tmp_path_factory):
    """A generated store and the oracle shopper's trajectories."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rewards, "nouns", lambda title: tuple(title.lower().split()))
        folder = tmp_path_factory.mktemp("webshop")
        make_catalog("webshop", folder / "catalog", CatalogRecipe(products=60, seed=5))
        make_games("webshop", folder / "catalog", folder / "store", StoreRecipe(seed=3))
        recipe = WebshopTrajectoriesRecipe(goals="human", max_steps=8, seed=0, max_goals=8, split=SPLIT)
        out = folder / "expert.jsonl"
        collect_trajectories("webshop", folder / "store", CorpusFiles(out, folder / "expert.json"), recipe)
        yield folder / "store", read_trajectories(out)


def webshop_entry(trajectory: Trajectory, number: int) -> dict:
    page = f"WebShop [SEP] Instruction: [SEP] {trajectory.task} [SEP] Search"
    steps = [(step.thought, step.action) for step in trajectory.steps]
    return {"id": number, "reward": 1.0, "source": "gpt4", "conversations": turns(page, steps)}


def test_shopping_is_found_by_its_instruction_and_played_again(shopped, tmp_path):
    store, corpus = shopped
    entries = [webshop_entry(trajectory, 4116) for trajectory in (*corpus, corpus[0])]
    replayed, manifest = replay(tmp_path, store, entries, "webshop")
    assert [(trajectory.id, trajectory.steps) for trajectory in replayed] == [(t.id, t.steps) for t in corpus]
    assert all(trajectory.success for trajectory in replayed)
    assert manifest["dropped"] == {"repeats a task": 1}


def test_shopping_that_does_not_buy_or_is_not_for_training_is_dropped(shopped, tmp_path):
    store, corpus = shopped
    unfinished = webshop_entry(corpus[0], 0)
    unfinished["conversations"] = unfinished["conversations"][:-2]
    elsewhere = webshop_entry(corpus[1], 1)
    elsewhere["conversations"][2]["value"] = "WebShop [SEP] Instruction: [SEP] i want a theremin [SEP] Search"
    replayed, manifest = replay(tmp_path, store, [unfinished, elsewhere, webshop_entry(corpus[2], 2)], "webshop")
    assert len(replayed) == 1
    assert manifest["dropped"] == {"does not buy": 1, "its instruction is no goal of this catalog": 1}


def retold(entry: dict, instruction: str) -> dict:
    """A conversation about another instruction."""
    entry["conversations"][2]["value"] = f"WebShop [SEP] Instruction: [SEP] {instruction} [SEP] Search"
    return entry


def test_conversations_about_held_out_goals_are_left_out_and_counted(shopped, tmp_path):
    """ETO recorded goals of the test panel too: whoever trains on them has seen the answers."""
    store, corpus = shopped
    goals = Store(store, "human").goals
    split = GoalSplit(test=3, dev=2)
    entries = [retold(webshop_entry(corpus[0], 4116), goals[index].instruction) for index in range(5)]
    entries.append(webshop_entry(corpus[-1], 4116))
    replayed, manifest = replay(tmp_path, store, entries, "webshop", split=split)
    assert [trajectory.id for trajectory in replayed] == [corpus[-1].id]
    assert manifest["dropped"] == {"its goal is among the test goals": 3, "its goal is among the dev goals": 2}
    assert manifest["conversations"] == 6


def with_twin(store: Path, folder: Path, goal: int, twin: int) -> Path:
    """A copy of the store in which another goal has the same instruction."""
    shutil.copytree(store, folder)
    path = folder / "goals-human.jsonl"
    goals = [json.loads(line) for line in path.read_text().splitlines()]
    goals[twin]["instruction_text"] = goals[goal]["instruction_text"]
    path.write_text("".join(json.dumps(one) + "\n" for one in goals))
    return folder


def test_of_goals_with_one_instruction_the_id_tells_which(shopped, tmp_path):
    store, corpus = shopped
    first = int(corpus[0].id.rpartition("-")[2])
    for twin in (2, first + 1):
        again = with_twin(store, tmp_path / str(twin), first, twin)
        replayed, _ = replay(tmp_path, again, [webshop_entry(corpus[0], first)], "webshop")
        assert [trajectory.id for trajectory in replayed] == [corpus[0].id]
    # without a number, one that may be about a test goal is none to train on
    entries = [webshop_entry(corpus[0], 4116), webshop_entry(corpus[1], 4116)]
    _, manifest = replay(tmp_path, tmp_path / "2", entries, "webshop")
    assert manifest["dropped"] == {"its goal is among the test goals": 1}


@pytest.mark.parametrize(
    ("recorded", "today"),
    [
        ("put mug 1 in/on desk 2", "move mug 1 to desk 2"),
        ("put soap bar 1 in cabinet 3", "move soap bar 1 to cabinet 3"),
        ("toggle desklamp 1", "use desklamp 1"),
        ("go to desk 1", "go to desk 1"),
    ],
)
def test_old_wording_is_todays_wording(recorded, today):
    assert modern_actions(recorded)[-1] == today
    assert modern_actions(recorded)[0] == recorded


def test_replies_are_split(tmp_path):
    assert split_reply("Thought: It is closed.\nI open it.\nAction: open fridge 1", "x") == (
        "It is closed.\nI open it.", "open fridge 1",
    )  # fmt: skip
    assert split_reply("Action: look", "x") == ("", "look")
    with pytest.raises(BadInput, match=r"sft\.json\[3\]: a reply has no 'Action:': 'I give up'"):
        split_reply("I give up", "sft.json[3]")


def test_instructions_are_recognised_whatever_their_price_limit():
    told = "WebShop [SEP] Instruction: [SEP] I need a Red mug, and price lower than 50.00 dollars [SEP] Search"
    assert shopping_instruction(told) == instruction_key("i need a red mug, and price lower than 30.00 dollars")
    assert shopping_instruction("Instruction: \nI need a red  mug\n[Search]") == "i need a red mug"


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({}, "is not a list of conversations"),
        ([{"id": 1}], r"sft.json\[0\]: holds no conversations"),
        ([{"conversations": [{"role": "user", "content": "x"}]}], "holds no conversations of from and value"),
        ([{"conversations": turns("room", [("t", "look")])[1:]}], "do not take turns"),
    ],
)
def test_another_format_is_one_line(tmp_path, entries, problem):
    with pytest.raises(BadInput, match=problem):
        read_conversations(write(tmp_path / "sft.json", entries))


def test_nothing_usable_is_one_line(played, tmp_path):
    games, corpus = played
    entry = alfworld_entry(corpus[0], 0) | {"game_file": ""}
    with pytest.raises(BadInput, match="no conversation leads to its goal"):
        replay(tmp_path, games, [entry])
