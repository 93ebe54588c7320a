"""Expert trajectories, random transcripts and panels, played in the real engine."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prism.cli import app
from prism.core.benchmarks import BENCHMARKS
from prism.core.detours import read_detours
from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file
from prism.core.recipes import result_settings
from prism.core.trajectories import Trajectory, read_trajectories
from prism.environments.alfworld.data import (
    PanelRecipe,
    TrajectoriesRecipe,
    TranscriptsRecipe,
    draw_action,
    spread,
    think,
)
from prism.environments.alfworld.dataset import GamesRecipe, generate_games, read_games
from prism.environments.alfworld.detours import Detours
from prism.environments.alfworld.engine import AlfworldEnvironment
from prism.environments.alfworld.expert import HandcodedExpert, Noise, PlannerExpert, corrupt, play
from prism.environments.alfworld.games import TASK_TYPES
from prism.environments.base import read_panel
from prism.stages.panels import make_panel
from prism.stages.trajectories import CorpusFiles, collect_trajectories, collect_transcripts

RECIPE = TrajectoriesRecipe(max_steps=24, noise=0.3, seed=0)
WITH_DETOURS = TrajectoriesRecipe(max_steps=24, noise=0.3, seed=0, detours=Detours(share=0.5, noise=0.6))


@pytest.fixture(scope="module")
def games_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "games"
    generate_games(folder, GamesRecipe(train=18, seen=12, unseen=12, seed=1))
    return folder


@pytest.fixture(scope="module")
def corpus_file(games_dir: Path) -> Path:
    path = games_dir.parent / "trajectories.jsonl"
    collect_trajectories(
        "alfworld", games_dir, CorpusFiles(path, games_dir.parent / "trajectories.json"), RECIPE, workers=1
    )
    return path


@pytest.fixture(scope="module")
def detours_file(games_dir: Path) -> Path:
    path = games_dir.parent / "detours.jsonl"
    collect_trajectories("alfworld", games_dir, CorpusFiles(path, path.with_suffix(".json")), WITH_DETOURS)
    return path


@pytest.fixture(scope="module")
def corpus(corpus_file: Path) -> list[Trajectory]:
    return read_trajectories(corpus_file)


def test_trajectories_win_when_they_are_replayed(games_dir: Path, corpus: list[Trajectory]) -> None:
    for trajectory in corpus:
        environment = AlfworldEnvironment(games_dir / trajectory.game)
        feedback = environment.reset()
        assert environment.task == trajectory.task
        for step in trajectory.steps:
            assert (feedback.observation, feedback.admissible) == (step.observation, step.admissible)
            assert not feedback.done
            assert step.demonstrated == (step.action in step.admissible)
            feedback = environment.step(step.action)
            assert step.demonstrated or feedback.observation == BENCHMARKS["alfworld"].refusal
        assert feedback.success


def test_all_types_are_won_and_steps_are_limited(corpus: list[Trajectory]) -> None:
    assert {trajectory.task_type for trajectory in corpus} == set(TASK_TYPES.values())
    assert all(len(trajectory.steps) <= RECIPE.max_steps for trajectory in corpus)
    assert all(trajectory.steps[-1].demonstrated for trajectory in corpus)
    shares = [not step.demonstrated for trajectory in corpus for step in trajectory.steps]
    assert 0.1 < sum(shares) / len(shares) < 0.35
    assert [trajectory.id for trajectory in corpus] == sorted(trajectory.id for trajectory in corpus)


def test_manifest_counts_what_was_kept_and_dropped(
    games_dir: Path, corpus_file: Path, corpus: list[Trajectory]
) -> None:
    manifest = read_json(corpus_file.with_suffix(".json"))
    assert manifest["sha256"] == sha256_file(corpus_file)
    assert manifest["trajectories"] == len(corpus)
    assert manifest["games"] == 18 == manifest["trajectories"] + len(manifest["dropped"])
    assert sum(manifest["by_type"].values()) == sum(manifest["by_expert"].values()) == len(corpus)
    assert manifest["steps"] == sum(len(trajectory.steps) for trajectory in corpus)


def test_games_that_cannot_be_won_in_time_are_dropped_with_the_reason(games_dir: Path, tmp_path: Path) -> None:
    recipe = TrajectoriesRecipe(max_steps=5, noise=0.0, seed=0)
    collect_trajectories("alfworld", games_dir, CorpusFiles(tmp_path / "short.jsonl", tmp_path / "short.json"), recipe)
    manifest = read_json(tmp_path / "short.json")
    assert manifest["dropped"]
    assert all(entry["reason"] == "not won within 5 steps" for entry in manifest["dropped"])
    assert manifest["longest"] <= 5
    impossible = TrajectoriesRecipe(max_steps=1, noise=0.0, seed=0)
    with pytest.raises(BadInput, match="the expert solved no task"):
        collect_trajectories(
            "alfworld", games_dir, CorpusFiles(tmp_path / "none.jsonl", tmp_path / "none.json"), impossible
        )
    assert not (tmp_path / "none.jsonl").exists()


def test_detours_are_half_of_every_task_type_and_waste_steps_that_are_imitated(
    games_dir: Path, detours_file: Path, corpus: list[Trajectory]
) -> None:
    labels = read_detours(detours_file.with_suffix(".json"))
    played = {trajectory.id: trajectory for trajectory in read_trajectories(detours_file)}
    assert labels.keys() == played.keys()
    by_type = Counter(played[name].task_type for name, detour in labels.items() if detour)
    manifest = read_json(detours_file.with_suffix(".json"))
    assert manifest["dropped"] == [], "the counts below are of all games"
    assert "detour" not in detours_file.read_text(), "who reads the corpus alone cannot tell"
    # 18 games: of the three of a type round(1.5) = 2
    assert by_type == dict.fromkeys(TASK_TYPES.values(), 2)
    plain = {trajectory.id: trajectory for trajectory in corpus}
    for name, trajectory in played.items():
        assert labels[name] or trajectory == plain[name], "the others are as they would be without any"
    # the planner takes over where the first expert wastes too many steps
    both = [name for name in labels if labels[name] and played[name].expert == plain[name].expert]
    assert sum(len(played[name].steps) - len(plain[name].steps) for name in both) > len(both) > 3
    for name in filter(labels.get, labels):
        known = {step.action for step in plain[name].steps}
        wasted = [step for step in played[name].steps if step.demonstrated and step.action not in known]
        assert all(step.thought for step in wasted)
    test_trajectories_win_when_they_are_replayed(games_dir, [played[name] for name in labels if labels[name]])


def test_without_detours_neither_recipe_nor_manifest_know_of_them(corpus_file: Path) -> None:
    assert result_settings(RECIPE) == {"max_steps": 24, "noise": 0.3, "seed": 0, "max_games": 0}
    assert result_settings(WITH_DETOURS)["detours"] == {"share": 0.5, "noise": 0.6, "seed": 0}
    with pytest.raises(BadInput, match="has no labels: the corpus was made without detours"):
        read_detours(corpus_file.with_suffix(".json"))


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"share": 1.0, "noise": 0.5}, "detours.share: 1.0 is not a share"),
        ({"share": 0.5, "noise": -0.1}, "detours.noise: -0.1 is not a share"),
        ({"share": 0.5}, "share and noise go together"),
    ],
)
def test_detours_that_no_expert_could_play_are_refused(settings: dict, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        Detours(**settings)


@pytest.mark.slow
def test_the_corpus_does_not_depend_on_the_number_of_workers(
    games_dir: Path, corpus_file: Path, tmp_path: Path
) -> None:
    collect_trajectories(
        "alfworld", games_dir, CorpusFiles(tmp_path / "t.jsonl", tmp_path / "t.json"), RECIPE, workers=2
    )
    assert (tmp_path / "t.jsonl").read_bytes() == corpus_file.read_bytes()


def test_both_experts_win_tasks_with_two_objects(games_dir: Path) -> None:
    pairs = [task for task in read_games(games_dir, "train") if task.task_type == "pick2"]
    for expert in (HandcodedExpert, PlannerExpert):
        won = [
            play(
                AlfworldEnvironment(games_dir / task.game, facts=True), expert, 40, Noise(0.0), random.Random(0)
            ).success
            for task in pairs
        ]
        assert len(won) == 3
        assert all(won)


def test_playing_leaves_the_global_random_state_alone(games_dir: Path) -> None:
    environment = AlfworldEnvironment(games_dir / read_games(games_dir, "train")[0].game, facts=True)
    random.seed(7)
    expected = random.random()
    random.seed(7)
    play(environment, HandcodedExpert, 20, Noise(0.5), random.Random(1))
    assert random.random() == expected


def test_corrupted_actions_are_never_admissible() -> None:
    admissible = ("go to desk 1", "go to bed 1", "look", "help", "inventory")
    wrong = [corrupt("go to desk 1", admissible, random.Random(seed)) for seed in range(50)]
    assert not set(wrong) & set(admissible)
    assert len(set(wrong)) > 5
    assert corrupt("look", ("look", "help"), random.Random(0)) is None


@pytest.mark.parametrize(
    ("action", "held", "thought"),
    [
        ("go to desk 1", "", "Find mug, check desk 1."),
        ("go to desk 1", "mug 2", "Carry mug 2 to desk 1."),
        ("take mug 2 from desk 1", "", "mug 2 is here, take it."),
        ("open drawer 3", "", "drawer 3 is closed, open it."),
        ("move mug 2 to desk 1", "mug 2", "Put mug 2 in desk 1."),
        ("heat mug 2 with microwave 1", "mug 2", "Heat mug 2 with microwave 1."),
        ("use desklamp 1", "book 1", "Look at book 1 under desklamp 1."),
        ("close drawer 3", "", "Close drawer 3."),
        ("look", "", "Look."),
    ],
)
def test_thoughts(action: str, held: str, thought: str) -> None:
    assert think(action, held, "mug") == thought


def test_random_transcripts_take_admissible_actions_and_repeat(games_dir: Path, tmp_path: Path) -> None:
    recipe = TranscriptsRecipe(games=6, episodes=2, max_steps=10, seed=0)
    for name in ("one", "two"):
        collect_transcripts("alfworld", games_dir, tmp_path / name, recipe)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    transcripts = read_trajectories(tmp_path / "one")
    assert len(transcripts) == 12
    assert {transcript.task_type for transcript in transcripts} == set(TASK_TYPES.values())
    for transcript in transcripts:
        assert all(step.action in step.admissible and step.action != "help" for step in transcript.steps)
        assert all(step.thought == f"{step.action.capitalize()}." for step in transcript.steps)


def test_random_actions_draw_the_verb_first() -> None:
    admissible = [*(f"go to desk {number}" for number in range(20)), "look", "help"]
    rng = random.Random(0)
    drawn = [draw_action(admissible, rng) for _ in range(400)]
    assert "help" not in drawn
    assert 150 < drawn.count("look") < 250


def test_the_train_panel_lists_the_tasks_that_have_a_trajectory(
    games_dir: Path, corpus_file: Path, corpus: list[Trajectory], tmp_path: Path
) -> None:
    make_panel("alfworld", games_dir, "train", tmp_path / "train.json", PanelRecipe(), corpus_file)
    panel = read_panel(tmp_path / "train.json")
    assert [task.id for task in panel.tasks] == [trajectory.id for trajectory in corpus]
    assert [task.game for task in panel.tasks] == [trajectory.game for trajectory in corpus]
    with pytest.raises(BadInput, match="--trajectories"):
        make_panel("alfworld", games_dir, "train", tmp_path / "train.json", PanelRecipe())


def test_evaluation_panels_are_balanced_and_disjoint_from_training(games_dir: Path, tmp_path: Path) -> None:
    train = {task.id for task in read_games(games_dir, "train")}
    for split in ("seen", "unseen"):
        make_panel("alfworld", games_dir, split, tmp_path / f"{split}.json", PanelRecipe(size=6, seed=0))
        panel = read_panel(tmp_path / f"{split}.json")
        assert sorted(task.task_type for task in panel.tasks) == sorted(TASK_TYPES.values())
        assert not {task.id for task in panel.tasks} & train
        trials = {Path(task.id).name for task in panel.tasks}
        assert not trials & {Path(name).name for name in train}
        make_panel("alfworld", games_dir, split, tmp_path / "all.json", PanelRecipe())
        assert len(read_panel(tmp_path / "all.json").tasks) == 12
    with pytest.raises(BadInput, match="cannot fill a panel of 13"):
        make_panel("alfworld", games_dir, "seen", tmp_path / "big.json", PanelRecipe(size=13))


def test_spread_takes_types_in_turn(games_dir: Path) -> None:
    tasks = read_games(games_dir, "train")
    assert sorted(task.task_type for task in spread(tasks, 6)) == sorted(TASK_TYPES.values())
    assert len(spread(tasks, 0)) == len(tasks)


def test_command_line_end_to_end(tmp_path: Path) -> None:
    def run(*arguments: object) -> None:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output

    games, corpus = tmp_path / "games", tmp_path / "trajectories.jsonl"
    run(
        "stage",
        "games",
        "alfworld",
        "--out",
        games,
        "--recipe",
        json.dumps({"train": 2, "seen": 1, "unseen": 1, "seed": 0}),
    )
    recipe = json.dumps({"max_steps": 30, "noise": 0.0, "seed": 0})
    run(
        "stage",
        "trajectories",
        "alfworld",
        "--games",
        games,
        "--out",
        corpus,
        "--manifest",
        tmp_path / "m.json",
        "--recipe",
        recipe,
    )
    run(
        "stage",
        "panel",
        "alfworld",
        "--games",
        games,
        "--split",
        "train",
        "--out",
        tmp_path / "p.json",
        "--trajectories",
        corpus,
    )
    assert len(read_panel(tmp_path / "p.json").tasks) == 2
    recipe = json.dumps({"games": 1, "episodes": 1, "max_steps": 3, "seed": 0})
    run("stage", "transcripts", "alfworld", "--games", games, "--out", tmp_path / "r.jsonl", "--recipe", recipe)


def test_a_corpus_of_ones_own_is_checked_and_sorted(corpus_file: Path, tmp_path: Path) -> None:
    lines = corpus_file.read_text().splitlines(keepends=True)
    (tmp_path / "own.jsonl").write_text("".join(reversed(lines)))
    arguments = ["--out", str(tmp_path / "out.jsonl"), "--manifest", str(tmp_path / "out.json")]
    assert (
        CliRunner().invoke(app, ["stage", "import-trajectories", str(tmp_path / "own.jsonl"), *arguments]).exit_code
        == 0
    )
    assert (tmp_path / "out.jsonl").read_bytes() == corpus_file.read_bytes()
    expected = read_json(corpus_file.with_suffix(".json"))
    assert read_json(tmp_path / "out.json") == {**expected, "dropped": [], "games": expected["trajectories"]}
    (tmp_path / "own.jsonl").write_text(lines[0] + '{"id": "x"}\n')
    with pytest.raises(BadInput, match=r"own\.jsonl:2: 'benchmark' is missing"):
        CliRunner().invoke(
            app, ["stage", "import-trajectories", str(tmp_path / "own.jsonl"), *arguments], catch_exceptions=False
        )


def test_unknown_recipe_keys_and_splits_are_refused(games_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did you mean 'train'"):
        CliRunner().invoke(
            app,
            ["stage", "games", "alfworld", "--out", str(tmp_path / "g"), "--recipe", '{"trian": 1}'],
            catch_exceptions=False,
        )
    with pytest.raises(BadInput, match="holds no games of split"):
        make_panel("alfworld", games_dir, "test", tmp_path / "p.json", PanelRecipe())
    with pytest.raises(BadInput, match="noise"):
        TrajectoriesRecipe(max_steps=5, noise=1.5, seed=0)


def test_an_erring_expert_plays_some_task_types_won_or_not(games_dir: Path, tmp_path: Path) -> None:
    recipe = TranscriptsRecipe(6, 3, 12, seed=0, player="expert", noise=0.4, task_types=("pick", "look"))
    for name in ("one", "two"):
        collect_transcripts("alfworld", games_dir, tmp_path / name, recipe)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    transcripts = read_trajectories(tmp_path / "one")
    assert Counter(transcript.task_type for transcript in transcripts) == {"pick": 9, "look": 9}
    assert {transcript.expert for transcript in transcripts} == {HandcodedExpert.name}
    assert {transcript.success for transcript in transcripts} == {True, False}
    for transcript in transcripts:
        assert all(step.demonstrated and step.action in step.admissible for step in transcript.steps)


def test_an_expert_that_does_not_err_wins(games_dir: Path, tmp_path: Path) -> None:
    recipe = TranscriptsRecipe(games=18, episodes=1, max_steps=24, seed=0, player="expert")
    collect_transcripts("alfworld", games_dir, tmp_path / "played.jsonl", recipe)
    played = read_trajectories(tmp_path / "played.jsonl")
    assert len(played) == 18
    assert sum(transcript.success for transcript in played) >= 16
