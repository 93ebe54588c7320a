"""The RL stage without verl's trainer: recipe, subset, steps, overrides, bookkeeping of outputs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from prism.core.errors import BadInput, NotFinite, PrismError
from prism.core.recipes import build_recipe, result_settings
from prism.environments.base import Panel, Task, write_panel
from prism.rl import command, run_logs, work_folder
from prism.stages import rl
from prism.stages.training import Training

PROMPT = {"style": "compact", "history": "actions:14", "context_length": 512}
VALUES = {
    "prompt": PROMPT,
    "max_steps": 20,
    "learning_rate": 1e-4,
    "tasks_per_step": 4,
    "mini_batch": 256,
    "micro_batch_tokens": 8192,
    "max_response_tokens": 24,
    "steps_rule": "epochs",
    "epochs": 2.0,
}
PATHS = command.RunPaths(Path("/run/model"), Path("/run"), Path("/run/ray"))


def recipe(**changes) -> rl.RlRecipe:
    return build_recipe(rl.RlRecipe, {**VALUES, **changes}, "--recipe")


def panel(count: int = 6) -> Panel:
    return Panel("alfworld", "train", tuple(Task(f"t{i}", "pick", f"train/t{i}/game.tw-pddl") for i in range(count)))


def training(folder: Path) -> Training:
    return Training(Path("m"), folder / "train.json", folder / "o", folder / "w", seed=0)


def write_split(path: Path, rows: list[tuple[str, str]]) -> Path:
    lines = ["# threshold 0.2", "id,score,regime", *(f"{identifier},0.1,{regime}" for identifier, regime in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"algorithm": "ppo2"}, "algorithm"),
        ({"rollout_engine": "vllm"}, "rollout_engine"),
        ({"steps_rule": "constant"}, "steps"),
        ({"steps_rule": "share"}, "steps"),
        ({"learning_rat": 1.0}, "learning_rat"),
        ({"group_size": 0}, "group_size"),
        ({"gigpo_mode": "norm"}, "gigpo_mode"),
        ({"gigpo_gamma": 1.5}, "gigpo_gamma"),
    ],
)
def test_refuses_a_recipe_that_cannot_run(changes, word):
    with pytest.raises(BadInput, match=word):
        recipe(**changes)


@pytest.mark.parametrize(("tasks", "expected"), [(16, 8), (8, 4), (9, 5), (3, 2), (1, 2)])
def test_epochs_rule_halves_the_steps_with_the_subset(tasks, expected):
    assert recipe().training_steps(tasks, 100) == expected


def test_constant_rule_ignores_the_subset():
    constant = recipe(steps_rule="constant", steps=7)
    assert [constant.training_steps(tasks, 100) for tasks in (1, 100)] == [7, 7]


@pytest.mark.parametrize("corpus", [3118, 1823, 1549, 1448])
def test_share_rule_gives_a_subset_its_share_of_the_corpuss_steps(corpus):
    """150 steps on all, 75 on a half, whatever the corpus's size and however a half is rounded; 15 to 135 on tenths."""
    share = recipe(steps_rule="share", steps=150)
    assert share.training_steps(corpus, corpus) == 150
    assert {share.training_steps(half, corpus) for half in (corpus // 2, corpus - corpus // 2)} == {75}
    tenths = [share.training_steps(round(corpus * percent / 100), corpus) for percent in (10, 30, 70, 90)]
    assert tenths == [15, 45, 105, 135]
    assert share.training_steps(1, corpus) == 1


def test_run_json_names_the_tasks_that_no_step_came_to():
    rollouts = [
        {"training_step": step, "task_id": task, "session": session}
        for step, task in ((1, "a"), (1, "b"), (2, "a"))
        for session in range(4)
    ]
    assert rl.coverage(["a", "b", "c", "d"], rollouts) == {"passes": 0.75, "tasks_never_rolled_out": ["c", "d"]}


def test_subset_is_what_the_split_routes_in_panel_order(tmp_path):
    split = write_split(tmp_path / "s.csv", [("t3", "rl"), ("t0", "sft"), ("t1", "rl")])
    assert [task.id for task in rl.subset_tasks(panel(), split)] == ["t1", "t3"]
    assert [task.id for task in rl.subset_tasks(panel(), split, "sft")] == ["t0"]
    assert rl.subset_tasks(panel(), None) == panel().tasks


@pytest.mark.parametrize("task", [Task("t1", "pick", "elsewhere"), Task("other", "pick", "train/t1/game.tw-pddl")])
def test_a_task_that_is_evaluated_on_is_not_trained_on(tmp_path, task):
    write_panel(tmp_path / "seen.json", Panel("alfworld", "seen", (task,)))
    split = write_split(tmp_path / "s.csv", [("t1", "rl"), ("t0", "sft")])
    with pytest.raises(BadInput, match="'t1', which RL is to train on"):
        rl.check_disjoint("alfworld", rl.subset_tasks(panel(), split), tmp_path / "seen.json")
    rl.check_disjoint("alfworld", rl.subset_tasks(panel(), split, "sft"), tmp_path / "seen.json")


def test_an_excluded_panel_of_another_benchmark_is_a_mistake(tmp_path):
    write_panel(tmp_path / "test.json", Panel("webshop", "test", (Task("a", "b", "human/0"),)))
    with pytest.raises(BadInput, match="panel of webshop"):
        rl.check_disjoint("alfworld", panel().tasks, tmp_path / "test.json")


def test_the_stage_checks_the_excluded_panels_before_anything_runs(tmp_path):
    write_panel(tmp_path / "train.json", panel())
    write_panel(tmp_path / "seen.json", Panel("alfworld", "seen", panel().tasks[:1]))
    with pytest.raises(BadInput, match="'t0'"):
        rl.train_rl(training(tmp_path), recipe(), "g", [tmp_path / "seen.json"])
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("rows", [[("stranger", "rl")], [("t1", "sft")]])
def test_refuses_a_split_that_routes_strangers_or_nothing(tmp_path, rows):
    with pytest.raises(BadInput):
        rl.subset_tasks(panel(), write_split(tmp_path / "s.csv", rows))


def test_refuses_a_file_that_is_no_split(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(BadInput, match="columns"):
        rl.subset_tasks(panel(), path)


def test_task_file_holds_the_subset_alone(tmp_path):
    import pyarrow.parquet

    command.write_tasks(tmp_path / "tasks.parquet", panel().tasks[:2], "alfworld")
    rows = pyarrow.parquet.read_table(tmp_path / "tasks.parquet").to_pylist()
    assert [row["extra_info"]["task_id"] for row in rows] == ["t0", "t1"]
    assert rows[0]["agent_name"] == command.AGENT_NAME


def test_an_episode_outside_the_subset_ends_the_run():
    run_logs.check_subset([{"task_id": "t1"}], {"t1"})
    with pytest.raises(PrismError, match="t9"):
        run_logs.check_subset([{"task_id": "t1"}, {"task_id": "t9"}], {"t1"})


# overrides against verl's own config tree


def compose(overrides: list[str]):
    import verl
    from hydra import compose, initialize_config_dir

    folder = str(Path(verl.__file__).parent / "trainer" / "config")
    hydra_free = [override for override in overrides if not override.startswith("hydra.")]
    with initialize_config_dir(folder, version_base=None):
        return compose("ppo_trainer", hydra_free)


GPU = {"platform": "gpu", "rollout_engine": "vllm", "gpus": 8, "tensor_parallel": 2}


GIGPO = {"algorithm": "gigpo", "kl_coefficient": 0.01, "gigpo_gamma": 0.9, "gigpo_mode": "mean_norm"}


@pytest.mark.parametrize("changes", [{}, GPU, GIGPO])
def test_overrides_fit_verls_config(changes):
    settings = recipe(**changes)
    config = compose(command.verl_overrides(settings, PATHS, 10, 5, seed=3))
    assert config.actor_rollout_ref.rollout.n == 8
    assert config.actor_rollout_ref.rollout.name == settings.rollout_engine
    assert config.data.train_batch_size == 4
    assert config.data.seed == 3
    assert (config.data.max_prompt_length, config.data.max_response_length) == (512, 24)
    assert config.actor_rollout_ref.rollout.max_model_len == 512 + 24
    assert config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu == 8192
    assert config.trainer.total_training_steps == 5
    assert config.trainer.save_freq == 5
    assert config.actor_rollout_ref.actor.use_kl_loss == (settings.kl_coefficient > 0)
    assert config.prism.mini_batch_rows == 256
    assert config.prism.algorithm == settings.algorithm
    assert config.prism.gigpo == {"gamma": settings.gigpo_gamma, "weight": 1.0, "mode": settings.gigpo_mode}
    assert config.trainer.default_local_dir == "/run/checkpoints"


def test_a_pass_holds_the_longest_prompt_with_the_longest_response_on_top():
    config = compose(command.verl_overrides(recipe(micro_batch_tokens=100), PATHS, 10, 5, seed=0))
    assert config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu == 512 + 24


def test_without_adapters_and_offload_verl_is_told_what_it_always_was():
    overrides = command.verl_overrides(recipe(), PATHS, 10, 5, seed=0)
    assert not any("lora" in override or "offload" in override for override in overrides)
    assert "lora_rank" not in result_settings(recipe())
    assert result_settings(recipe(lora_rank=4))["lora_rank"] == 4


def test_adapters_and_offload_fit_verls_config():
    settings = recipe(**GPU, lora_rank=16, offload="idle")
    config = compose(command.verl_overrides(settings, PATHS, 10, 5, seed=0)).actor_rollout_ref
    assert (config.model.lora_rank, config.model.lora_alpha, config.model.target_modules) == (16, 32, "all-linear")
    # the sampler gets whole weights: no adapter that it could keep an old version of
    assert config.model.lora.merge
    assert (config.actor.fsdp_config.param_offload, config.actor.fsdp_config.optimizer_offload) == (True, True)
    always = compose(command.verl_overrides(recipe(**GPU, offload="always"), PATHS, 10, 5, seed=0)).actor_rollout_ref
    assert always.actor.fsdp_config.offload_policy
    assert not always.actor.fsdp_config.param_offload
    assert result_settings(recipe(offload="always")) == result_settings(recipe())


def test_a_misspelt_override_is_refused_by_verls_config():
    from hydra.errors import ConfigCompositionException

    overrides = command.verl_overrides(recipe(), PATHS, 10, 5, seed=0)
    with pytest.raises(ConfigCompositionException):
        compose([*overrides, "actor_rollout_ref.actor.optm.lr=1"])


def test_a_subset_smaller_than_a_step_is_one_step_of_all_its_tasks():
    overrides = command.verl_overrides(recipe(), PATHS, 3, 2, seed=0)
    assert "data.train_batch_size=3" in overrides
    assert "trainer.total_training_steps=2" in overrides


# work folder, rollout log, metrics


def test_work_folder_of_other_settings_is_emptied(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    assert work_folder.claim(work, {"seed": 0}) == 0
    (work / "checkpoints").mkdir()
    (work / "checkpoints" / "latest_checkpointed_iteration.txt").write_text("3")
    assert work_folder.claim(work, {"seed": 0}) == 3
    assert work_folder.claim(work, {"seed": 1}) == 0
    assert not (work / "checkpoints").exists()


@pytest.mark.parametrize("name", ["thesis.tex", "settings.json"])
def test_a_folder_of_somebody_else_is_not_emptied(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(BadInput, match="not empty"), work_folder.locked(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_runs_cannot_share_a_work_folder(tmp_path):
    work = tmp_path / "work"
    with work_folder.locked(work):
        work_folder.claim(work, {"seed": 0})
        with pytest.raises(BadInput, match=f"process {os.getpid()}"), work_folder.locked(work):
            pass
    with work_folder.locked(work):
        assert work_folder.claim(work, {"seed": 1}) == 0


def test_the_message_names_the_settings_that_changed(tmp_path, capsys):
    work_folder.claim(tmp_path, {"seed": 0, "recipe": {"learning_rate": 1.0, "steps": 3}})
    work_folder.claim(tmp_path, {"seed": 0, "recipe": {"learning_rate": 2.0, "steps": 3}})
    assert "(recipe.learning_rate changed)" in capsys.readouterr().err


def episode(step: int, task: str = "t0", session: int = 0, **changes) -> dict:
    return {
        "training_step": step,
        "session": session,
        "task_id": task,
        "task_type": "pick",
        "success": False,
        "steps": 4,
        "invalid_actions": 1,
        "reward": -0.1,
        "error": "",
        "environment_seconds": 0.5,
        **changes,
    }


def test_rollouts_of_repeated_steps_are_forgotten_and_a_torn_line_is_no_error(tmp_path):
    lines = [json.dumps(episode(step)) for step in (1, 2, 3)]
    (tmp_path / "host-1.jsonl").write_text("\n".join(lines) + "\n" + lines[0][:20])
    run_logs.drop_rollouts_after(tmp_path, 2)
    assert [record["training_step"] for record in run_logs.read_rollouts(tmp_path)] == [1, 2]


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_log_that_a_kill_cut_anywhere_keeps_its_whole_lines(tmp_path, cut):
    path = tmp_path / "host-1.jsonl"
    whole = json.dumps(episode(1))
    torn = '{"task_id": "é"}'.encode()[: 9 + cut]
    path.write_bytes(f"{whole}\n".encode() + torn)
    found = [record["training_step"] for record in run_logs.whole_records(path) if "training_step" in record]
    assert found == [1]
    run_logs.drop_rollouts_after(tmp_path, 1)
    assert run_logs.read_rollouts(tmp_path) == [episode(1)]


def test_rollouts_are_ordered_whoever_finished_first(tmp_path):
    (tmp_path / "b.jsonl").write_text(json.dumps(episode(1, "t1", 1)) + "\n" + json.dumps(episode(2, "t0", 0)) + "\n")
    (tmp_path / "a.jsonl").write_text(json.dumps(episode(1, "t1", 0)) + "\n")
    order = [(r["training_step"], r["task_id"], r["session"]) for r in run_logs.read_rollouts(tmp_path)]
    assert order == [(1, "t1", 0), (1, "t1", 1), (2, "t0", 0)]


def test_metrics_are_means_over_the_steps_episodes():
    rollouts = [episode(1, success=True, reward=10.0, invalid_actions=0, steps=2), episode(1, session=1, steps=6)]
    [row] = run_logs.metrics_rows(rollouts, {1: {"actor/grad_norm": 0.5, "timing_s/gen": 2.0}})
    assert row["success_rate"] == 0.5
    assert row["reward_mean"] == pytest.approx(4.95)
    assert row["episode_steps"] == 4
    assert row["invalid_share"] == 1 / 8
    assert row["grad_norm"] == 0.5
    assert row["seconds_generation"] == 2.0
    assert row["entropy"] == ""
    assert row["groups_with_contrast"] == 1.0
    assert row["seconds_other"] == ""


def test_what_no_part_of_a_step_took_is_other():
    timing = {"timing_s/step": 10.0, "timing_s/gen": 4.0, "timing_s/old_log_prob": 1.0, "timing_s/update_actor": 3.0}
    [row] = run_logs.metrics_rows([episode(1)], {1: timing})
    assert row["seconds_other"] == pytest.approx(2.0)


def test_contrast_is_counted_by_task():
    rollouts = [episode(1, "a", success=True), episode(1, "a"), episode(1, "b"), episode(1, "b", 1)]
    [row] = run_logs.metrics_rows(rollouts, {})
    assert row["groups_with_contrast"] == 0.5


def test_a_step_that_was_saved_but_not_logged_keeps_its_episodes():
    first, second = run_logs.metrics_rows([episode(1), episode(2)], {2: {"actor/grad_norm": 0.5}})
    assert (first["step"], first["episodes"], first["grad_norm"]) == (1, 1, "")
    assert (second["step"], second["grad_norm"]) == (2, 0.5)


def test_a_gradient_norm_that_is_not_finite_ends_the_stage():
    with pytest.raises(NotFinite, match="step 1"):
        run_logs.metrics_rows([episode(1)], {1: {"actor/grad_norm": float("nan")}})


def test_a_repeated_steps_metrics_are_the_later_runs(tmp_path):
    (tmp_path / "from-000000.jsonl").write_text('{"step": 1, "data": {"a": 1}}\n{"step": 2, "data": {"a": 1}}\n')
    (tmp_path / "from-000001.jsonl").write_text('{"step": 2, "data": {"a": 2}}\n')
    assert run_logs.read_verl_metrics(tmp_path) == {1: {"a": 1}, 2: {"a": 2}}


def test_refuses_a_benchmark_without_environments(tmp_path):
    write_panel(tmp_path / "train.json", Panel("chess", "train", (Task("a", "b", "c"),)))
    with pytest.raises(BadInput, match="chess"):
        rl.train_rl(training(tmp_path), recipe(), "g")
