"""What a benchmark's data are made from, for configs whose benchmarks differ."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from prism.core.results import Results
from prism.data_inputs import DataInputs, only

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from paper_settings import scale_config

R = Path("<results>")


def inputs(scale: str, **webshop) -> DataInputs:
    config = scale_config(scale)
    config["benchmarks"]["webshop"] |= webshop
    return DataInputs(config, Results(R))


def test_generated_games_rest_on_settings_and_a_store_on_its_catalog():
    data = inputs("demo")
    assert data.catalogs() == ["webshop"]
    assert data.catalog("webshop") == [R / "data/webshop/catalog"]
    assert data.catalog("alfworld") == data.fetched("alfworld") == data.fetched("webshop") == []
    assert data.games_recipe("alfworld").startswith("""--recipe '{"seed":0,""")
    assert data.games_files("webshop", R / "data/webshop/catalog") == "--files '<results>/data/webshop/catalog'"


def test_released_games_rest_on_their_download():
    data = inputs("paper", collection="webshop-small", data_dir="a folder")
    assert data.catalogs() == []
    assert data.fetched("webshop") == [R / "fetch/webshop-small.json"]
    assert data.download_folders == {
        "alfworld": "resources/alfworld",
        "webshop-small": "a folder",
        "eto": "resources/eto",
    }
    assert data.games_files("webshop", []) == "--files 'a folder'"
    assert data.games_recipe("webshop").startswith("--recipe ")
    # taken as they are
    assert data.games_files("alfworld", []) == "--files resources/alfworld"
    assert data.games_recipe("alfworld") == ""


@pytest.mark.parametrize(
    ("webshop", "source"),
    [
        ({"trajectories": "expert"}, "expert"),
        ({"trajectories": "eto"}, "eto"),
        ({"trajectories": "eto", "trajectories_file": "mine.jsonl"}, "file"),
    ],
)
def test_a_corpus_has_one_source(webshop, source):
    data = inputs("demo", **webshop)
    assert [name for name in ("expert", "eto", "file") if "webshop" in data.corpora(name)] == [source]


def test_the_training_panel_rests_on_the_corpus():
    data = inputs("demo")
    assert data.panel_corpus("alfworld", "train") == [R / "data/alfworld/trajectories.jsonl"]
    assert data.panel_corpus("alfworld", "seen") == []


def test_a_rule_for_no_benchmark_makes_nothing():
    assert only(["a", "b"]) == "a|b"
    assert not re.search(only([]), "anything")
