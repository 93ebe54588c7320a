"""From a person's chats to training data: the five commands, without Snakemake."""

from __future__ import annotations

import json
import re

import pyarrow.parquet as pq
import pytest
from chat_files import OPENAI, SHAREGPT, write
from norm_files import fake_norms
from toy_corpus import save_toy_model
from typer.testing import CliRunner

from prism.cli import app
from prism.core.csv_files import read_table, write_table
from prism.core.errors import BadInput
from prism.core.files import sha256_file
from prism.core.splits import read_split
from prism.stages.sensitivity import compute_sensitivity
from prism.tools.explain import explain
from prism.tools.route import route

FIRST_WORDS = ("look", "take mug 1", "go to desk 1", "open drawer 2", "go to bed 1", "use desklamp 1")


def chats(style, count=20):
    for number in range(count):
        turns = json.loads(json.dumps(OPENAI if style == "messages" else SHAREGPT))
        turns[1]["content" if style == "messages" else "value"] = FIRST_WORDS[number % 6] + " now" * (number // 6)
        yield {"id": f"chat-{number:02d}", style: turns}


@pytest.fixture
def routed(tmp_path):
    """A corpus of chats and made-up scores of it."""
    data = write(tmp_path / "my.jsonl", *chats("messages", 6))
    scores = tmp_path / "scores.csv"
    head = [f"data: {data}", f"data_sha256: {sha256_file(data)}"]
    write_table(scores, head, ["id", "gini"], [[f"chat-{number:02d}", number / 10] for number in range(6)])
    return data, scores


@pytest.mark.parametrize("style", ["messages", "conversations"])
def test_five_commands(tmp_path, style):
    model = save_toy_model(tmp_path / "model")
    data = write(tmp_path / "my.jsonl", *chats(style))
    norms, scores, split, picture = (tmp_path / name for name in ("n.parquet", "s.csv", "out/split.csv", "p.svg"))
    told = {}
    for command in (
        ["probe", "--model", model, "--data", data, "--out", norms, "--context-length", "256"],
        ["score", norms, "--out", scores],
        ["route", scores, "--by", "gini", "--rl-share", "0.5", "--out", split, "--emit", "llamafactory,verl"],
        ["explain", norms, "--sample", "chat-03", "--out", picture],
        ["stage", "split", scores, "--score", "cv", "--rl-percent", "25", "--out", tmp_path / "cv.csv"],
    ):
        result = CliRunner().invoke(app, [str(word) for word in command], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        told[command[0]] = result.output
    regimes = dict(zip(read_table(split).column("id"), read_table(split).column("regime"), strict=True))
    assert sorted(regimes.values()) == ["rl"] * 10 + ["sft"] * 10
    sft = json.loads((tmp_path / "out/llamafactory/prism_sft.json").read_text())
    rl = pq.read_table(tmp_path / "out/verl/prism_rl.parquet").to_pylist()
    assert {record["id"] for record in sft} == {name for name, regime in regimes.items() if regime == "sft"}
    assert {record["extra_info"]["id"] for record in rl} == {name for name, one in regimes.items() if one == "rl"}
    assert rl[0]["prompt"][0] == OPENAI[0]
    assert rl[0]["reward_model"]["ground_truth"] == "go to bed 1"
    assert re.search(r"\n  layers\.[01]\.\w+_proj +\d+\.\d%  norm \d", told["explain"])
    assert picture.read_text().startswith("<?xml")


def test_llamafactory_reads_the_dataset(tmp_path, routed, root, monkeypatch):
    _, scores = routed
    monkeypatch.syspath_prepend(root / "prism" / "shims")  # LLaMA-Factory imports torchaudio
    route(scores, "gini", 50, tmp_path / "split.csv", ["llamafactory-messages"])
    parser = pytest.importorskip("llamafactory.data.parser")
    converter = pytest.importorskip("llamafactory.data.converter")
    (attributes,) = parser.get_dataset_list(["prism_sft"], str(tmp_path / "llamafactory-messages"))
    records = json.loads((tmp_path / "llamafactory-messages" / attributes.dataset_name).read_text())
    convert = converter.get_dataset_converter(attributes.formatting, attributes, None)
    for record in records:
        converted = convert(record)
        assert converted["_system"] == "act"
        assert converted["_response"] == [{"role": "assistant", "content": "go to bed 1"}]
        assert len(converted["_prompt"]) == 3


def test_emission_refuses_another_corpus(tmp_path, routed):
    data, scores = routed
    with data.open("a") as lines:
        lines.write(json.dumps({"id": "new", "messages": OPENAI}) + "\n")
    with pytest.raises(BadInput, match="is not the corpus"):
        route(scores, "gini", 50, tmp_path / "split.csv", ["verl"])
    with pytest.raises(BadInput, match="unknown format 'verll'"):
        route(scores, "gini", 50, tmp_path / "split.csv", ["verll"])
    assert not (tmp_path / "split.csv").exists()


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        ([OPENAI[1], OPENAI[1], OPENAI[2]], "does not alternate"),
        ([OPENAI[1], OPENAI[2], OPENAI[3], {**OPENAI[4], "weight": 0}], "answers without loss"),
    ],
)
def test_chats_that_llamafactory_would_drop_are_refused(tmp_path, turns, problem):
    data = write(tmp_path / "my.jsonl", {"id": "a", "messages": turns}, {"id": "b", "messages": OPENAI})
    scores = tmp_path / "scores.csv"
    head = [f"data: {data}", f"data_sha256: {sha256_file(data)}"]
    write_table(scores, head, ["id", "gini"], [["a", 0.1], ["b", 0.2]])
    with pytest.raises(BadInput, match=problem):
        route(scores, "gini", 50, tmp_path / "split.csv", ["llamafactory-messages"])
    assert not (tmp_path / "llamafactory-messages").exists()


def test_an_id_is_never_a_formula(tmp_path):
    norms = [fake_norms(tmp_path / "n.parquet", [1], name="$x_{{$ a$b$c {}")]
    explain(norms, "$x_{$ a$b$c 1", tmp_path / "a.svg")
    assert "$x_{$ a$b$c 1" in (tmp_path / "a.svg").read_text()


def scored(tmp_path, *records):
    """A corpus, and scores that route its first half to SFT."""
    data = write(tmp_path / "my.jsonl", *records)
    scores = tmp_path / "scores.csv"
    head = [f"data: {data}", f"data_sha256: {sha256_file(data)}"]
    write_table(scores, head, ["id", "gini"], [[record["id"], float(rank)] for rank, record in enumerate(records)])
    return scores


def refused(tmp_path, scores, problem):
    """The emission is refused, and nothing was written."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInput, match=problem):
        route(scores, "gini", 50, tmp_path / "split.csv", ["verl", "llamafactory-messages"])
    assert sorted(tmp_path.rglob("*")) == before


def test_an_emission_is_whole_or_nothing(tmp_path):
    fine = {"id": "b", "messages": OPENAI}
    late = {"id": "a", "messages": [OPENAI[1], OPENAI[0], OPENAI[2]]}
    refused(tmp_path, scored(tmp_path, late, fine), r"my\.jsonl:1: 'a' has a system message that is not the first one")
    refused(tmp_path, scored(tmp_path, fine), "routes nothing to rl")
    scores = scored(tmp_path, fine, {**fine, "id": "c"})
    table = scores.read_text()
    scores.write_text(table.replace("1.0", "0.0"))
    refused(tmp_path, scores, "routes nothing to rl")
    scores.write_text(table)
    route(scores, "gini", 50, tmp_path / "split.csv", ["verl", "llamafactory-messages"])
    made = sorted(tmp_path.rglob("*"))
    route(scores, "gini", 50, tmp_path / "split.csv", ["verl", "llamafactory-messages"])
    assert sorted(tmp_path.rglob("*")) == made


@pytest.mark.parametrize("name", ["llamafactory-messages", "verl"])
def test_a_folder_of_somebody_elses_is_left_alone(tmp_path, name):
    (tmp_path / name / "src").mkdir(parents=True)
    (tmp_path / name / "src" / "train.py").write_text("years")
    scores = scored(tmp_path, *({"id": one, "messages": OPENAI} for one in "ab"))
    refused(tmp_path, scores, "holds files that prism did not make")
    assert (tmp_path / name / "src" / "train.py").read_text() == "years"


def test_an_emission_does_not_take_its_own_corpus_away(tmp_path):
    first = scored(tmp_path, *({"id": one, "messages": OPENAI} for one in "abcd"))
    route(first, "gini", 50, tmp_path / "split.csv", ["llamafactory-messages"])
    corpus = tmp_path / "llamafactory-messages" / "prism_sft.json"
    head = [f"data: {corpus}", f"data_sha256: {sha256_file(corpus)}"]
    write_table(tmp_path / "again.csv", head, ["id", "gini"], [["a", 0.0], ["b", 1.0]])
    refused(tmp_path, tmp_path / "again.csv", "holds the input")


@pytest.mark.parametrize(
    ("share", "remedy"), [("50", "for 50 percent give 0.5"), ("0", "0.5 is one half"), ("nan", "0.5 is one half")]
)
def test_a_share_is_no_percentage(tmp_path, routed, share, remedy):
    _, scores = routed
    words = ["route", str(scores), "--out", str(tmp_path / "split.csv"), "--rl-share", share]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, BadInput)
    assert str(result.exception) == f"--rl-share: {share} is not between 0 and 1; {remedy}"
    assert not (tmp_path / "split.csv").exists()


def test_hostile_ids_go_from_chats_to_both_halves(tmp_path):
    ids = ["=cmd|' /C calc'!A0", "+1", "@x", "a\rb", "'=y", "-z"]
    scores = scored(tmp_path, *({"id": one, "messages": OPENAI} for one in ids))
    route(scores, "gini", 50, tmp_path / "split.csv", ["llamafactory-messages", "verl"])
    sft = json.loads((tmp_path / "llamafactory-messages/prism_sft.json").read_text())
    rl = pq.read_table(tmp_path / "verl/prism_rl.parquet").to_pylist()
    assert [record["id"] for record in sft] == ids[:3]
    assert [record["extra_info"]["id"] for record in rl] == ids[3:]
    assert list(read_split(tmp_path / "split.csv")) == ids


def test_explain(tmp_path):
    norms = [fake_norms(tmp_path / f"{shard}.parquet", range(shard, 6, 2), shard, 2) for shard in (0, 1)]
    text = explain(norms, "t-003", tmp_path / "a.svg")
    again = explain(norms, "t-003", tmp_path / "b.svg")
    assert text == again
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    explain(norms, "t-003", tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    row = pq.read_table(norms[1], filters=[("id", "=", "t-003")]).to_pylist()[0]
    largest = max((name for name in row if name.startswith("layers.")), key=row.get)
    assert text.splitlines()[3].split()[0] == largest
    with pytest.raises(BadInput, match="did you mean 't-003'"):
        explain(norms, "t-03", tmp_path / "c.svg")
    with pytest.raises(BadInput, match=r"\.svg or \.png"):
        explain(norms, "t-003", tmp_path / "c.gif")


def test_sensitivity(tmp_path):
    path = tmp_path / "alfworld" / "tiny.csv"
    columns = ["id", *(f"{metric}{end}" for metric in ("gini", "kurtosis", "cv") for end in ("", "_normalised"))]
    rows = [[f"t{number}", number, number**2, number, -number, number, number] for number in range(10)]
    rows[4][6], rows[5][6] = 5, 4
    write_table(path, [], columns, rows)
    compute_sensitivity([path], "demo", tmp_path / "g.csv")
    table = read_table(tmp_path / "g.csv")
    assert any("DEMO" in line.upper() for line in table.head)
    found = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["metric"] for row in found] == ["gini", "kurtosis", "cv"]
    assert {row["benchmark"] + "/" + row["backbone"] for row in found} == {"alfworld/tiny"}
    assert [row["spearman"] for row in found] == ["1.0000", "-1.0000", "0.9879"]
    assert [row["rerouted_percent"] for row in found] == ["0.00", "100.00", "20.00"]
    assert [row["claim_holds"] for row in found] == ["yes", "no", "no"]
    write_table(path, [], columns, rows[:2])
    with pytest.raises(BadInput, match="fewer than three"):
        compute_sensitivity([path], "demo", tmp_path / "x.csv")
