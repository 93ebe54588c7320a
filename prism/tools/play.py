"""A person plays one episode in the terminal, with what an agent sees and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from prism.core.episodes import Feedback
from prism.core.errors import BadInput
from prism.core.files import read_json
from prism.core.progress import printable
from prism.environments.base import Environment
from prism.environments.pool import EnvironmentSource, load_source
from prism.stages.evaluate import SOURCES

QUIT = "q"
# admissible actions that stand for many: the player types the words between the brackets
_BLANK = "<your query>"


def open_games(benchmark: str, games_dir: str | Path) -> EnvironmentSource:
    """The environments of a data folder, in this process.

    Raises:
        BadInput: there is no such benchmark, or no such folder.
    """
    if benchmark not in SOURCES:
        raise BadInput(benchmark, "is not a benchmark", f"use one of {', '.join(SOURCES)}")
    if not Path(games_dir).is_dir():
        raise BadInput(games_dir, "does not exist", f"build it: snakemake {games_dir}")
    return load_source(SOURCES[benchmark], data_dir=str(games_dir))


def first_game(benchmark: str, games_dir: str | Path) -> str:
    """Name of the first game that is not for training: a seen game of ALFWorld, a test goal of WebShop."""
    if benchmark == "webshop":
        return f"{next(iter(read_json(Path(games_dir) / 'manifest.json')['goals']))}/0"
    from prism.stages.games import read_games

    return read_games(Path(games_dir), "seen")[0].game


def play_episode(environment: Environment, max_steps: int, read: Callable[[], str], console: Console) -> Feedback:
    """Play until the task is solved, the environment ends it, the steps run out, or the player leaves.

    Args:
        read: gives the player's next line; raises `EOFError` at the end of the input.
        console: where the episode is shown.

    Returns:
        The environment's last answer.
    """
    feedback, steps = environment.reset(), 0
    console.print(Panel(plain(environment.task), title="task"))
    while not feedback.done and steps < max_steps:
        _show(feedback, steps, max_steps, console)
        action = _ask(feedback.admissible, read, console)
        if action is None:
            break
        console.print(plain(f"> {action}", "bold"))
        feedback, steps = environment.step(action), steps + 1
    console.print(Panel(plain(feedback.observation), title="the end"))
    outcome = "solved" if feedback.success else "not solved"
    console.print(f"{outcome} after {steps} steps, score {feedback.score:.2f}")
    return feedback


def plain(text: str, style: str = "") -> Text:
    """Text as it is: none of it is markup, and the terminal obeys none of it."""
    return Text(printable(text), style=style)


def _show(feedback: Feedback, steps: int, max_steps: int, console: Console) -> None:
    # a page's parts on lines of their own are easier to read than in one
    observation = feedback.observation.replace(" [SEP] ", "\n")
    console.print(Panel(plain(observation), title=f"step {steps + 1} of {max_steps}"))
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
