"""The page of a probe: what stands in it, that nothing of it escapes, and what a browser makes of it."""

from __future__ import annotations

import base64
import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest
from browser import WIDTHS, act, measure, needs_browser, open_page, requests_of_page
from chat_files import write
from norm_files import NAMES, fake_norms
from typer.testing import CliRunner

from prism.cli import app
from prism.core.concentration import gini, kurtosis
from prism.core.errors import BadInput
from prism.core.files import sha256_file
from prism.core.prompts import Row
from prism.gradients.norm_files import write_norms
from prism.gradients.packs import Sample
from prism.gradients.prober import ProbedSample
from prism.gradients.profiles import ProfileGrid
from prism.tools.explain import explain
from prism.tools.report import build_report
from prism.tools.report.findings import correlations, findings

COUNT = 12
HOSTILE = "</script><img src=http://127.0.0.1:9/x.png onerror=console.error(1)>"
NORMS = np.random.default_rng(0).gamma(2.0, size=(COUNT, len(NAMES)))
WORDS = ("kettle", "pillow", "lamp", "drawer")


def chat(number: int) -> dict:
    question = f"find the {WORDS[number % 4]} {HOSTILE}"
    answer = {"role": "assistant", "content": f"go to desk {number}"}
    return {"id": f"t-{number:03d}", "messages": [{"role": "user", "content": question}, answer]}


@pytest.fixture
def probe(tmp_path):
    """A probe in two shards, and its corpus."""
    data = write(tmp_path / "my.jsonl", *map(chat, range(COUNT)))
    facts = {"data": str(data), "data_sha256": sha256_file(data)}
    return [
        fake_norms(tmp_path / f"n{shard}.parquet", range(shard, COUNT, 2), shard, 2, values=NORMS, **facts)
        for shard in range(2)
    ]


def part(page: str, name: str) -> str:
    return re.search(rf'<script type="[^"]*" id="{name}">(.*?)</script>', page, re.DOTALL)[1]


def array(text: str, dtype) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype)


def build(probe, tmp_path, by="gini", rl_share=0.25, text=True, data=None):
    page = tmp_path / "page.html"
    build_report(probe, by, rl_share, page, data, text)
    return page.read_text(encoding="utf-8")


def test_the_numbers_of_the_page_are_the_scores_and_the_split(probe, tmp_path):
    page = build(probe, tmp_path)
    numbers = json.loads(part(page, "numbers"))
    assert numbers["ids"] == [f"t-{number:03d}" for number in range(COUNT)]
    values = dict(zip(numbers["columns"], array(numbers["values"], "<f8").reshape(-1, COUNT), strict=True))
    np.testing.assert_allclose(values["gini"], gini(NORMS))
    np.testing.assert_allclose(values["kurtosis"], kurtosis(NORMS))
    assert set(values["rows"]) == {1.0}
    sides = array(numbers["sides"], "u1").astype(bool)
    np.testing.assert_array_equal(sides, gini(NORMS) > np.quantile(gini(NORMS), 0.75))
    assert (
        f"{COUNT - 3} trajectories go to SFT (at or below {numbers['threshold']:.6g}) and 3 trajectories go to RL"
        in page
    )
    profiles = json.loads(part(page, "profiles"))
    largest = array(profiles["largest"], "<f8")[:, None]
    shown = array(profiles["steps"], "<u2").reshape(COUNT, -1) / 65535 * largest
    np.testing.assert_allclose(shown, NORMS, atol=1e-5 * NORMS.max())
    assert profiles["matrices"][:2] == ["q_proj", "k_proj"]
    assert profiles["layers"] == ["0", "1"]


def test_texts_are_in_the_page_and_nothing_of_them_is_markup(probe, tmp_path):
    page = build(probe, tmp_path)
    texts = json.loads(gzip.decompress(base64.b64decode(part(page, "texts"))))
    assert texts[5] == [["user", f"find the pillow {HOSTILE}"], ["assistant", "go to desk 5"]]
    assert "127.0.0.1" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert part(build(probe, tmp_path, text=False), "texts") == ""


def test_an_id_is_no_markup_either(tmp_path):
    norms = fake_norms(tmp_path / "n.parquet", range(COUNT), values=NORMS, name=HOSTILE + "{}")
    page = build([norms], tmp_path, text=False)
    assert HOSTILE not in page
    assert json.loads(part(page, "numbers"))["ids"][0].startswith(HOSTILE)


def test_equal_probes_are_equal_bytes(probe, tmp_path):
    assert build(probe, tmp_path) == build(probe[::-1], tmp_path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"by": "ginni"}, "has no column 'ginni'; did you mean 'gini'"),
        (
            {"data": "other.jsonl"},
            r"other.jsonl: is not the corpus of .*n0.parquet; name it with --data, or use --no-text",
        ),
    ],
)
def test_what_does_not_fit_is_named(probe, tmp_path, changes, problem, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "other.jsonl", chat(1))
    with pytest.raises(BadInput, match=problem):
        build(probe, tmp_path, **changes)


def test_a_corpus_that_is_gone_is_named_and_may_have_moved(probe, tmp_path):
    moved = (tmp_path / "my.jsonl").rename(tmp_path / "moved.jsonl")
    with pytest.raises(BadInput, match=r"my.jsonl: is not there, .*; name it with --data, or use --no-text"):
        build(probe, tmp_path)
    assert part(build(probe, tmp_path, data=moved), "texts")


def test_half_a_probe_is_refused_and_shares_are_shares(probe, tmp_path):
    with pytest.raises(BadInput, match="has shards"):
        build(probe[:1], tmp_path)
    command = ["report", *map(str, probe), "--out", str(tmp_path / "p.html"), "--rl-share", "50"]
    refused = CliRunner().invoke(app, command)
    assert "for 50 percent give 0.5" in str(refused.exception)
    assert not (tmp_path / "p.html").exists()


def table_of(**columns) -> pd.DataFrame:
    drawn = np.random.default_rng(3).random((6, 40))
    return pd.DataFrame(dict(zip(("gini", "kurtosis", "cv", "length", "loss", "l2"), drawn, strict=True)) | columns)


def found_in(table: pd.DataFrame) -> list[str]:
    return findings(table, correlations(table))


def test_a_score_that_ranks_like_something_simpler_is_said_so():
    size = np.arange(40.0)
    (like,) = found_in(table_of(gini=size**2, length=size + 0.1))
    assert like == (
        "Gini mostly ranks like length (response tokens) (rho 1.00): halves by it and halves by length agree on 100% "
        "of the trajectories."
    )
    (opposite,) = found_in(table_of(cv=-size, l2=size))
    assert opposite.startswith(
        "CV mostly ranks opposite to the size of the gradient (L2) (rho -1.00): halves by it and"
    )
    assert "by L2, turned round, agree on 100%" in opposite
    (none,) = found_in(table_of())
    assert re.fullmatch(
        r"No score mostly ranks like length, loss or L2: the closest are \w+ and \w+ \(rho -?0\.\d\d\)\.", none
    )
    assert "Length is the same for all trajectories." in found_in(table_of(length=np.ones(40)))
    assert found_in(table_of()[:3]) == ["Fewer than 4 trajectories: nothing can be said of ranks."]


OTHER_NAMES = [
    *("layers.0.in_proj_qkv", "layers.0.down_proj", "layers.1.q_proj", "layers.1.o_proj", "layers.1.down_proj"),
    "layers.10.q_proj",
]


def test_a_profile_has_the_matrices_of_its_model(tmp_path):
    grid = ProfileGrid.of(OTHER_NAMES)
    assert grid.matrices == ("in_proj_qkv", "down_proj", "q_proj", "o_proj")
    assert grid.layers == ("0", "1", "10")
    nan = np.nan
    expected = [[1, nan, nan], [2, 5, nan], [nan, 3, 6], [nan, 4, nan]]
    np.testing.assert_array_equal(grid.fill(np.arange(1.0, 7.0)), expected)
    probed = [ProbedSample(Sample(f"t{k}", (Row([1, 2], [0, 1]),)), 1.5, list(NORMS[k][:6])) for k in range(5)]
    facts = dict.fromkeys(("dtype", "model", "model_sha256", "data", "data_sha256", "prompt_sha256"), "x")
    facts |= {"shard": "0", "shards": "1", "parameter_counts": str([4] * 6)}
    write_norms(tmp_path / "n.parquet", probed, OTHER_NAMES, facts)
    page = build([tmp_path / "n.parquet"], tmp_path, text=False)
    assert json.loads(part(page, "profiles"))["matrices"] == list(grid.matrices)
    assert "layers.10.q_proj" in explain([tmp_path / "n.parquet"], "t3", tmp_path / "p.svg")
    drawn = (tmp_path / "p.svg").read_text()
    # figures leave out what all names end with
    assert all(f">{name.removesuffix('_proj')}<" in drawn for name in grid.matrices)


@pytest.mark.slow
@needs_browser
def test_the_page_asks_nobody_and_reports_no_error(probe, tmp_path):
    build(probe, tmp_path)
    shown, console, addresses = requests_of_page(tmp_path / "page.html", tmp_path)
    assert "t-011" in shown
    assert console == []
    assert addresses == set()


USE = """async (page, wait) => {
  const first = () => page.querySelector('#rows tr[data-place] td').textContent;
  const named = name => [...page.querySelectorAll('#heads button')].find(b => b.textContent.startsWith(name));
  const search = async words => {
    page.getElementById('search').value = words;
    page.getElementById('search').dispatchEvent(new page.defaultView.Event('input'));
    await wait(1000);
    return page.getElementById('matches').textContent;
  };
  const found = {opened: first()};
  named('kurtosis').click(); found.down = first();
  named('kurtosis').click(); found.up = first();
  named('trajectory').click(); found.id = first();
  page.querySelectorAll('#rows tr[data-place]')[5].click();
  await wait(3000);
  found.chosen = page.querySelector('#chosen h3').textContent;
  found.text = [...page.querySelectorAll('#chosen pre')].map(part => part.textContent);
  found.cells = page.querySelectorAll('#chosen .heat td[title]').length;
  found.words = page.querySelector('#chosen').textContent;
  found.images = page.querySelectorAll('#chosen img').length;
  page.querySelector('.list').dispatchEvent(new page.defaultView.KeyboardEvent('keydown', {key: 'ArrowDown'}));
  found.next = page.querySelector('#chosen h3').textContent;
  found.pillows = await search('PILLOW');
  found.seventh = await search('t-007');
  found.nothing = await search('zebra');
  await search('');
  page.getElementById('side').value = '1';
  page.getElementById('side').dispatchEvent(new page.defaultView.Event('change'));
  found.rl = page.getElementById('matches').textContent;
  return found;
}"""


@pytest.mark.slow
@needs_browser
def test_trajectories_are_sorted_searched_and_opened(probe, tmp_path):
    build(probe, tmp_path)
    found = act(tmp_path / "page.html", USE, tmp_path)
    name = "t-{:03d}".format
    assert found["opened"] == name(gini(NORMS).argmax())
    assert (found["down"], found["up"]) == (name(kurtosis(NORMS).argmax()), name(kurtosis(NORMS).argmin()))
    assert (found["id"], found["chosen"], found["next"]) == ("t-000", "t-005", "t-006")
    assert found["text"] == [f"find the pillow {HOSTILE}", "go to desk 5"]
    assert found["images"] == 0
    assert found["cells"] == len(NAMES)
    energy = NORMS[5] ** 2 / (NORMS[5] ** 2).sum()
    assert f"{NAMES[energy.argmax()]} {100 * energy.max():.1f}%" in found["words"]
    assert (found["pillows"], found["seventh"], found["nothing"]) == ("3 of 12", "1 of 12", "0 of 12")
    assert found["rl"] == "3 of 12"


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_at_either_width(probe, tmp_path, width):
    build(probe, tmp_path)
    found = measure(tmp_path / "page.html", width, tmp_path)
    assert (found.width, found.out) == (width, "")


MANY, LAYERS = 5000, 36
MANY_NAMES = [f"layers.{layer}.{name.rpartition('.')[2]}" for layer in range(LAYERS) for name in NAMES[:7]]


@pytest.mark.slow
@needs_browser
def test_five_thousand_trajectories_open_in_two_seconds(tmp_path):
    """Of an 8B model's matrices, with texts of 2 kB that hardly repeat. The best of three counts."""
    random = np.random.default_rng(0)
    words = random.integers(97, 123, size=(MANY, 2000), dtype=np.uint8)
    chats = [
        {
            "id": f"t-{number:04d}",
            "messages": [{"role": "user", "content": "go"}, {"role": "assistant", "content": text}],
        }
        for number, text in enumerate(row.tobytes().decode() for row in words)
    ]
    data = write(tmp_path / "my.jsonl", *chats)
    norms = random.gamma(2.0, size=(MANY, len(MANY_NAMES)))
    probed = [
        ProbedSample(Sample(chat["id"], (Row([1, 2], [0, 1]),)), 1.5, list(row))
        for chat, row in zip(chats, norms, strict=True)
    ]
    facts = dict.fromkeys(("dtype", "model", "model_sha256", "prompt_sha256"), "x")
    facts |= {"data": str(data), "data_sha256": sha256_file(data)}
    facts |= {"shard": "0", "shards": "1", "parameter_counts": str([4] * len(MANY_NAMES))}
    write_norms(tmp_path / "n.parquet", probed, MANY_NAMES, facts)
    build([tmp_path / "n.parquet"], tmp_path)
    opened = [open_page(tmp_path / "page.html", tmp_path).stdout for _ in range(3)]
    # what the page measured itself, from the start of its navigation to the drawn table
    milliseconds = [int(re.search(r'data-ready="(\d+)"', shown)[1]) for shown in opened]
    assert min(milliseconds) < 2000
    # the rows in sight alone are in the document
    assert 20 < opened[0].count("data-place=") < 100
