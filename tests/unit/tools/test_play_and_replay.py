"""Playing an episode in the terminal, and looking at recorded ones."""

import io
import json
from dataclasses import replace

import pytest

pytest.importorskip("thefuzz", reason="thefuzz is in the lock of the environment; without it WebShop cannot run")

from browser import WIDTHS, Measured, measure, needs_browser
from markupsafe import escape
from rich.console import Console
from typer.testing import CliRunner

from prism.cli import app
from prism.core.episodes import Feedback
from prism.core.errors import BadInput
from prism.core.trajectories import Step, Trajectory, write_trajectories
from prism.environments.base import Panel, Task, write_panel
from prism.environments.webshop import rewards
from prism.environments.webshop.data import StoreRecipe
from prism.environments.webshop.environment import WebshopGames, goal_task
from prism.environments.webshop.generator import CatalogRecipe
from prism.environments.webshop.shopper import query_of
from prism.environments.webshop.store import Store
from prism.stages.games import make_catalog, make_games
from prism.tools.episode_pages import load_episode, show_episode, write_page
from prism.tools.play import first_game, open_games, play_episode


@pytest.fixture(autouse=True)
def _title_words_for_nouns(monkeypatch):
    monkeypatch.setattr(rewards, "nouns", lambda title: tuple(title.lower().split()))


@pytest.fixture(scope="module")
def games(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "data" / "webshop"
    make_catalog("webshop", folder / "catalog", CatalogRecipe(products=60, seed=5))
    make_games("webshop", folder / "catalog", folder / "games", StoreRecipe(seed=3, tagged_titles=0))
    return folder / "games"


def purchase(games):
    """Actions that fulfil the first goal."""
    goal = Store(games, "human").goals[0]
    options = [f"click[{option}]" for option in goal.options]
    return [f"search[{goal.name.lower()}]", f"click[{goal.asin.lower()}]", *options, "click[buy now]"]


@pytest.fixture
def evaluation(games):
    """An evaluation of one episode, where the workflow would keep it."""
    task = goal_task(Store(games, "human"), 0)
    root = games.parents[2]
    panel = Panel("webshop", "test", (task,))
    write_panel(games.parent / "panels" / "test.json", panel)
    actions = purchase(games)
    record = {"task_id": task.id, "success": True, "score": 1.0, "steps": len(actions), "actions": actions, "error": ""}
    path = root / "eval" / "webshop" / "tiny" / "sft" / "seed0" / "test.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"benchmark": "webshop", "panel": "test", "panel_sha256": panel.sha256, "episodes": [record]}
    path.write_text(json.dumps(content))
    return path


def played(games, lines, max_steps=8):
    """The last feedback and everything that was printed."""
    screen, answers = io.StringIO(), iter(lines)

    def read():
        try:
            return next(answers)
        except StopIteration:
            raise EOFError from None

    environment = open_games("webshop", games).open(first_game("webshop", games))
    return play_episode(environment, max_steps, read, Console(file=screen, width=120)), screen.getvalue()


def test_a_person_can_buy_with_numbers_and_words(games):
    goal = Store(games, "human").goals[0]
    search, *clicks = purchase(games)
    # number 1 of the start page is the search; its words are asked for
    feedback, screen = played(games, ["99", "1", search[len("search[") : -1], *clicks])
    assert (feedback.success, feedback.score) == (True, 1.0)
    assert "there is no action 99" in screen
    assert "solved after" in screen
    assert "score 1.00" in screen
    assert query_of(goal.instruction).split()[0] in screen


@pytest.mark.parametrize("lines", [["q"], [], ["1"]])
def test_a_person_can_leave(games, lines):
    feedback, screen = played(games, lines)
    assert not feedback.done
    assert "not solved after 0 steps, score 0.00" in screen


def test_steps_run_out(games):
    _, screen = played(games, ["search[x]"] * 5, max_steps=2)
    assert "not solved after 2 steps" in screen


def test_play_from_the_command_line(games):
    result = CliRunner().invoke(app, ["play", "webshop", "--games", str(games)], input="search[sofas]\nq\n")
    assert result.exit_code == 0, result.output
    assert "Total results" in result.output


def test_games_that_are_not_there(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        open_games("webshop", tmp_path / "none")
    with pytest.raises(BadInput, match="unknown benchmark"):
        open_games("chess", tmp_path)


def test_an_evaluation_is_played_again(evaluation, games):
    episode = load_episode(evaluation)
    assert [step.action for step in episode.steps] == purchase(games)
    assert "Total results" in episode.steps[1].observation
    assert episode.outcome == "solved, score 1.00"
    assert episode.warning == ""
    screen = io.StringIO()
    show_episode(episode, Console(file=screen, width=120))
    assert "> click[buy now]" in screen.getvalue()


def test_another_outcome_is_told(evaluation):
    content = json.loads(evaluation.read_text())
    content["episodes"][0]["score"] = 0.5
    evaluation.write_text(json.dumps(content))
    episode = load_episode(evaluation)
    assert episode.warning == "recorded solved, score 0.50, now solved, score 1.00"


def test_another_panel_is_refused(evaluation, games):
    write_panel(
        games.parent / "panels" / "test.json", Panel("webshop", "test", (Task("human-00000", "other", "human/0"),))
    )
    with pytest.raises(BadInput, match="another test panel"):
        load_episode(evaluation)


def test_bad_episodes(evaluation, tmp_path):
    with pytest.raises(BadInput, match="has no episode 'human-99999'"):
        load_episode(evaluation, "human-99999")
    elsewhere = tmp_path / "test.json"
    elsewhere.write_text(evaluation.read_text())
    with pytest.raises(BadInput, match="lies in no folder of results"):
        load_episode(elsewhere)
    elsewhere.write_text("{}")
    with pytest.raises(BadInput, match="is not an evaluation"):
        load_episode(elsewhere)


@pytest.mark.parametrize(
    "content",
    [
        {"episodes": 48, "benchmark": "webshop", "panel": "test", "panel_sha256": "0"},
        {"episodes": [1], "benchmark": "webshop", "panel": "test", "panel_sha256": "0"},
        {"episodes": [{"task_id": "a"}], "benchmark": "webshop", "panel": "test", "panel_sha256": "0"},
        {"episodes": []},
        [1],
    ],
)
def test_a_file_without_episodes_is_no_evaluation(tmp_path, content):
    path = tmp_path / "all.json"
    path.write_text(json.dumps(content))
    with pytest.raises(BadInput, match="is not an evaluation; give an evaluation's JSON"):
        load_episode(path)


def test_ids_are_listed_and_near_ones_named(tmp_path):
    step = Step("seen", ("a",), "", "a")
    names = ["pick-1", "cool-1", "cool-2", "heat-1"]
    corpus = [Trajectory(name, "webshop", "h/0", "task", "toys", "oracle", True, (step,)) for name in names]
    write_trajectories(tmp_path / "t.jsonl", corpus)
    listed = CliRunner().invoke(app, ["replay", str(tmp_path / "t.jsonl"), "--list"])
    assert listed.output == "".join(f"{name}\tsolved\n" for name in names)
    with pytest.raises(BadInput, match=r"'cool'; did you mean cool-1 or cool-2\? --list shows all 4"):
        load_episode(tmp_path / "t.jsonl", "cool")
    with pytest.raises(BadInput, match=r"'haet-1'; did you mean heat-1\? --list"):
        load_episode(tmp_path / "t.jsonl", "haet-1")
    with pytest.raises(BadInput, match=r"'#'; --list shows all 4"):
        load_episode(tmp_path / "t.jsonl", "#")


class Echo:
    """A shop whose every text is the same."""

    def __init__(self, text):
        self.task = text
        self.reset = lambda: Feedback(text, (text,))
        self.step = lambda action: Feedback(text, (text,), done=True)


def test_the_terminal_obeys_nothing_of_an_episode(tmp_path):
    hostile = "\x1b]0;gotcha\x07[/][bold]\x9b2J"
    step = Step(f"{hostile}\nnext line", (hostile,), hostile, hostile)
    trajectory = Trajectory("a", "webshop", "human/0", hostile, "toys", "oracle", True, (step,))
    write_trajectories(tmp_path / "t.jsonl", [trajectory])
    for options in ([], ["--list"]):
        result = CliRunner().invoke(app, ["replay", str(tmp_path / "t.jsonl"), *options], env={"COLUMNS": "120"})
        assert result.exit_code == 0, result.output
        assert not {"\x1b", "\x07", "\x9b"} & set(result.output)
        assert options or result.output.count(r"\x1b]0;gotcha\x07[/][bold]\x9b2J") == 4
    screen = io.StringIO()
    play_episode(Echo(hostile), 2, iter([hostile]).__next__, Console(file=screen, width=120))
    assert "\x1b" not in screen.getvalue()
    assert screen.getvalue().count(r"[/][bold]\x9b2J") == 5


def test_a_trajectory_as_a_page_with_all_texts_escaped(tmp_path):
    hostile = "<script>alert(1)</script> & 'x'"
    step = Step(f"{hostile} [SEP] next", ("click[<b>]",), hostile, "click[<b>]")
    trajectory = Trajectory("a", "webshop", "human/0", hostile, "toys", "oracle", True, (step,))
    write_trajectories(tmp_path / "t.jsonl", [trajectory, replace(trajectory, id="b")])
    result = CliRunner().invoke(
        app, ["replay", str(tmp_path / "t.jsonl"), "--task", "b", "--html", str(tmp_path / "page.html")]
    )
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 4  # the task twice: it is the page's name too
    assert "click[&lt;b&gt;]" in page
    assert "b, played by oracle" in page
    for loader in ("http:", "https:", "src=", "url("):
        assert loader not in page


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_is_cut_at_neither_width(tmp_path, width):
    word = "x" * 300
    step = Step(f"{word} [SEP] next", (word,), word, word)
    write_trajectories(tmp_path / "t.jsonl", [Trajectory(word, "webshop", word, word, "toys", "oracle", True, (step,))])
    page = tmp_path / "page.html"
    write_page(load_episode(tmp_path / "t.jsonl"), page)
    assert measure(page, width, tmp_path) == Measured(width, 0, "")


def test_a_page_is_called_as_its_task(evaluation, tmp_path):
    episode = load_episode(evaluation)
    write_page(episode, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert f"<title>{escape(episode.task)}</title>" in page
    assert f"<h1>{escape(episode.task)}</h1>\n<p>webshop: human-00000 of " in page


def test_a_page_of_an_evaluation_is_the_same_every_time(evaluation, tmp_path):
    for name in ("a", "b"):
        write_page(load_episode(evaluation), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "The end" in (tmp_path / "a").read_text()


def test_games_open_by_name(games):
    assert isinstance(open_games("webshop", games), WebshopGames)
