"""The learning experiment's table and figure, from hand-made evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from scipy.stats import binom

from prism.core.errors import BadInput
from prism.core.recipes import build_recipe
from prism.rl.command import RunPaths, verl_overrides
from prism.rl.recipe import RlRecipe
from prism.stages.learning import evaluate_checkpoints, mcnemar_exact, write_learning_table
from prism.stages.learning_figure import draw_learning

ROOT = Path(__file__).parents[3]

SOLVED = {"base": [0, 0, 0, 0, 0, 0], "sft": [1, 0, 0, 0, 0, 1], "sft-then-rl": [1, 1, 1, 1, 1, 0]}


def write_evaluation(path: Path, panel: str, solved: list[int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    episodes = [{"task_id": f"game-{index}", "success": bool(value)} for index, value in enumerate(solved)]
    path.write_text(json.dumps({"panel": panel, "episodes": episodes}))
    return path


@pytest.fixture
def evaluations(tmp_path: Path) -> list[Path]:
    return [
        write_evaluation(tmp_path / phase / "seed0" / f"{panel}.json", panel, solved)
        for phase, solved in SOLVED.items()
        for panel in ("seen", "unseen")
    ]


def test_mcnemar_is_the_sign_test_on_discordant_pairs():
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(4, 1) == pytest.approx(2 * binom.cdf(1, 5, 0.5))
    assert mcnemar_exact(1, 4) == pytest.approx(mcnemar_exact(4, 1))


def test_table_counts_wins_and_losses_against_the_phase_before(tmp_path: Path, evaluations: list[Path]):
    out = tmp_path / "learning.csv"
    write_learning_table(evaluations, "laptop", out)
    table = pd.read_csv(out, comment="#").set_index(["panel", "phase"])
    rl = table.loc[("seen", "sft-then-rl")]
    assert (rl["solved"], rl["episodes"], rl["won"], rl["lost"]) == (5, 6, 4, 1)
    assert rl["p_value"] == pytest.approx(mcnemar_exact(4, 1), rel=1e-3)
    assert rl["low"] < rl["rate"] < rl["high"]
    # the panels' tasks have the same names here and must not be taken for one another
    assert table.loc[("all", "sft-then-rl"), "episodes"] == 12
    assert table.loc[("all", "sft-then-rl"), "won"] == 8
    assert pd.isna(table.loc[("seen", "base"), "p_value"])


def test_phases_on_other_tasks_are_refused(tmp_path: Path, evaluations: list[Path]):
    write_evaluation(evaluations[0], "seen", [0, 0, 0])
    with pytest.raises(BadInput, match="different tasks"):
        write_learning_table(evaluations, "laptop", tmp_path / "learning.csv")


def test_a_work_folder_without_checkpoints_is_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="no checkpoint"):
        evaluate_checkpoints(tmp_path, tmp_path, tmp_path, tmp_path / "panel.json", tmp_path / "out", None, 0)


def test_checkpoints_are_played_with_the_runs_own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """verl's export says bfloat16 over float32 weights: its config must not be used."""
    run, work = tmp_path / "run", tmp_path / "work"
    run.mkdir()
    (run / "config.json").write_text("the run's")
    for step in (10, 5):
        exported = work / f"checkpoints/global_step_{step}/actor/huggingface"
        exported.mkdir(parents=True)
        (exported / "config.json").write_text("verl's")
        (exported / "model.safetensors").write_text(f"weights {step}")
    played = []

    def evaluate(model: str, games: Path, panel: Path, out: Path, recipe: None, seed: int) -> None:
        played.append([(Path(model) / name).read_text() for name in ("config.json", "model.safetensors")])
        out.write_text("{}")

    monkeypatch.setattr("prism.stages.learning.evaluate", evaluate)
    evaluate_checkpoints(run, work, tmp_path, tmp_path / "panel.json", tmp_path / "curve", None, 0)
    assert played == [["the run's", "weights 5"], ["the run's", "weights 10"]]
    names = sorted(path.name for path in (tmp_path / "curve").glob("[!.]*"))
    assert names == ["step-000005.json", "step-000010.json"]


def test_figure_starts_at_the_sft_checkpoint(tmp_path: Path, evaluations: list[Path]):
    run = tmp_path / "run"
    run.mkdir()
    pd.DataFrame({"step": [1, 2], "success_rate": [0.25, 0.5]}).to_csv(run / "metrics.csv", index=False)
    curve = tmp_path / "curve" / "seen"
    write_evaluation(curve / "step-000002.json", "seen", SOLVED["sft-then-rl"])
    svg, png = tmp_path / "learning.svg", tmp_path / "learning.png"
    draw_learning(run, [curve], evaluations[:4], "$x_{$", "laptop", svg, png)
    assert png.stat().st_size > 5000
    text = svg.read_text()
    assert "$x_{$" in text
    assert "seen, n = 6" in text
    assert "base, seen: 0%" in text
    write_evaluation(curve / "step-000002.json", "seen", [1, 1])
    with pytest.raises(BadInput, match="another panel"):
        draw_learning(run, [curve], evaluations[:4], "title", "laptop", svg, png)


def test_the_committed_experiment_is_a_legal_recipe_and_keeps_its_checkpoints():
    overlay = yaml.safe_load((ROOT / "config/learning.yaml").read_text())
    base = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    settings = {**base["rl"], **overlay["rl"]}
    del settings["algorithms"]
    prompt = base["benchmarks"]["alfworld"]["prompt"]
    max_steps = overlay["benchmarks"]["alfworld"]["max_steps"]
    recipe = build_recipe(RlRecipe, json.dumps({**settings, "prompt": prompt, "max_env_steps": max_steps}), "rl")
    tasks = overlay["benchmarks"]["alfworld"]["games"]["train"]
    steps = recipe.training_steps(tasks, tasks)
    assert steps * recipe.tasks_per_step == tasks
    assert steps / recipe.save_every <= recipe.keep_checkpoints
    paths = RunPaths(Path("/x"), Path("/x"), Path("/x"))
    overrides = verl_overrides(recipe, paths, tasks, steps, seed=0)
    assert f"trainer.max_actor_ckpt_to_keep={recipe.keep_checkpoints}" in overrides
    assert "actor_rollout_ref.actor.ppo_epochs=1" in overrides
