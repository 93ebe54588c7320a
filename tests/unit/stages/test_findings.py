"""The page of findings: its words follow from the numbers of the tables, and the shipped page from the records."""

import gzip
import itertools
import shutil
from importlib import import_module

import pytest
import yaml
from evaluations import write_evaluation
from statsmodels.stats.proportion import proportion_confint
from study_run import build_run

from prism.core.csv_files import write_table
from prism.core.decisions import Check, DecisionRecipe, Question
from prism.core.errors import BadInput
from prism.core.results import Results
from prism.core.study_tables import STUDY_TABLES
from prism.stages.consensus import compute_consensus
from prism.stages.decision import write_decision
from prism.stages.findings import FindingsRecipe, write_findings
from prism.stages.score_study.correlates import COLUMNS as CORRELATES_COLUMNS
from prism.stages.score_study.detection import COLUMNS as DETECTION_COLUMNS
from prism.stages.score_study.frames import write_study
from prism.stages.score_words import relation
from prism.stages.scores import ScoresRecipe
from prism.stages.sensitivity import compute_sensitivity
from prism.stages.world_findings import World

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


def test_the_second_half_says_what_the_worlds_tables_say(root, finished, world, tmp_path):
    """prism-gini solves all, random half, and the other three rows nothing; Gini finds the detours, CV does not."""
    write_findings(finished.root, root / PAPER, FindingsRecipe("demo", "tiny"), tmp_path / "page.md", world)
    page = (tmp_path / "page.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith("| prism-gini"))
    assert row.count("100.0 [83.9, 100.0]") == 2
    assert "INTERIM: 1 of five seeds" in page
    assert "One training of each method" in page
    assert "world,\n1 training a row)" in page
    assert "- Q1 (`prism-gini` and `random`): +50.0 [" in page
    assert "points so far, more than none." in page
    assert "- control (`oracle` and `random`): +0.0 [" in page
    assert "which cannot be told from none." in page
    assert "| pick        | 80 [70, 90] | 80 [70, 90] |" in page
    assert "- Gini ranks them high (0.90 [0.80, 0.95]); at equal length it does not find the detours (0.55" in page
    assert "- CV ranks them low (0.30 [0.20, 0.40])" in page
    claims = [line for line in page.splitlines() if "routing by Gini succeeds more often than SFT-then-RL" in line]
    assert [line.rstrip(" |").rsplit("|", 1)[1].strip() for line in claims] == ["holds", "holds"]
    others = next(line for line in page.splitlines() if "every other hybrid" in line)
    assert "gigpo: not run" in others


def test_without_the_world_the_page_has_its_first_half(root, finished, tmp_path):
    write_findings(finished.root, root / PAPER, FindingsRecipe("demo", "tiny"), tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "## What routing does" not in page
    assert "world of tiny backbones" not in page


@pytest.fixture
def world(tmp_path):
    """A run of the scale that decides, and its control: twenty games a panel, one seed."""
    solved = {"prism-gini": 1.0, "random": 0.5, "sft-then-rl": 0.0, "base": 0.0, "oracle": 0.5}
    main, control = tmp_path / "laptop", tmp_path / "control"
    for folder, methods in (
        (main, ("base", "random", "sft-then-rl", "prism-gini")),
        (control, ("random", "oracle")),
    ):
        for method, panel in itertools.product(methods, ("seen", "unseen")):
            write_evaluation(folder, method, panel, [index < 20 * solved[method] for index in range(20)])
        rows = [
            [panel, method, "50", "50", *(100 * number for number in (solved[method], *wilson(solved[method], 20))), 1]
            for panel, method in itertools.product(("seen", "unseen"), methods)
        ]
        columns = ("split", "method", "sft", "rl", "all", "all_low", "all_high", "seeds")
        write_table(Results(folder).table("table1"), [], columns, rows)
    questions = (Question("Q1", "prism-gini", ("random",)), Question("Q2", "prism-gini", ("sft-then-rl",)))
    decide(main, DecisionRecipe(5, 3.0, questions, (Check("learns", "random", "base", 15.0, 0.01),)))
    decide(control, DecisionRecipe(5, 3.0, (), (Check("control", "oracle", "random", 0.0, 0.05),)))
    areas = {
        ("gini", "auc"): (0.9, 0.8, 0.95),
        ("gini", "auc_in_length"): (0.55, 0.45, 0.65),
        ("cv", "auc"): (0.3, 0.2, 0.4),
        ("cv", "auc_in_length"): (0.3, 0.2, 0.4),
    }
    shares = [
        ["alfworld", "tiny", score, f"task type {name}", "rl_share", *numbers, 40]
        for score in ("gini", "kurtosis")
        for name, numbers in {"pick": (80, 70, 90), "look": (20, 10, 30)}.items()
    ]
    write_table(Results(main).table("score_correlates"), [], CORRELATES_COLUMNS, shares)
    rows = [["alfworld", "tiny", *key, *numbers, 10, 20] for key, numbers in areas.items()]
    write_table(Results(control).table("detection"), [], DETECTION_COLUMNS, rows)
    return World(main, control, "laptop")


def wilson(rate, count):
    return proportion_confint(rate * count, count, method="wilson")


def decide(folder, recipe):
    run = Results(folder)
    write_decision(recipe, run.find("evaluations"), "laptop", run.table("decision"), run.table("decision", "md"))


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
    world = World(*(unpacked(root, name, tmp_path / name) for name in ("laptop", "control")), "laptop")
    write_findings(run.root, root / PAPER, FindingsRecipe("pretrained", MODEL), tmp_path / "page.md", world)
    assert (tmp_path / "page.md").read_text() == (root / "docs/findings.md").read_text()


def test_the_readme_shows_the_pages_table(root):
    """What routing does in the small world, row by row."""

    def rows(text, start):
        lines = text[text.index(start) :].splitlines()
        first = next(number for number, line in enumerate(lines) if line.startswith("| method"))
        table = itertools.takewhile(lambda line: line.startswith("|"), lines[first + 2 :])
        return {tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table}

    shown = rows((root / "README.md").read_text(), "## Which routing trains better agents")
    assert shown == rows((root / "docs/findings.md").read_text(), "## What routing does in a small world")
    assert len(shown) > 5


def unpacked(root, name, folder):
    """A run's shipped tables and the evaluations they are of; records also hold seeds that are not finished."""
    records = root / "resources/records" / name
    shutil.copytree(records / "expected/tables", folder / "tables")
    seeds = yaml.safe_load((records / "config.yaml").read_text())["seeds"]
    for path in itertools.chain(*((records / "records/eval").rglob(f"seed{seed}/*.json.gz") for seed in seeds)):
        target = folder / path.relative_to(records / "records").with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.decompress(path.read_bytes()))
    return folder
