"""Every setting of the paper beside ours: the table of docs/fidelity.md, and the values of a run at paper scale."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))
import paper_settings

STATED = paper_settings.paper_settings()
WITH_VALUE = [row for row in STATED if "value" in row]


@pytest.fixture(scope="module")
def config() -> dict:
    return paper_settings.scale_config("paper")


def test_the_page_holds_the_table_byte_by_byte():
    """Made anew with `python scripts/paper_settings.py`."""
    page = paper_settings.PAGE.read_text(encoding="utf-8")
    assert page == paper_settings.page_with(paper_settings.table())


@pytest.mark.parametrize("row", WITH_VALUE, ids=lambda row: f"{row['place']}: {row['setting']}")
def test_a_run_at_paper_scale_has_the_papers_value(row, config):
    assert paper_settings.value_of(row["key"], config) == row["value"]


def test_every_key_exists_and_what_differs_is_explained(config):
    for row in STATED:
        assert {"place", "setting", "paper"} <= set(row)
        assert "value" in row or row.get("here"), row
        if "key" in row:
            paper_settings.value_of(row["key"], config)


def test_a_value_that_moves_away_from_the_papers_is_seen(config):
    config["rl"] = {**config["rl"], "kl_coefficient": 0.01}
    assert paper_settings.value_of("rl.kl_coefficient", config) == 0.01
    config["benchmarks"] = {**config["benchmarks"]}
    config["benchmarks"]["webshop"] = {**config["benchmarks"]["webshop"], "sft": {"num_train_epochs": 1}}
    assert paper_settings.value_of("sft.num_train_epochs", config) == [3, 1]
