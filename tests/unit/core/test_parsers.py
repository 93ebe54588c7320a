"""Parsers under arbitrary input: the declared error or a well-formed value, nothing else, and nothing in silence."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pytest
from format_examples import EXAMPLES
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prism.core.chat_formats.tokens import token_rows
from prism.core.chats import parse_chat, read_chats
from prism.core.csv_files import read_table
from prism.core.errors import BadInput, PrismError
from prism.core.evaluations import read_evaluation
from prism.core.prompts import parse_reply, render_response
from prism.core.recipes import build_recipe
from prism.core.splits import RL, SFT, read_split, split_by_quantile
from prism.core.trajectories import read_trajectories
from prism.environments.base import read_panel
from prism.stages.audit.paper import read_claims
from prism.stages.splits import make_split

FAST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(max_size=40)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=8
)
STEP = {"observation": "o", "admissible": ["look"], "thought": "t", "action": "look", "demonstrated": True}
TRAJECTORY = {
    "id": "a", "benchmark": "alfworld", "game": "g", "task": "t", "task_type": "pick", "expert": "e", "success": True,
    "steps": [STEP],
}  # fmt: skip
CHAT = {"id": "a", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "look"}]}
EPISODE = {"task_id": "a", "task_type": "pick", "success": True, "score": 1.0}
EVALUATION = {
    "benchmark": "b", "panel": "p", "panel_sha256": "s", "seed": 0, "recipe": {}, "episodes": [EPISODE],
}  # fmt: skip


def replaced(value, path, new):
    """A value with what stands at a path of keys and indices replaced."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def paths(value, path=()):
    """The paths of all values within a value, and of itself."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


CHATS = [record for pairs in EXAMPLES.values() for record, _ in pairs] + [{"input_ids": [1, 2], "labels": [-100, 2]}]
PLACES = [(record, path) for record in CHATS for path in paths(record) if path]


def check_message(error: PrismError, place: object) -> None:
    """The declared error is one line and says where."""
    assert "\n" not in str(error)
    assert str(place) in str(error)


@given(TEXT | st.text(alphabet="<>/thinkactiolok "), st.sampled_from(["alfworld", "webshop"]))
@example("<think></think><action></action>", "alfworld")
@example("<ACTION>go</ACTION>", "alfworld")
@example("</action><action>", "webshop")
@example("İ<think>x</think><action>look</action>", "alfworld")
@FAST
def test_any_reply_becomes_an_action(text, benchmark):
    reply = parse_reply(text, benchmark)
    assert isinstance(reply.action, str)
    assert reply.action == " ".join(reply.action.split())
    if reply.valid:
        assert "<action>" in text.lower()
        assert "</think>" in text.lower()


@given(st.text(alphabet=st.characters(max_codepoint=126, min_codepoint=32, exclude_characters="<>"), max_size=30))
@FAST
def test_a_rendered_action_is_read_back(action):
    reply = parse_reply(render_response("why", action))
    assert reply.valid
    assert reply.action == " ".join(action.lower().split())


@given(st.binary(max_size=200) | st.lists(VALUES, max_size=3).map(lambda v: "\n".join(map(json.dumps, v)).encode()))
@example(b"\xef\xbb\xbf{}")
@example(b'{"id": "\\ud800"}')
@FAST
@pytest.mark.parametrize("read", [read_trajectories, read_chats, read_panel, read_evaluation, read_claims, read_table])
def test_arbitrary_bytes_give_the_declared_error(read, tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    try:
        value = read(path)
    except BadInput as error:
        check_message(error, path)
    else:
        # only a CSV file has no form that arbitrary text could miss
        assert read is read_table, (content, value)


@given(st.sampled_from(sorted(TRAJECTORY)), VALUES)
@FAST
def test_a_field_of_a_trajectory_is_never_taken_for_another_type(tmp_path, key, value):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(TRAJECTORY | {key: value}) + "\n")
    try:
        (found,) = read_trajectories(path)
    except BadInput as error:
        check_message(error, path)
        return
    assert type(value) is type(TRAJECTORY[key])
    assert getattr(found, key) == value or key == "steps"


@given(st.sampled_from(sorted(STEP)), VALUES)
@FAST
def test_a_field_of_a_step_is_never_taken_for_another_type(tmp_path, key, value):
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps(TRAJECTORY | {"steps": [STEP, STEP | {key: value}]}) + "\n")
    try:
        (found,) = read_trajectories(path)
    except BadInput:
        return
    assert type(value) is type(STEP[key])
    kept = getattr(found.steps[1], key)
    assert kept == (tuple(value) if key == "admissible" else value)


@given(VALUES)
@FAST
def test_any_message_list_is_a_chat_or_refused(messages):
    try:
        chat = parse_chat(CHAT | {"messages": messages}, 1, "f:1")
    except BadInput as error:
        check_message(error, "f:1")
        return
    assert len(chat.messages) >= len(messages)
    assert any(message["role"] == "assistant" for message in chat.messages)


@given(st.sampled_from(sorted(EPISODE)), VALUES)
@FAST
def test_an_episode_of_an_evaluation_has_a_success_and_a_score(tmp_path, key, value):
    path = tmp_path / "e.json"
    path.write_text(json.dumps(EVALUATION | {"episodes": [EPISODE | {key: value}]}))
    try:
        found = read_evaluation(path)
    except BadInput as error:
        check_message(error, path)
        return
    assert found.success.dtype == bool
    assert 0 <= found.scores[0] <= 1


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=12), st.floats(0.5, 99.5))
@FAST
def test_a_split_is_a_partition_or_an_error(tmp_path, scores, percent):
    path, out = tmp_path / "scores.csv", tmp_path / "split.csv"
    path.write_text("id,gini\n" + "".join(f"t{number},{score!r}\n" for number, score in enumerate(scores)))
    try:
        split = make_split(path, "gini", percent, out)
    except PrismError:
        assert not all(map(math.isfinite, scores)) or max(map(abs, scores)) > 1e300
        return
    assert all(map(math.isfinite, scores))
    regimes = read_split(out)
    assert list(regimes) == [f"t{number}" for number in range(len(scores))]
    assert set(regimes.values()) <= {SFT, RL}
    for score, regime in zip(scores, regimes.values(), strict=True):
        assert (regime == RL) == (score > split.threshold)
    out.unlink()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(1, 99))
@FAST
def test_no_more_than_the_share_goes_to_rl(scores, percent):
    split = split_by_quantile(scores, percent)
    assert split.count(RL) <= math.ceil(len(scores) * percent / 100)
    assert split.count(RL) + split.count(SFT) == len(scores)


@given(st.text(alphabet='id,regimsftl\n"ab#', max_size=60))
@FAST
def test_any_text_is_a_split_or_refused(tmp_path, text):
    path = tmp_path / "split.csv"
    path.write_text(text)
    try:
        regimes = read_split(path)
    except BadInput:
        return
    assert set(regimes.values()) <= {SFT, RL}


@dataclass(frozen=True)
class Settings:
    rate: float
    steps: int
    name: str
    flag: bool
    sizes: tuple[int, ...] = ()


GOOD = {"rate": 0.5, "steps": 3, "name": "x", "flag": True, "sizes": [1, 2]}


@given(st.sampled_from(sorted(GOOD)), VALUES)
@FAST
def test_a_recipe_never_takes_a_value_of_another_type(key, value):
    try:
        found = build_recipe(Settings, GOOD | {key: value}, "--recipe")
    except BadInput as error:
        check_message(error, "--recipe")
        return
    expected = {"rate": (int, float), "steps": int, "name": str, "flag": bool, "sizes": list}[key]
    assert isinstance(value, expected)
    assert isinstance(value, bool) == (key == "flag")
    assert key == "sizes" or getattr(found, key) == value or math.isnan(value)
    assert all(type(size) is int for size in found.sizes)


@given(st.text(max_size=60))
@FAST
def test_any_text_is_a_recipe_or_refused(text):
    with pytest.raises(BadInput):
        build_recipe(Settings, text, "--recipe")


@given(st.sampled_from(PLACES), VALUES)
@settings(FAST, max_examples=400)
def test_a_chat_of_any_format_with_any_value_anywhere_is_read_or_refused(place, value):
    record, path = place
    damaged = replaced(record, path, value)
    try:
        if "input_ids" in damaged:
            rows = token_rows(damaged, "file:1")
            assert all(len(ids) == len(mask) and any(mask[1:]) for ids, mask in rows)
            return
        chat = parse_chat(damaged, 1, "file:1")
    except BadInput as error:
        check_message(error, "file:1")
        return
    assert chat.messages
    assert all(isinstance(turn["content"], str) for turn in chat.messages)
    json.dumps(chat.messages)
