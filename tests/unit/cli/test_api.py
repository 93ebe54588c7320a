"""PRISM from Python: the example of the documentation as it stands there, and what it refuses."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from probe_models import random_model
from toy_corpus import save_toy_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import prism
from prism.cli import app
from prism.core.csv_files import read_table
from prism.core.errors import BadInput, NotFinite


def chat(number):
    action = ("go to desk 1", "open drawer 2")[number % 2]
    turns = [("user", f"put a mug in desk. {number}"), ("assistant", action * (1 + number % 3))]
    return {"id": f"c-{9 - number}", "messages": [{"role": role, "content": text} for role, text in turns]}


CHATS = [chat(number) for number in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    save_toy_model(folder / "model")
    (folder / "my.jsonl").write_text("".join(json.dumps(one) + "\n" for one in CHATS))
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype="float32")
    return model, AutoTokenizer.from_pretrained(folder / "model")


def test_the_example_of_the_documentation_says_what_the_commands_say(root, folder, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", (root / "docs/api.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    names = {}
    exec(compile(example, "docs/api.md", "exec"), names)
    shown = capsys.readouterr().out
    for command in (
        ["probe", "--model", "model", "--data", "my.jsonl", "--out", "n.parquet"],
        ["score", "n.parquet", "--out", "s.csv"],
        ["route", "s.csv", "--out", "split.csv"],
    ):
        assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    by_hand = pd.read_csv("s.csv", comment="#").set_index("id")
    scores = names["scores"]
    assert list(scores.index) == [one["id"] for one in CHATS]
    pd.testing.assert_frame_equal(scores.drop(columns="regime").sort_index(), by_hand, rtol=1e-5)
    split = read_table("split.csv")
    assert dict(zip(split.column("id"), split.column("regime"), strict=True)) == scores["regime"].to_dict()
    assert ["gini", "l2", "regime"] in [line.split() for line in shown.splitlines()]
    spearman = scores["gini"].rank().corr(scores["loss"].rank())
    assert ["loss", f"{spearman:.2f}"] in [line.split() for line in shown.splitlines()]
    assert f"Name: {scores['gini'].idxmax()}," in shown
    assert {side: [one["id"] for one in half] for side, half in names["halves"].items()} == {
        side: [one["id"] for one in CHATS if scores["regime"][one["id"]] == side] for side in ("sft", "rl")
    }
    assert len(names["halves"]["rl"]) == len(CHATS) // 2


def test_the_readme_s_commands_run_as_they_are_written(root, folder, tmp_path, monkeypatch):
    text = (root / "README.md").read_text()
    section = text[text.index("## Route your own trajectories") : text.index("## Does training help?")]
    commands = re.search(r"```\n(.*?)```", section, re.DOTALL)[1].splitlines()
    assert [command.split()[1] for command in commands] == ["probe", "score", "route", "report"]
    (tmp_path / "PATH_OR_ID").symlink_to(folder / "model")
    (tmp_path / "my.jsonl").symlink_to(folder / "my.jsonl")
    monkeypatch.chdir(tmp_path)
    for command in commands:
        done = CliRunner().invoke(app, command.split()[1:], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    assert sorted(read_table("split.csv").column("regime")) == ["rl"] * 4 + ["sft"] * 4
    assert "c-9" in (tmp_path / "report.html").read_text()


def test_the_model_is_left_as_it_was(loaded):
    model, tokenizer = loaded
    tokens = torch.arange(12)[None]
    before, attention = model(tokens).logits, model.config._attn_implementation
    state = {name: (type(module), module.training) for name, module in model.named_modules()}
    norms = prism.probe(model, tokenizer, CHATS[:2])
    assert {name: (type(module), module.training) for name, module in model.named_modules()} == state
    assert torch.equal(model(tokens).logits, before)
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert model.config._attn_implementation == attention
    # and it can be probed again
    pd.testing.assert_frame_equal(prism.probe(model, tokenizer, CHATS[:2]).frame, norms.frame)


def test_records_lists_and_datasets_are_the_same_chats(loaded):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed: its Dataset was NOT probed")
    expected = prism.probe(*loaded, CHATS).frame
    tuned = prism.probe(*loaded, datasets.Dataset.from_list(CHATS)).frame
    pd.testing.assert_frame_equal(tuned, expected)
    bare = prism.probe(*loaded, [one["messages"] for one in CHATS], progress=True).frame
    assert list(bare.index) == [str(number) for number in range(len(CHATS))]
    np.testing.assert_array_equal(bare.to_numpy(), expected.to_numpy())


@pytest.mark.parametrize(
    ("chats", "problem"),
    [
        ([], "chats: there are none"),
        ([CHATS[0], CHATS[0]], r"chats\[1\]: repeats id 'c-9' of chats\[0\]"),
        (["hello"], r"chats\[0\]: is no chat"),
        ([CHATS[0], {"text": "x"}], r"chats\[1\]: is plain text"),
    ],
)
def test_chats_that_cannot_be_probed_are_named(loaded, chats, problem):
    with pytest.raises(BadInput, match=problem):
        prism.probe(*loaded, chats)


def test_what_no_model_can_read_is_named(loaded):
    _, tokenizer = loaded
    with pytest.raises(BadInput, match="model: does not know a token of trajectory 'c-9'"):
        prism.probe(random_model("qwen3", vocab_size=3), tokenizer, CHATS)
    with pytest.raises(BadInput, match="'c-9' has no response token within 2 tokens"):
        prism.probe(*loaded, CHATS, context_length=2)


def test_routing_of_any_table():
    scores = pd.DataFrame({"mine": [3.0, 1.0, 2.0, 0.0]}, index=list("abcd"))
    split = prism.route(scores, by="mine", rl_share=0.25)
    assert split.regimes == ("rl", "sft", "sft", "sft")
    with pytest.raises(BadInput, match="did you mean 'mine'"):
        prism.route(scores, by="mien")
    for share in (0, 1, 50):
        with pytest.raises(BadInput, match="choose a share between 0 and 1"):
            prism.route(scores, by="mine", rl_share=share)
    with pytest.raises(NotFinite, match="mine of 'c'"):
        prism.route(scores.replace(2.0, np.nan), by="mine")


def test_there_is_no_other_name():
    with pytest.raises(AttributeError, match="has no attribute 'probee'"):
        _ = prism.probee
