"""A person plays one episode in the terminal, with what an agent sees and nothing more.

How an episode is shown, here and where a recorded one is looked at (`prism.tools.episode_pages`), stands here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from prism.core.benchmarks import find_benchmark
from prism.core.episodes import Feedback
from prism.core.errors import BadInput
from prism.core.progress import printable
from prism.environments import load, load_data
from prism.environments.base import Environment
from prism.environments.pool import EnvironmentSource

QUIT = "q"
# admissible actions that stand for many: the player types the words between the brackets
_BLANK = "<your query>"


def open_games(benchmark: str, games_dir: str | Path) -> EnvironmentSource:
    """The environments of a data folder, in this process.

    Raises:
        BadInput: there is no such benchmark, or no such folder.
    """
    entry = find_benchmark(benchmark)
    if not Path(games_dir).is_dir():
        raise BadInput(games_dir, "does not exist", f"build it: snakemake {games_dir}")
    return load(entry.environments)(data_dir=str(games_dir))


def first_game(benchmark: str, games_dir: str | Path) -> str:
    """Name of the first game that is not for training."""
    return load_data(benchmark).first_game(Path(games_dir))


def play_episode(environment: Environment, max_steps: int, read: Callable[[], str], console: Console) -> Feedback:
    """Play until the task is solved, the environment ends it, the steps run out, or the player leaves.

    Args:
        read: gives the player's next line; raises `EOFError` at the end of the input.
        console: where the episode is shown.

    Returns:
        The environment's last answer.
    """
    feedback, steps = environment.reset(), 0
    show_text(console, environment.task, "task")
    while not feedback.done and steps < max_steps:
        _show(feedback, steps, max_steps, console)
        action = _ask(feedback.admissible, read, console)
        if action is None:
            break
        console.print(plain(f"> {action}", "bold"))
        feedback, steps = environment.step(action), steps + 1
    show_text(console, feedback.observation, "the end")
    console.print(outcome(feedback.success, feedback.score, f" after {steps} steps"))
    return feedback


def plain(text: str, style: str = "") -> Text:
    """Text as it is: none of it is markup, and the terminal obeys none of it."""
    return Text(printable(text), style=style)


def readable(observation: str) -> str:
    """A store's page with its parts on lines of their own; other observations as they are."""
    return observation.replace(" [SEP] ", "\n")


def show_text(console: Console, observation: str, title: str) -> None:
    """Print what the environment says in a frame."""
    console.print(Panel(plain(readable(observation)), title=title))


def outcome(success: bool, score: float, when: str = "") -> str:
    """How an episode ended, in words."""
    return f"{'solved' if success else 'not solved'}{when}, score {score:.2f}"


def _show(feedback: Feedback, steps: int, max_steps: int, console: Console) -> None:
    show_text(console, feedback.observation, f"step {steps + 1} of {max_steps}")
    for number, action in enumerate(feedback.admissible, 1):
        console.print(plain(f"{number:4}  {action}"))


def _ask(admissible: Sequence[str], read: Callable[[], str], console: Console) -> str | None:
    """The player's action: a number of the list, or text that is sent as it is; None to leave."""
    while True:
        console.print(f"a number, an action, or {QUIT} to leave:")
        try:
            answer = read().strip()
        except EOFError:
            return None
        if answer == QUIT:
            return None
        if not answer.isdecimal():
            if answer:
                return answer
            continue
        if not 1 <= int(answer) <= len(admissible):
            console.print(plain(f"there is no action {answer}"))
            continue
        action = admissible[int(answer) - 1]
        if _BLANK not in action:
            return action
        console.print("the words:")
        try:
            return action.replace(_BLANK, read().strip())
        except EOFError:
            return None
