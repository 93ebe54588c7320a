"""The verdicts of the shipped claims on simulated runs: without any effect, and with the published ones."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from norm_files import NAMES, fake_norms
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import sem, spearmanr, t
from study_run import write_consensus

from prism.core.csv_files import write_table
from prism.stages.audit.paper import read_claims
from prism.stages.comparison.estimators import ComparisonRecipe, Run, Values, assess
from prism.stages.comparison.outcomes import SUPPORTED

pytestmark = pytest.mark.slow

PANELS = {"seen": 140, "unseen": 134, "test": 500}
# standard deviations: of a method's rate between trainings, and of the tasks' difficulty in log-odds
SCATTER, DIFFICULTY = 0.025, 1.5
TARGETS = ("table1", "table2", "table3", "table4", "figure3", "figure4", "figure5", "appendix_g")
TIMED = ("grpo", "random", "prism-gini")


@dataclass(frozen=True)
class SimulatedRun(Run):
    """A run whose episodes are drawn; all that reads and judges them is the real thing.

    Attributes:
        rates: success rate and mean score of failures by (backbone or panel, method); equal for all where absent.
    """

    seeds: int = 3
    rates: dict = field(default_factory=dict)
    generator: np.random.Generator = None
    drawn: dict = field(default_factory=dict)

    def values(self, claim, method):
        backbone, panel = claim.quantity.get("backbone", "first"), claim.quantity["panel"]
        key = backbone, panel, method
        if key not in self.drawn:
            self.drawn[key] = self.play(backbone, panel, self.rates.get(key, (0.7, 0.5)))
        success, score = self.drawn[key]
        matrix = success if claim.quantity["metric"] == "success" else np.maximum(success, score)
        return Values(matrix, panel, (None,))

    def play(self, backbone, panel, rate_and_partial):
        """Successes of every seed on the panel's tasks, and what failures score."""
        rate, partial = rate_and_partial
        tasks = self.drawn.setdefault((backbone, panel), DIFFICULTY * self.generator.normal(size=PANELS[panel]))
        level = brentq(lambda value: expit(value + tasks).mean() - rate, -8, 8)
        solved = expit(level + tasks)
        slope = (solved * (1 - solved)).mean()
        shift = SCATTER / slope * self.generator.normal(size=(self.seeds, 1))
        success = (self.generator.random((self.seeds, len(tasks))) < expit(level + tasks + shift)).astype(float)
        strength = 4.0
        score = self.generator.beta(strength * partial, strength * (1 - partial), success.shape)
        return success, score


def simulate(folder, generator, seeds, rates, seconds, rho, trajectories):
    """A run at the paper's scale: drawn episodes, and files of times, norms and correlations."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for (benchmark, method), (probe, total) in seconds.items():
        times = total * (1 + 0.01 * generator.normal(size=seeds))
        half = t.ppf(0.975, seeds - 1) * sem(times)
        rows.append([benchmark, method, probe or "-", times.mean(), times.mean() + half])
    columns = ("benchmark", "method", "probe_seconds", "total_seconds", "total_high")
    write_table(folder / "table3.csv", [], columns, rows)
    pearson = 2 * np.sin(np.pi * rho / 6)
    found = []
    for benchmark in ("alfworld", "webshop"):
        pairs = generator.multivariate_normal([0, 0], [[1, pearson], [pearson, 1]], size=trajectories)
        found.append([benchmark, "b", "gini", float(spearmanr(*pairs.T).statistic), trajectories])
    names = ("benchmark", "backbone", "metric", "spearman", "trajectories")
    write_table(folder / "appendix_g.csv", [], names, found)
    noise = generator.lognormal(0, 0.6, (60, len(NAMES)))
    place, shards = ("alfworld", "first"), [fake_norms(folder / "norms.parquet", range(60), values=noise)]
    consensus = {place: [write_consensus(folder, shards, "/".join(place))]}
    recipe = ComparisonRecipe("paper", TARGETS, {name: ("first", "second") for name in TARGETS})
    files = {name: folder / f"{name}.csv" for name in ("table3", "appendix_g")}, {place: shards}, consensus
    return SimulatedRun(recipe, {}, *files, seeds=seeds, rates=rates, generator=generator)


def supported(root, folder, runs, **run):
    """Share of simulated runs in which each claim is supported."""
    generator, counts = np.random.default_rng(5), Counter()
    claims = read_claims(root / "resources/paper/v1/claims.yaml")
    for _ in range(runs):
        made = simulate(folder, generator, **run)
        counts.update(claim.id for claim in claims if assess(claim, made).verdict("paper") == SUPPORTED)
    return {claim.id: counts[claim.id] / runs for claim in claims}, claims


def test_a_run_without_any_effect_supports_no_claim_more_often_than_it_may(root, tmp_path):
    """Methods of equal quality; times, correlation and share on their thresholds; norms that are noise."""
    seconds = {
        ("alfworld", "grpo"): (0, 2500),
        ("alfworld", "random"): (0, 1000),
        ("alfworld", "prism-gini"): (20, 1000),
    }
    seconds |= {("webshop", "grpo"): (0, 1500), ("webshop", "prism-gini"): (20, 1000)}
    shares, claims = supported(root, tmp_path, 400, seeds=3, rates={}, seconds=seconds, rho=0.99, trajectories=400)
    assert {claim.quantity["kind"] for claim in claims} == {
        "gain",
        "speedup",
        "share",
        "consensus",
        "spearman",
        "study",
    }
    assert max(shares.values()) <= 0.05, shares


def test_a_run_with_the_published_effects_and_enough_seeds_supports_the_claims(root, tmp_path):
    paper = root / "resources/paper/v1"
    rates = {}
    table = pd.read_csv(paper / "table1.csv", comment="#")
    for row in table.itertuples():
        rates["first", row.split, row.method] = row.all / 100, 0.5
    for row in pd.read_csv(paper / "table2.csv", comment="#").itertuples():
        backbone = "first" if row.backbone.startswith("Qwen") else "second"
        rates[backbone, "test", row.method] = row.sr / 100, min(max((row.score - row.sr) / (100 - row.sr), 0.01), 0.99)
    magnitude = pd.read_csv(paper / "table4.csv", comment="#").set_index("method").loc["magnitude-l2"]
    rates["first", "seen", "magnitude-l2"] = magnitude["alfworld_sr"] / 100, 0.5
    # no success rate is published: as SFT-then-RL's, so that the score is the published one
    rate = rates["first", "test", "sft-then-rl"][0]
    rates["first", "test", "magnitude-l2"] = rate, (magnitude["webshop_score"] / 100 - rate) / (1 - rate)
    times = pd.read_csv(paper / "table3.csv", comment="#", na_values="-").fillna(0)
    seconds = {
        (row.benchmark, row.method): (row.probe_seconds, row.total_seconds)
        for row in times.itertuples()
        if row.method in TIMED
    }
    shares, claims = supported(root, tmp_path, 60, seeds=12, rates=rates, seconds=seconds, rho=0.995, trajectories=1800)
    published = [claim.id for claim in claims if claim.published]
    assert len(published) > 10
    assert {name: shares[name] for name in published if shares[name] < 0.8} == {}
