"""A recorded episode step by step: in the terminal, or as one static HTML page.

An evaluation records the actions alone. Environments are deterministic, so the observations come from playing the
actions again in the real engine; where that ends otherwise than recorded, the page says so. A trajectory holds all.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from prism.core.errors import BadInput
from prism.core.files import read_json, write_text
from prism.core.progress import say
from prism.core.results import EVALUATIONS, Results
from prism.core.trajectories import Trajectory, read_trajectories
from prism.environments.base import read_panel
from prism.stages.page_templates import render_page
from prism.tools.play import open_games, outcome, plain, readable, show_text

NEAR = 3
# what an evaluation, and each of its episodes, must say to be played again
HEAD = {"benchmark", "panel", "panel_sha256"}
RECORD = {"task_id", "success", "score", "steps", "actions", "error"}


@dataclass(frozen=True)
class ReplayedStep:
    """One step: what was seen, what could be done, what was thought (empty where it was not recorded) and done."""

    observation: str
    admissible: tuple[str, ...]
    thought: str
    action: str


@dataclass(frozen=True)
class ReplayedEpisode:
    """An episode to look at.

    Attributes:
        title: the task's id, and what the episode is from.
        outcome: how it ended, in words.
        last: what was seen after the last action; empty where it was not recorded.
        warning: why the episode may not be the recorded one; empty if it is.
    """

    title: str
    benchmark: str
    task: str
    steps: tuple[ReplayedStep, ...]
    outcome: str
    last: str = ""
    warning: str = ""


def load_episode(
    path: str | Path,
    task_id: str = "",
    games_dir: str | Path | None = None,
    panel_path: str | Path | None = None,
) -> ReplayedEpisode:
    """Read an episode from an evaluation or from a file of trajectories.

    Args:
        path: ``test.json`` of an evaluation, or a ``.jsonl`` file of trajectories.
        task_id: which episode; empty takes the first.
        games_dir: evaluations: the data folder of the benchmark. None looks where the workflow keeps it.
        panel_path: evaluations: the panel that was played. None looks where the workflow keeps it.

    Raises:
        BadInput: a file is missing or of another kind, or holds no such episode.
    """
    recording = read_recording(path)
    record = recording.episode(task_id)
    if isinstance(record, Trajectory):
        return _from_trajectory(record)
    path, head = recording.path, recording.head
    benchmark, panel_name = head["benchmark"], head["panel"]
    if games_dir is None or panel_path is None:
        results = _results_around(path)
        games_dir, panel_path = (
            games_dir or results.games(benchmark),
            panel_path or results.panel(benchmark, panel_name),
        )
    panel = read_panel(panel_path)
    if panel.sha256 != head["panel_sha256"]:
        raise BadInput(path, f"was played on another {panel_name} panel", "give the panel it was played on: --panel")
    (game,) = [task.game for task in panel.tasks if task.id == record["task_id"]]
    return _play_again(record, benchmark, game, Path(games_dir), f"{record['task_id']} of {path}")


@dataclass(frozen=True)
class Recording:
    """A file of episodes.

    Attributes:
        head: what an evaluation says of itself: benchmark, panel and its hash; empty for trajectories.
        episodes: records of an evaluation, or trajectories, by id.
    """

    path: Path
    head: dict[str, Any]
    episodes: dict[str, Trajectory | dict[str, Any]]

    def episode(self, task_id: str) -> Trajectory | dict[str, Any]:
        """The episode of a task; the first one without an id.

        Raises:
            BadInput: there is no such task; suggests some that are near.
        """
        if not task_id:
            return next(iter(self.episodes.values()))
        if task_id not in self.episodes:
            near = [name for name in self.episodes if task_id in name]
            near = near or difflib.get_close_matches(task_id, self.episodes, NEAR)
            hint = f"did you mean {' or '.join(near[:NEAR])}? " if near else ""
            raise BadInput(self.path, f"has no episode {task_id!r}", f"{hint}--list shows all {len(self.episodes)}")
        return self.episodes[task_id]

    def overview(self) -> list[str]:
        """A line for each episode: its id, and how it ended."""
        return [f"{name}\t{_outcome(episode)}" for name, episode in self.episodes.items()]


def read_recording(path: str | Path) -> Recording:
    """Read an evaluation, or a ``.jsonl`` file of trajectories.

    Raises:
        BadInput: it is missing or holds no episodes.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        return Recording(path, {}, {trajectory.id: trajectory for trajectory in read_trajectories(path)})
    content = read_json(path)
    episodes = content.get("episodes") if isinstance(content, dict) else None
    sound = isinstance(episodes, list) and content.keys() >= HEAD
    if not sound or not all(isinstance(episode, dict) and episode.keys() >= RECORD for episode in episodes):
        raise BadInput(path, "is not an evaluation", "give an evaluation's JSON, or a .jsonl file of trajectories")
    if not episodes:
        raise BadInput(path, "holds no episode", "give another evaluation")
    return Recording(path, content, {episode["task_id"]: episode for episode in episodes})


def _results_around(path: Path) -> Results:
    """The results that an evaluation lies in."""
    try:
        return Results.around(path, EVALUATIONS)
    except BadInput as error:
        raise BadInput(path, "lies in no folder of results", "give --games and --panel") from error


def _from_trajectory(trajectory: Trajectory) -> ReplayedEpisode:
    steps = tuple(
        ReplayedStep(step.observation, step.admissible, step.thought, step.action) for step in trajectory.steps
    )
    title = f"{trajectory.id}, played by {trajectory.expert}"
    return ReplayedEpisode(title, trajectory.benchmark, trajectory.task, steps, _outcome(trajectory))


def _play_again(record: dict[str, Any], benchmark: str, game: str, games_dir: Path, title: str) -> ReplayedEpisode:
    environment = open_games(benchmark, games_dir).open(game)
    feedback = environment.reset()
    steps = []
    # an episode that broke has one reply more than steps
    for action in record["actions"][: record["steps"]]:
        steps.append(ReplayedStep(feedback.observation, feedback.admissible, "", action))
        feedback = environment.step(action)
    recorded = (record["success"], record["score"])
    again = (feedback.success, feedback.score)
    warning = "" if recorded == again or record["error"] else f"recorded {outcome(*recorded)}, now {outcome(*again)}"
    last = feedback.observation
    return ReplayedEpisode(title, benchmark, environment.task, tuple(steps), _outcome(record), last, warning)


def _outcome(episode: Trajectory | dict[str, Any]) -> str:
    if isinstance(episode, Trajectory):
        return "solved" if episode.success else "not solved"
    return episode["error"] or outcome(episode["success"], episode["score"])


def show_episode(episode: ReplayedEpisode, console: Console) -> None:
    """Print an episode step by step; nothing of its texts is markup, or obeyed by the terminal."""
    console.print(plain(episode.title))
    show_text(console, episode.task, "task")
    for number, step in enumerate(episode.steps, 1):
        show_text(console, step.observation, f"step {number} of {len(episode.steps)}")
        if step.thought:
            console.print(plain(step.thought, "italic"))
        console.print(plain(f"> {step.action}", "bold"))
    if episode.last:
        show_text(console, episode.last, "the end")
    if episode.warning:
        console.print(plain(f"not the recorded episode: {episode.warning}", "red"))
    console.print(plain(episode.outcome))


def write_page(episode: ReplayedEpisode, out: str | Path) -> None:
    """Write an episode as one HTML page that needs no other file and runs no script; all texts are escaped."""
    write_text(out, render_page("episode.html.jinja", {"episode": episode, "readable": readable}))
    say(f"{out}: {len(episode.steps)} steps")
