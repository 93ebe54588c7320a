"""The audit: every arithmetic finding follows from the published numbers; a consistent paper gets none."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import kurtosis

from prism.core.errors import BadInput
from prism.core.paper_tables import TASK_TYPES
from prism.core.study_tables import STUDY_TABLES
from prism.stages.audit import audit_paper
from prism.stages.audit.grid import infer_sample, successes_of
from prism.stages.audit.paper import read_paper
from prism.stages.audit.significance import compare_rates, detectable_difference

SEEDS = 3
GAMES = {
    "seen": {"pick": 35, "look": 13, "clean": 27, "heat": 16, "cool": 25, "pick2": 24},
    "unseen": {"pick": 24, "look": 18, "clean": 31, "heat": 23, "cool": 21, "pick2": 17},
}
METHODS = {
    "base": ("-", "-", 0.06),
    "sft": ("100", "-", 0.35),
    "grpo": ("100", "100", 0.50),
    "gigpo": ("100", "100", 0.52),
    "random": ("50", "50", 0.58),
    "hpt": ("50", "50", 0.62),
    "sft-then-rl": ("100", "100", 0.66),
    "magnitude-l2": ("50", "50", 0.64),
    "prism-gini": ("50", "50", 0.93),
    "prism-kurtosis": ("50", "50", 0.90),
    "prism-cv": ("50", "50", 0.88),
}


@pytest.fixture(scope="module")
def findings(root, tmp_path_factory):
    """The audit of the published numbers, by finding."""
    folder = tmp_path_factory.mktemp("audit")
    audit_paper(root / "resources/paper/v1", folder / "paper.csv", folder / "paper.md")
    table = pd.read_csv(folder / "paper.csv", comment="#").set_index("id")
    assert table.index.is_unique
    markdown = (folder / "paper.md").read_text()
    assert all(result.replace("|", "\\|") in markdown for result in table["result"])
    return table


def expect(findings, name, verdict, *parts):
    finding = findings.loc[name]
    assert finding["verdict"] == verdict
    for part in parts:
        assert part in finding["result"], (part, finding["result"])


def test_rates_are_of_128_episodes_but_one(findings):
    expect(findings, "grid-rates", "disagrees", "10 of 10 rates are k/128", "19 of 20", "61.74", "79/128 = 61.72")


def test_rates_are_not_means_of_three_runs(findings):
    expect(findings, "grid-seeds", "disagrees", "39 of 40", "2e-19")
    # by hand: 40 draws that hit with probability 1/3
    tail = sum(math.comb(40, hits) * (1 / 3) ** hits * (2 / 3) ** (40 - hits) for hits in (39, 40))
    assert f"{tail:.0e} for at least 39 of 40" in findings.loc["grid-seeds"]["result"]


def test_unseen_rows_share_the_only_panel(findings):
    expect(findings, "panel-unseen", "agrees", "all rows: 20/15/39/24/10/20 (the only fit)")
    expect(findings, "games-unseen", "note", "39 clean tasks, 31 games")


def test_seen_rows_need_five_panels_and_one_row_fits_none(findings):
    expect(
        findings,
        "panel-seen",
        "disagrees",
        "28/14/21/18/26/21",
        "grpo and gigpo: 31/14/29/17/18/19 (the only fit)",
        "random: 27/15/15/13/33/25 (the only fit)",
        "sft-then-rl: 30/11/26/14/25/22 (the only fit)",
        "prism-gini, prism-kurtosis and prism-cv: 41/9/24/10/20/24 (the only fit)",
    )
    assert "at least 5 different panels" in findings.loc["panel-seen"]["meaning"]
    expect(findings, "panel-seen-hpt", "disagrees", "109/128", "106, 107 and 111", "256 episodes allow 144 panels")


def test_twice_128_episodes_give_the_hpt_row(root):
    """By other means: every sum of task counts and successes as a set of pairs, built up type by type."""
    table = pd.read_csv(root / "resources/paper/v1/table1.csv", comment="#").set_index(["split", "method"])
    row, fitting = table.loc["seen", "hpt"], []
    for size in (128, 155, 200, 256):
        sums = {(0, 0)}
        for task in TASK_TYPES:
            options = [
                (count, wins)
                for count in range(1, size + 1)
                for wins in {int(row[task] * count / 100), int(row[task] * count / 100) + 1}
                if wins <= count and f"{100 * wins / count:.2f}" == f"{row[task]:.2f}"
            ]
            sums = {(a + c, b + d) for a, b in sums for c, d in options if a + c <= size}
        if any(count == size and f"{100 * wins / size:.2f}" == "85.16" for count, wins in sums):
            fitting.append(size)
    assert fitting == [155, 256]


def test_the_panel_of_prism_by_plain_arithmetic(root):
    """The panel that the search found, checked with nothing but division."""
    panel = dict(zip(TASK_TYPES, (41, 9, 24, 10, 20, 24), strict=True))
    table = pd.read_csv(root / "resources/paper/v1/table1.csv", comment="#")
    for row in table[(table["split"] == "seen") & table["method"].str.startswith("prism-")].itertuples():
        counts = {task: round(getattr(row, task) * panel[task] / 100) for task in TASK_TYPES}
        assert all(abs(100 * counts[task] / panel[task] - getattr(row, task)) < 0.0051 for task in TASK_TYPES)
        assert abs(100 * sum(counts.values()) / 128 - row.all) < 0.0051


def test_same_mix_of_tasks(findings):
    expect(findings, "mix-seen", "note", "sft-then-rl 89.5", "random 82.5", "grpo 69.4", "gigpo 70.5", "hpt 84.1")
    assert "prism-gini 95.3" in findings.loc["mix-seen"]["result"]


@pytest.mark.parametrize(
    ("name", "verdict", "normal", "exact"),
    [
        ("gain-seen-sft-then-rl-sft-then-rl", "not shown", "p = 0.04", "0.066"),
        ("gain-unseen-sft-then-rl-sft-then-rl", "not shown", "p = 0.062", "0.084"),
        ("gain-webshop-qwen-success-sft-then-rl", "not shown", "p = 0.37", "0.44"),
        ("gain-webshop-llama-success-sft-then-rl", "not shown", "p = 0.15", "0.19"),
        ("gain-unseen-all-baselines-hpt", "not shown", "p = 0.24", "0.3"),
        ("gain-unseen-all-baselines-random", "agrees", "p = 0.001", "0.0016"),
    ],
)
def test_significance_of_gains(findings, name, verdict, normal, exact):
    expect(findings, name, verdict, normal, f"exact p = {exact}")


def test_intervals_of_the_main_rates(findings):
    expect(findings, "gain-seen-sft-then-rl-sft-then-rl", "not shown", "[90.2, 97.8]", "[81.6, 92.8]", "z = 2.05")
    expect(findings, "gain-unseen-sft-then-rl-sft-then-rl", "not shown", "[71.9, 85.7]", "[61.1, 76.8]")


def test_detectable_differences(findings):
    expect(findings, "power", "note", "16.0 points with 128", "9.3 points with 384", "4.7 points with 1500")


def test_detectable_difference_is_detected_at_the_stated_power():
    """By simulation: two groups that differ by it are told apart in about 80% of tables."""
    generator = np.random.default_rng(0)
    difference = detectable_difference(128, 0.5) / 100
    first = generator.binomial(128, 0.5 + difference / 2, 400)
    second = generator.binomial(128, 0.5 - difference / 2, 400)
    found = [compare_rates(int(a), int(b), 128).p_normal < 0.05 for a, b in zip(first, second, strict=True)]
    assert 0.74 < sum(found) / len(found) < 0.86


def test_times(findings):
    expect(findings, "time-totals", "agrees", "10 of 10")
    expect(findings, "probe-share-webshop", "disagrees", "0.90%")
    expect(findings, "probe-share-alfworld", "disagrees", "0.34%")
    expect(findings, "speedup-random-alfworld", "note", "random 3.07x, prism-gini 3.22x")
    expect(findings, "speedup-random-webshop", "note", "random 1.73x, prism-gini 1.76x")
    expect(findings, "time-speedups", "note", "1.767 by the phases", "3.218 by the phases", "3.127 by the totals")


@pytest.mark.parametrize(
    ("benchmark", "seconds", "corpus", "tokens"),
    [("alfworld", 136, 3118, (2048, 1400, 6000)), ("webshop", 108, 1549, (4096, 2500, 7350))],
)
def test_probe_throughput_of_every_layout(findings, benchmark, seconds, corpus, tokens):
    """By hand: 6 FLOP a token for each of 7.6e9 weights, eight GPUs; 40% of 312 TFLOP/s."""
    for count in tokens:
        needed = corpus * count * 6 * 7.6e9 / seconds / 8
        allowed = 0.4 * 312e12 * 8 * seconds / (6 * 7.6e9 * count)
        expect(
            findings,
            f"probe-throughput-{benchmark}",
            "note",
            f"{count} tokens: {needed / 1e12:.0f} TFLOP/s, or {allowed:.0f} trajectories",
        )
    assert "too short for a prompt a step" in findings.loc[f"probe-throughput-{benchmark}"]["meaning"]


def test_theory(findings):
    expect(findings, "consensus-chance", "note", "12.5% of the corpus = 25.0% of a half = 14.3% of their union")
    expect(findings, "scale-invariance", "disagrees", "gini 0.310 to 0.433")


def test_the_published_consensus_is_what_noise_gives(findings):
    """By other means: pandas' ranks, scipy's kurtosis, the Gini coefficient by its definition on pairs of quantiles."""
    norms = np.random.default_rng(11).lognormal(0, 0.6, (800, 252))
    ordered = np.sort(norms, axis=1)
    shares = np.cumsum(ordered, axis=1) / ordered.sum(axis=1, keepdims=True)
    lorenz = 1 - 2 * shares.mean(axis=1)
    scores = pd.DataFrame({"gini": lorenz, "kurtosis": kurtosis(norms, axis=1), "cv": norms.std(1) / norms.mean(1)})
    upper = scores.rank(pct=True) > 0.5
    assert 100 * upper.all(axis=1).sum() / upper["gini"].sum() == pytest.approx(60, abs=4)
    expect(findings, "consensus-noise", "not shown", "56% of a half", "stated: 60%")


def test_significantly_above_random_holds_for_one_of_six(findings):
    """Fisher's exact test as a hypergeometric sum, from the printed rates."""
    counts = {"prism-gini": (83, 88), "prism-kurtosis": (81, 82), "prism-cv": (79, 79)}
    for position, random in ((0, 71), (1, 70)):
        for ours in (pair[position] for pair in counts.values()):
            assert f"p = {fisher(ours, random, 128):.3f}" in findings.loc["significantly-random"]["result"]
    expect(findings, "significantly-random", "not shown", "1 of 6 below 0.05")


@pytest.mark.parametrize(
    ("name", "ours", "theirs"), [("seen-kurtosis", 117, 113), ("seen-cv", 115, 113), ("unseen-kurtosis", 94, 89),
                                 ("unseen-cv", 92, 89)],
)  # fmt: skip
def test_the_other_metrics_against_sft_then_rl(findings, name, ours, theirs):
    expect(findings, f"gain-{name}-sft-then-rl", "not shown", f"exact p = {fisher(ours, theirs, 128):.2g}")


def fisher(first, second, episodes):
    """Two-sided: all tables with these margins that are no likelier than the observed one."""
    total = first + second
    ways = {
        k: math.comb(episodes, k) * math.comb(episodes, total - k)
        for k in range(max(0, total - episodes), min(episodes, total) + 1)
    }
    return sum(way for way in ways.values() if way <= ways[first]) / sum(ways.values())


def test_other_works_and_other_places(root, findings):
    expect(findings, "sota-webshop", "disagrees", "stated 64.84, published elsewhere 75.2")
    expect(findings, "sota-alfworld", "agrees", "stated 95.31, published elsewhere 90.8")
    # 89 and 59 of 128 with the published rates: exact binomial tails
    for name, wins, rate in (("alfworld", 89, 0.908), ("webshop", 59, 0.752)):
        tail = sum(math.comb(128, k) * rate**k * (1 - rate) ** (128 - k) for k in range(wins + 1))
        assert tail < 1e-6
        expect(findings, f"baseline-gigpo-{name}", "note", f"{100 * wins / 128:.2f}")
    expect(findings, "iso-compute", "note", "24944 episodes = 195 RL steps", "12392 episodes = 97 RL")
    expect(findings, "proxy-difficulty", "note", "none; table 4 compares magnitude-l2 and prism-gini")
    expect(findings, "probe-memory", "note", f"weights {2 * 8.19e9 / 1024**3:.1f} GiB", "no number")
    expect(findings, "loss-tokens", "disagrees", "equation 1: response tokens; appendix A: all tokens")
    expect(findings, "speedup-hybrids", "note", "timed: random", "without a time: hpt and sft-then-rl")
    table = pd.read_csv(root / "resources/paper/v1/table2.csv", comment="#", dtype=str).set_index(
        ["backbone", "method"]
    )
    row = table.loc["Qwen3-8B", "prism-cv"]
    expect(findings, "figure-4", "note", f"score {row['score']}, success {row['sr']}", "no printed number")


def test_every_failed_episode_of_one_row_scored_nothing(root, findings):
    table = pd.read_csv(root / "resources/paper/v1/table2.csv", comment="#")
    failed = 100 * (table["score"] - table["sr"]) / (100 - table["sr"])
    assert list(table["backbone"][failed < 0.01]) == ["Llama-3.1-8B-Instruct"]
    base = failed[(table["backbone"] == "Qwen3-8B") & (table["method"] == "base")].iloc[0]
    expect(findings, "score-failures", "note", "0 for Llama-3.1-8B-Instruct base", f"Qwen3-8B base: {base:.1f}")


def test_every_finding_names_the_version(findings):
    assert set(findings["version"]) == {"arXiv 2601.07224v1"}


def test_orders(findings):
    expect(findings, "order-alfworld", "disagrees", "16 of 18", "prism-cv 71.88, hpt 73.44")
    expect(findings, "order-webshop", "disagrees", "11 of 12", "prism-cv 81.55, sft-then-rl 81.65")
    for name in ("gain-unseen-sft-then-rl", "gain-llama-sft-then-rl", "gain-webshop-magnitude", "table-4"):
        expect(findings, name, "agrees")


def printed(successes, episodes):
    return f"{100 * successes / episodes:.2f}"


def write(path, head, rows):
    lines = ["# synthetic", ",".join(head), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def consistent(root, tmp_path):
    """A paper whose numbers hang together: three seeds on whole panels, wide gaps, honest times and statements."""
    folder = tmp_path / "paper"
    folder.mkdir()
    overall = write_table1(folder)
    webshop = write_table2(folder)
    write(
        folder / "table4.csv",
        ["method", "webshop_score", "alfworld_sr"],
        [[name, webshop["Qwen3-8B", name][1], overall["seen", name]] for name in ("magnitude-l2", "prism-gini")],
    )
    write_table3(folder)
    write_statements(root, folder, overall, webshop)
    write(
        folder / "alfworld_tasks.csv",
        ["split", *TASK_TYPES],
        [[split, *games.values()] for split, games in GAMES.items()],
    )
    for name in ("claims.yaml", "version.yaml"):
        shutil.copy(root / "resources/paper/v1" / name, folder)
    write_outside(root, folder, overall, webshop)
    return folder


def write_table1(folder):
    rows, overall = [], {}
    for split, games in GAMES.items():
        for index, (name, (sft, rl, rate)) in enumerate(METHODS.items()):
            wins = {
                task: min(SEEDS * count, round(SEEDS * count * rate) + (index + position) % 3)
                for position, (task, count) in enumerate(games.items())
            }
            overall[split, name] = printed(sum(wins.values()), SEEDS * sum(games.values()))
            cells = [printed(wins[task], SEEDS * games[task]) for task in TASK_TYPES]
            rows.append([split, name, sft, rl, *cells, overall[split, name]])
    write(folder / "table1.csv", ["split", "method", "sft", "rl", *TASK_TYPES, "all"], rows)
    return overall


def write_table2(folder):
    rows, values = [], {}
    for position, backbone in enumerate(("Qwen3-8B", "Llama-3.1-8B-Instruct")):
        for index, (name, (sft, rl, rate)) in enumerate(METHODS.items()):
            wins = round(SEEDS * 500 * rate) - 7 * position + index
            score = f"{min(99.99, 100 * rate + 5 + index / 100):.2f}"
            values[backbone, name] = printed(wins, SEEDS * 500), score
            rows.append([backbone, name, sft, rl, *values[backbone, name]])
    write(folder / "table2.csv", ["backbone", "method", "sft", "rl", "sr", "score"], rows)
    return values


def write_table3(folder):
    rows = []
    for benchmark, hours in (("webshop", 20), ("alfworld", 30)):
        full = hours * 3600
        for name, probe, rl in (
            ("grpo", 0, full),
            ("random", 0, int(0.7 * full)),
            ("hpt", 0, int(0.7 * full)),
            ("sft-then-rl", 0, full),
            ("prism-cv", 1080, full // 2 - 1200),
            ("prism-gini", 1080, full // 2 - 1200),
            ("prism-kurtosis", 1080, full // 2 - 1200),
        ):
            sft = 0 if name == "grpo" else 600
            total = probe + sft + rl
            rows.append([benchmark, name, "-", 50, probe or "-", sft or "-", rl, total, f"{full / total:.2f}"])
    columns = "benchmark,method,sft,rl,probe_seconds,sft_seconds,rl_seconds,total_seconds,speedup"
    write(folder / "table3.csv", columns.split(","), rows)


def write_outside(root, folder, overall, webshop):
    table = pd.read_csv(root / "resources/paper/v1/outside.csv", comment="#", dtype=str).set_index("id")
    table.loc["baseline-alfworld", "value"] = overall["seen", "gigpo"]
    table.loc["baseline-webshop", "value"] = webshop["Qwen3-8B", "gigpo"][0]
    table.loc["hpt-rollouts", "value"] = "0"
    table.reset_index().to_csv(folder / "outside.csv", index=False)


def write_statements(root, folder, overall, webshop):
    table = pd.read_csv(root / "resources/paper/v1/statements.csv", comment="#", dtype=str).set_index("id")
    second = "Llama-3.1-8B-Instruct"

    def gain(split):
        return f"{float(overall[split, 'prism-gini']) - float(overall[split, 'sft-then-rl']):.2f}"

    llama = float(webshop[second, "prism-gini"][0]) - float(webshop[second, "sft-then-rl"][0])
    score = float(webshop["Qwen3-8B", "prism-gini"][1]) - float(webshop["Qwen3-8B", "magnitude-l2"][1])
    table["value"] = table["value"].where(
        ~table.index.isin(
            changes := {
                "gain-seen-sft-then-rl": gain("seen"),
                "gain-unseen-sft-then-rl": gain("unseen"),
                "gain-llama-sft-then-rl": f"{llama:.2f}",
                "gain-webshop-magnitude": f"{score:.2f}",
                "probe-share-low": "2",
                "probe-share-high": "4",
                "consensus": "90",
                "consensus-chance-low": "25",
                "loss-tokens-appendix": "response",
                "score-spread": "published",
                "scale-invariance": "all",
            }
        ),
        table.index.map(changes),
    )
    table.loc["score-spread"] = ["published", "", "appendix"]
    table.loc["probe-memory"] = ["published", "", "appendix"]
    table.loc["score-correlations"] = ["published", "", "appendix"]
    table.loc["figure4-50-score"] = [webshop["Qwen3-8B", "prism-cv"][1], "percent", "appendix"]
    write(folder / "statements.csv", ["id", *table.columns], table.reset_index().to_numpy().tolist())


def test_a_consistent_paper_is_not_flagged(consistent, tmp_path):
    findings = audit_paper(consistent, tmp_path / "a.csv", tmp_path / "a.md")
    flagged = [(finding.id, finding.result) for finding in findings if finding.verdict != "agrees"]
    assert len(findings) > 30
    assert flagged == []


@pytest.mark.parametrize(
    ("file", "old", "new", "finding"),
    [
        ("table1.csv", "overall", None, "panel-seen-random"),
        ("statements.csv", "probe-share-high,4", "probe-share-high,2", "probe-share-webshop"),
        ("statements.csv", "scale-invariance,all", "scale-invariance,subset", "scale-invariance"),
        ("statements.csv", "loss-tokens-appendix,response", "loss-tokens-appendix,all", "loss-tokens"),
        ("outside.csv", "baseline-webshop,", "baseline-webshop,9", "sota-webshop"),
    ],
)
def test_one_slip_in_a_consistent_paper_is_found_alone(consistent, tmp_path, file, old, new, finding):
    text = (consistent / file).read_text()
    if new is None:
        line = next(line for line in text.splitlines() if line.startswith("seen,random"))
        head, _, value = line.rpartition(",")
        old, new = line, f"{head},{float(value) - 100 / 420:.2f}"
    assert old in text
    (consistent / file).write_text(text.replace(old, new))
    findings = audit_paper(consistent, tmp_path / "a.csv", tmp_path / "a.md")
    assert {item.id for item in findings if item.verdict == "disagrees"} == {finding}


def test_grid_by_brute_force():
    for episodes in (7, 128, 384):
        rates = {round(10000 * k / episodes) for k in range(episodes + 1)}
        for rate in range(0, 10001, 7):
            fits = any(abs(10000 * k / episodes - rate) <= 0.5 for k in range(episodes + 1))
            assert (successes_of(rate, episodes) is not None) == fits, (rate, episodes)
        assert all(successes_of(rate, episodes) is not None for rate in rates)


def test_the_sample_size_is_found_again():
    rates = {str(k): round(10000 * k / 134) for k in (3, 17, 40, 66, 90, 101, 131)}
    sample = infer_sample("g", rates, 3)
    assert (sample.episodes, sample.runs) == (134, 1)


def test_a_second_version_is_held_against_the_first(root, tmp_path, findings):
    """A made-up version: the rate off the grid and the chance level are mended, one gain is smaller."""
    folder = shutil.copytree(root / "resources/paper/v1", tmp_path / "v2")
    edits = {
        "version.yaml": ("arXiv 2601.07224v1", "a made-up version"),
        "table2.csv": ("61.74,84.33", "61.72,84.33"),
        "statements.csv": ("consensus-chance-low,12.5", "consensus-chance-low,25"),
        "table1.csv": ("85.00,79.69", "85.00,78.91"),
    }
    for name, (old, new) in edits.items():
        text = (folder / name).read_text()
        assert text.count(old) >= 1, name
        (folder / name).write_text(text.replace(old, new, 1))
    audit_paper(folder, tmp_path / "a.csv", tmp_path / "a.md", root / "resources/paper/v1")
    table = pd.read_csv(tmp_path / "a.csv", comment="#").set_index("id")
    assert set(table["version"]) == {"a made-up version"}
    assert table.loc["grid-rates", "change"] == "was: disagrees"
    assert table.loc["consensus-chance", "change"] == "was: note"
    assert table.loc["gain-unseen-sft-then-rl-sft-then-rl", "change"] == "stands, with other numbers"
    assert table.loc["panel-seen", "change"] == "stands"
    markdown = (tmp_path / "a.md").read_text()
    assert "3 published values differ" in markdown
    assert "| table2.csv: Qwen3-8B, prism-cv, sr | 61.74 | 61.72 |" in markdown
    assert "| table1.csv: unseen, prism-gini, all | 79.69 | 78.91 |" in markdown
    assert "findings stand unchanged" in markdown


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("table1.csv", "95.31", "95.3", "two decimals"),
        ("table1.csv", "95.31", "195.31", "two decimals"),
        ("table1.csv", "seen,hpt", "sene,hpt", "unknown split 'sene'"),
        ("table2.csv", "sr,score", "sr,scor", "did you mean 'scor'"),
        ("table3.csv", "21180,21180", "21180,353m", "not a whole number"),
        ("statements.csv", "probe-gpus", "probe-gpu", "did you mean 'probe-gpu'"),
        ("statements.csv", "consensus,60", "consensus,many", "not a number"),
        ("statements.csv", "tokens-appendix,all", "tokens-appendix,some", "use response or all"),
        ("outside.csv", "hpt-rollouts", "htp-rollouts", "did you mean 'htp-rollouts'"),
        ("version.yaml", "name:", "nam:", "has no name, date and url"),
        ("claims.yaml", "threshold: 2.5", "thresold: 2.5", "unknown key 'thresold'"),
        ("claims.yaml", "kind: spearman", "kind: spear", "'quantity' needs"),
        ("claims.yaml", "id: probe-share", "id: consensus", "repeats claim 'consensus'"),
        ("claims.yaml", "claims:", "claims: [", "not a YAML file"),
    ],
)
def test_a_broken_file_of_the_paper_is_refused(root, tmp_path, file, old, new, message):
    folder = shutil.copytree(root / "resources/paper/v1", tmp_path / "paper")
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(BadInput, match=message) as error:
        read_paper(folder)
    assert file in str(error.value)


def test_claims_name_what_the_config_knows(root):
    """A claim about a method or table that no config has could never be compared."""
    config = yaml.safe_load((root / "config/config.yaml").read_text())
    for claim in read_paper(root / "resources/paper/v1").claims:
        quantity = claim.quantity
        assert quantity["table"] in {*config["tables"], *config["figures"], *STUDY_TABLES}
        assert {quantity.get("method", "base"), *quantity.get("against", [])} <= set(config["methods"])
