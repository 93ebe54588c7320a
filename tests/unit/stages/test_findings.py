"""The page of findings: its words follow from the numbers of the tables, and the shipped page from the records."""

import shutil
from importlib import import_module

import pytest
from study_run import build_run

from prism.core.errors import BadInput
from prism.core.results import Results
from prism.core.study_tables import STUDY_TABLES
from prism.stages.consensus import compute_consensus
from prism.stages.findings import FindingsRecipe, relation, write_findings
from prism.stages.score_study.frames import write_study
from prism.stages.scores import ScoresRecipe
from prism.stages.sensitivity import compute_sensitivity

MODEL = "SmolLM2-135M-Instruct"
PAPER = "resources/paper/v1"


@pytest.fixture
def finished(tmp_path):
    """A run with the tables that the page is made of."""
    files = build_run(tmp_path) | {"variants": []}
    run = Results(tmp_path)
    run.table("x").parent.mkdir()
    for name in ("score_correlates", "routing_sensitivity", "consensus", "appendix_b", "appendix_f"):
        known = STUDY_TABLES[name]
        more = {"changes": {}} if "variants" in known.inputs else {}
        study = import_module(f"prism.stages.score_study.{known.module}").study(
            **{kind: files[kind] for kind in known.inputs}, **more
        )
        write_study(study, known.title, "demo", run.table(name), run.table(name, "md"))
    compute_sensitivity(files["scores"], "demo", run.table("appendix_g"))
    return run


def test_the_words_follow_from_the_numbers(root, finished, tmp_path):
    """Gini grows with L2; the half that goes to RL has all recoveries, the task type `pick` and all contrast."""
    write_findings(finished.root, root / PAPER, FindingsRecipe("demo", "tiny"), tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "ALFWorld: Gini goes closely with L2 norm (1.00 [" in page
    assert "of 'look', 0% [0, " in page
    assert "| ALFWorld    | error recovery | 0.0 -> 100.0: 100.0 [" in page
    assert "norms or norms / sqrt(parameters)): 0% [0, 0] of 40 trajectories change sides, fewer than by chance" in page
    claims = {line.split("|")[1].split(" ")[1]: line for line in page.splitlines() if line.startswith("| ")}
    assert claims["concentration"].rstrip(" |").endswith("fails")
    assert claims["error"].rstrip(" |").endswith("holds")
    assert claims["rollouts"].rstrip(" |").endswith("holds")
    assert "was not measured" in claims["the"]
    assert "0.000544M weights probed" in page


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0.96, 0.95, 0.97), "goes closely with"),
        ((0.5, 0.1, 0.7), "goes moderately with"),
        ((-0.2, -0.3, -0.1), "goes weakly against"),
        ((0.2, -0.1, 0.5), "shows no relation with"),
    ],
)
def test_a_correlation_in_words(numbers, words):
    assert relation(*numbers) == words


def test_a_model_that_was_not_probed_is_refused(root, finished, tmp_path):
    with pytest.raises(BadInput, match="has no row of 'Qwen3-8B'"):
        write_findings(finished.root, root / PAPER, FindingsRecipe("demo", "Qwen3-8B"), tmp_path / "page.md")


def test_the_shipped_page_is_what_the_shipped_records_say(root, tmp_path):
    """Every number of docs/findings.md comes out of the records."""
    records = root / "resources/records/pretrained"
    if not (records / "expected").is_dir():
        pytest.skip("no records of the real model are shipped yet: `make pretrained pack-pretrained findings`")
    for folder in (records / "expected", records / "records"):
        shutil.copytree(folder, tmp_path / "run", dirs_exist_ok=True)
    run = Results(tmp_path / "run")
    norms = sorted((run.root / "gradnorms/alfworld" / MODEL).glob("*.parquet"))
    # the one thing on the page that is neither in a table nor recorded: `make records` computes it, too
    compute_consensus(norms, ScoresRecipe(), run.consensus("alfworld", MODEL))
    write_findings(run.root, root / PAPER, FindingsRecipe("pretrained", MODEL), tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == (root / "docs/findings.md").read_text()
