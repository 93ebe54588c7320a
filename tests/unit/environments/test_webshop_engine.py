"""Sessions, environment, generated catalog, oracle shopper, panels."""

import itertools
import json
import random

import pytest

pytest.importorskip("thefuzz", reason="thefuzz is in the lock of the environment; without it WebShop cannot run")

from prism.core.errors import BadInput
from prism.core.files import sha256_file
from prism.core.recipes import build_recipe
from prism.core.trajectories import read_trajectories
from prism.environments.base import read_panel
from prism.environments.webshop import pages, rewards
from prism.environments.webshop.data import (
    StoreRecipe,
    WebshopPanelRecipe,
    WebshopTrajectoriesRecipe,
    WebshopTranscriptsRecipe,
)
from prism.environments.webshop.environment import GoalSplit, WebshopEnvironment, WebshopGames
from prism.environments.webshop.generator import CatalogRecipe
from prism.environments.webshop.goals import Goal
from prism.environments.webshop.products import Product
from prism.environments.webshop.rewards import score_purchase
from prism.environments.webshop.shopper import Rejection, query_of, shop, shop_hastily
from prism.environments.webshop.store import Store
from prism.stages.games import make_catalog, make_games
from prism.stages.panels import make_panel
from prism.stages.trajectories import CorpusFiles, collect_trajectories, collect_transcripts

SPLIT = GoalSplit(test=20, dev=10)


@pytest.fixture(autouse=True)
def _title_words_for_nouns(monkeypatch):
    """Loading the tagger takes seconds; the conformance tests cover it."""
    monkeypatch.setattr(rewards, "nouns", lambda title: tuple(title.lower().split()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("webshop")
    make_catalog("webshop", folder / "catalog", CatalogRecipe(products=96, seed=5))
    make_games(
        "webshop",
        folder / "catalog",
        folder / "store",
        StoreRecipe(seed=3, goals=("human", "synthetic"), tagged_titles=0),
    )
    return folder


@pytest.fixture
def store(folder):
    return Store(folder / "store", "human")


@pytest.fixture
def environment(store):
    return WebshopEnvironment(store, 0)


def test_catalog_is_deterministic_and_broad(folder, tmp_path):
    make_catalog("webshop", tmp_path / "again", CatalogRecipe(products=96, seed=5))
    make_catalog("webshop", tmp_path / "other", CatalogRecipe(products=96, seed=6))
    for name in ("items_shuffle.json", "items_ins_v2.json", "items_human_ins.json"):
        first = sha256_file(folder / "catalog" / name)
        assert first == sha256_file(tmp_path / "again" / name)
        assert first != sha256_file(tmp_path / "other" / name)
    rows = json.loads((folder / "catalog" / "items_shuffle.json").read_text())
    assert len({row["category"] for row in rows}) >= 8
    assert any(row["pricing"] == "" for row in rows)
    assert any(row["pricing"].count("$") == 2 for row in rows)


def test_store_is_deterministic_and_says_that_files_are_not_the_published_ones(folder, tmp_path):
    make_games(
        "webshop",
        folder / "catalog",
        tmp_path / "store",
        StoreRecipe(seed=3, goals=("human", "synthetic"), tagged_titles=0),
    )
    files = sorted(path.relative_to(folder / "store") for path in (folder / "store").rglob("*") if path.is_file())
    assert all(sha256_file(folder / "store" / name) == sha256_file(tmp_path / "store" / name) for name in files)
    assert "not the published file: items_shuffle.json" in Store(folder / "store", "human").manifest["warnings"]


def test_titles_are_tagged_once_when_a_small_catalog_is_compiled(tmp_path, monkeypatch):
    make_catalog("webshop", tmp_path / "catalog", CatalogRecipe(products=5, seed=1))
    make_games("webshop", tmp_path / "catalog", tmp_path / "small", StoreRecipe(seed=1, tagged_titles=5))
    make_games("webshop", tmp_path / "catalog", tmp_path / "large", StoreRecipe(seed=1, tagged_titles=4))
    tagged = json.loads((tmp_path / "small" / "nouns.json").read_text())["titles"]
    assert set(tagged) == {Store(tmp_path / "small", "human").product(place).title for place in range(5)}
    assert not (tmp_path / "large" / "nouns.json").exists()
    monkeypatch.undo()
    monkeypatch.setattr(rewards, "_TAGGED", {})
    monkeypatch.setattr(rewards, "_noun_pipeline", lambda: pytest.fail("the tagger was loaded"))
    rewards.nouns.cache_clear()
    Store(tmp_path / "small", "human")
    for title, nouns in tagged.items():
        assert rewards.nouns(title) == tuple(nouns)
    rewards.nouns.cache_clear()


def test_nouns_of_another_tagger_are_not_used(tmp_path, monkeypatch):
    make_catalog("webshop", tmp_path / "catalog", CatalogRecipe(products=5, seed=1))
    monkeypatch.setattr(rewards, "_TAGGED", {})
    make_games("webshop", tmp_path / "catalog", tmp_path / "store", StoreRecipe(seed=1))
    path = tmp_path / "store" / "nouns.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tagger": "another 1.0"}))
    Store(tmp_path / "store", "human")
    assert rewards._TAGGED == {}


def test_broken_catalog_leaves_no_store(folder, tmp_path):
    catalog = tmp_path / "catalog"
    make_catalog("webshop", catalog, CatalogRecipe(products=5, seed=1))
    text = (catalog / "items_shuffle.json").read_text()
    (catalog / "items_shuffle.json").write_text(text[: len(text) // 2])
    with pytest.raises(BadInput, match="breaks off after item"):
        make_games("webshop", catalog, tmp_path / "store", StoreRecipe(seed=1, tagged_titles=0))
    assert [path.name for path in tmp_path.iterdir()] == ["catalog"]


def test_instructions_for_unknown_products_are_not_used(folder, tmp_path):
    catalog = tmp_path / "catalog"
    make_catalog("webshop", catalog, CatalogRecipe(products=5, seed=1))
    path = catalog / "items_human_ins.json"
    told = json.loads(path.read_text())
    goals = sum(len(texts) for texts in told.values())
    told["B999999999"] = [{"instruction": "x", "instruction_attributes": ["y"], "instruction_options": []}]
    path.write_text(json.dumps(told))
    make_games("webshop", catalog, tmp_path / "store", StoreRecipe(seed=1, tagged_titles=0))
    assert len(Store(tmp_path / "store", "human").goals) == goals


def test_what_does_nothing(environment):
    first = environment.reset()
    for action in (
        "",
        "search[]",
        "click[buy now]",
        "click[search]",
        "Click[x]",
        "think",
        "search[a\nb]",
        " search[a]",
    ):
        assert environment.step(action) == first


def test_pages_of_results(environment, store):
    environment.reset()
    feedback = environment.step("search[sofas rugs dog beds chairs shirts]")
    total = int(feedback.observation.split("Total results: ")[1].split(")")[0])
    seen = []
    for number in itertools.count(1):
        assert f"Page {number} (Total results: {total})" in feedback.observation
        listed = [action for action in feedback.admissible if action.startswith("click[b0")]
        if not listed:
            break
        seen += listed
        feedback = environment.step("click[next >]")
    assert len(seen) == len(set(seen)) == total <= store.results


def test_options_leave_the_page_as_it_is_and_count_at_the_checkout(environment, store):
    goal = store.goals[0]
    environment.reset()
    environment.step(f"search[{goal.name}]")
    page = environment.step(f"click[{goal.asin.lower()}]")
    for option in goal.options:
        assert environment.step(f"click[{option}]").observation == page.observation
    end = environment.step("click[buy now]")
    assert (end.done, end.success, end.score) == (True, True, 1.0)
    assert end.admissible == ()
    assert environment.step("search[more]") == end
    assert not environment.reset().done


def test_only_a_full_score_is_a_success(store):
    index = next(index for index, goal in enumerate(store.goals) if goal.options)
    environment, goal = WebshopEnvironment(store, index), store.goals[index]
    environment.reset()
    environment.step(f"search[{goal.name}]")
    environment.step(f"click[{goal.asin.lower()}]")
    end = environment.step("click[buy now]")
    assert end.done
    assert 0 < end.score < 1
    assert not end.success


def test_observation_starts_after_the_instruction(environment):
    assert environment.reset().observation == "'Search'"
    feedback = environment.step("search[sofas]")
    assert feedback.observation.startswith("'Back to Search' [SEP] 'Page 1")
    assert environment.task not in feedback.observation


def test_random_search_repeats(environment):
    environment.reset()
    first = environment.step("search[<r>]")
    environment.reset()
    assert environment.step("search[<r>]") == first
    assert environment.step("search[<r>]") != first


def test_games_by_name(folder):
    games = WebshopGames(folder / "store")
    assert games.open("synthetic/3").task == Store(folder / "store", "synthetic").goals[3].instruction
    for name in ("human/x", "human", "other/1", "human/100000"):
        with pytest.raises(BadInput):
            games.open(name)


def test_blank_text_as_html_parsing_leaves_it():
    product = Product("A", " \n ", "", ("", "b"), "$1.0", (1.0,), {"size": ("a ",)}, (), "c", "q", "p")
    text = pages.results_page("find", [product], 1, 1).observation
    assert text.endswith("Next > [SEP] A [SEP] $1.0")
    assert pages.sub_page("find", product, "Features").observation.endswith("< Prev [SEP]  [SEP] b")
    assert "a " in pages.item_page("find", product).clickables


def test_option_named_like_a_button_takes_its_place_but_not_its_work():
    product = Product("A", "t", "", ("b",), "$1.0", (1.0,), {"x": ("buy now", "red"), "y": ("red",)}, (), "c", "q", "p")
    clickables = pages.item_page("find", product).clickables
    assert list(clickables).index("buy now") == 5
    assert clickables["red"].option == "y"


def test_reward_of_wrong_price_and_kind():
    def product(title, query, path):
        return Product("A", title, "d", ("b",), "$1.0", (1.0,), {}, ("easy clean",), "c", query, path)

    def goal(**changes):
        base = {"asin": "A", "query": "mugs", "name": "blue mug", "product_category": "x › y", "price_upper": 10.0}
        return Goal.from_record({**base, "attributes": ["easy clean"], "goal_options": [], **changes})

    mug = product("blue mug", "mugs", "x › y")
    assert score_purchase(mug, 5.0, {}, goal()).total == 1.0
    assert score_purchase(mug, 10.01, {}, goal()).total == 0.5
    assert score_purchase(product("red hat", "hats", "z"), 5.0, {}, goal()).total == 0.0
    other = product("blue a b c d", "hats", "z")
    assert score_purchase(other, 5.0, {}, goal(name="blue e f g h")).type_score == 0.5
    assert score_purchase(other, 5.0, {}, goal(name="blue e f g h i j k l m n")).type_score == 0.1


@pytest.mark.parametrize(
    ("instruction", "query"),
    [
        ("i am looking for a red mug, size 5' 3\" x 7', and price lower than 50.00 dollars", "red mug size 5' 3 x 7'"),
        ("find me non slip rugs", "non slip rugs"),
        ("I'm looking for chips & salsa", "chips & salsa"),
    ],
)
def test_query_from_instruction(instruction, query):
    assert query_of(instruction) == query


def collect(folder, out, **changes):
    recipe = {"goals": "human", "max_steps": 15, "seed": 0, "split": {"test": 20, "dev": 10}, **changes}
    collect_trajectories(
        "webshop",
        folder / "store",
        CorpusFiles(out, out.with_suffix(".json")),
        build_recipe(WebshopTrajectoriesRecipe, recipe, "test"),
    )
    return read_trajectories(out), json.loads(out.with_suffix(".json").read_text())


def test_oracle_shopper_does_only_what_the_page_offers(folder, tmp_path):
    corpus, manifest = collect(folder, tmp_path / "a.jsonl")
    assert len(corpus) + sum(manifest["rejected"].values()) == manifest["goals"]
    assert len(corpus) > 0.9 * manifest["goals"]
    for trajectory in corpus:
        assert trajectory.success
        assert all(step.thought for step in trajectory.steps)
        search, *clicks = trajectory.steps
        assert all(word in trajectory.task.lower() for word in search.action[len("search[") : -1].split())
        assert all(step.action in step.admissible for step in clicks)
    again, _ = collect(folder, tmp_path / "b.jsonl")
    assert again == corpus


def test_oracle_shopper_opens_the_first_product_that_is_right(store):
    """No product listed before the one it opens would have given a full score."""
    for index in range(40):
        goal = store.goals[index]
        steps = shop(WebshopEnvironment(store, index), goal, 15)
        opening = next(step for step in steps if step.action.startswith("click[b0"))
        for action in opening.admissible[: opening.admissible.index(opening.action)]:
            position = store.position(action[len("click[") : -1].upper())
            if position is not None:
                product = store.product(position)
                chosen = {
                    name: want for name, values in product.options.items() for want in goal.options if want in values
                }
                assert score_purchase(product, store.price(position), chosen, goal).total < 1.0


def test_unreached_goals_are_rejected_with_their_reason(store, folder, tmp_path):
    environment, goal = WebshopEnvironment(store, 0), store.goals[0]
    assert shop(environment, goal, 1) == Rejection("too many steps")
    unknown = Goal(**{**goal.__dict__, "attributes": ("that nobody sells",)})
    assert shop(environment, unknown, 15) == Rejection("not found")
    index = next(index for index, goal in enumerate(store.goals) if goal.options)
    unasked = Goal(**{**store.goals[index].__dict__, "options": ()})
    assert shop(WebshopEnvironment(store, index), unasked, 15) == Rejection("score")
    with pytest.raises(BadInput, match="the expert solved no task"):
        collect(folder, tmp_path / "none.jsonl", max_steps=1)


def test_splits_are_disjoint_for_every_seed(folder, tmp_path):
    for goals in ("human", "synthetic"):
        store = Store(folder / "store", goals)
        parts = [set(SPLIT.indices(part, len(store.goals))) for part in ("test", "dev", "train")]
        assert set.union(*parts) == set(range(len(store.goals)))
        assert sum(map(len, parts)) == len(store.goals)
    for seed in range(10):
        corpus, _ = collect(folder, tmp_path / f"{seed}.jsonl", seed=seed, max_goals=15)
        recipe = WebshopPanelRecipe("human", size=10, seed=seed, split=SPLIT)
        make_panel("webshop", folder / "store", "train", tmp_path / "train.json", recipe, tmp_path / f"{seed}.jsonl")
        make_panel("webshop", folder / "store", "test", tmp_path / "test.json", recipe)
        train, test = read_panel(tmp_path / "train.json"), read_panel(tmp_path / "test.json")
        assert len(test.tasks) == 10
        assert {task.id for task in train.tasks} == {trajectory.id for trajectory in corpus}
        assert not {task.game for task in train.tasks} & {task.game for task in test.tasks}
        store = Store(folder / "store", "human")
        told = [
            {store.goals[int(task.game.split("/")[1])].instruction for task in panel.tasks} for panel in (train, test)
        ]
        assert not told[0] & told[1]


def test_benchmark_division_by_default():
    split = GoalSplit()
    assert split.indices("test", 12_087) == range(500)
    assert split.indices("dev", 12_087) == range(500, 1500)
    assert split.indices("train", 12_087) == range(1500, 12_087)
    with pytest.raises(BadInput, match="leave none for training"):
        split.indices("train", 1500)


def test_random_transcripts(folder, tmp_path):
    recipe = WebshopTranscriptsRecipe("human", tasks=5, episodes=2, max_steps=6, seed=1, split=SPLIT)
    collect_transcripts("webshop", folder / "store", tmp_path / "r.jsonl", recipe)
    corpus = read_trajectories(tmp_path / "r.jsonl")
    assert len(corpus) == 10
    assert all(len(trajectory.steps) <= 6 for trajectory in corpus)


def test_a_hasty_shopper_plays_some_departments_well_or_not(folder, tmp_path):
    recipe = WebshopTranscriptsRecipe("human", 12, 2, 6, 1, SPLIT, "expert", 0.4, ("fashion", "tools"))
    collect_transcripts("webshop", folder / "store", tmp_path / "r.jsonl", recipe)
    corpus = read_trajectories(tmp_path / "r.jsonl")
    assert len(corpus) == 24
    assert {trajectory.task_type for trajectory in corpus} == {"fashion", "tools"}
    assert {trajectory.expert for trajectory in corpus} == {"oracle"}
    assert {trajectory.success for trajectory in corpus} == {True, False}
    assert all(len(trajectory.steps) <= 6 for trajectory in corpus)


def test_a_hasty_shopper_without_noise_is_the_expert(store):
    for index, goal in enumerate(store.goals[:30]):
        environment = WebshopEnvironment(store, index)
        shown = shop(environment, goal, 8)
        steps, success = shop_hastily(environment, goal, 8, 0.0, random.Random(0))
        if isinstance(shown, Rejection):
            assert not success
        else:
            assert (steps, success) == (shown, True)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (StoreRecipe, {"seed": 1, "goals": ["robot"]}),
        (StoreRecipe, {"seed": 1, "rows": -1}),
        (StoreRecipe, {"seed": 1, "tagged_titles": -1}),
        (CatalogRecipe, {"products": 0, "seed": 1}),
    ],
)
def test_bad_recipes(kind, values):
    with pytest.raises(BadInput):
        build_recipe(kind, values, "--recipe")
