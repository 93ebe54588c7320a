"""The benchmarks: what the workflow, the prompts and the tables ask about each. Adding one begins with an entry here.

This is data alone. The classes are named, not imported: `prism.environments.load_data` and the environments' processes
load them.
"""

from __future__ import annotations

from dataclasses import dataclass

from prism.core.errors import BadInput

GENERATED, DATASET = "generated", "dataset"


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        title: its name in print.
        environments: ``module:class`` of its environments, made with ``data_dir``.
        data: ``module:class`` of a `prism.environments.base.BenchmarkData`: how its tasks and trajectories are made.
        role: first sentence of the full prompt.
        fallback_characters: characters of a reply without action tags that are sent to the environment.
        panels: evaluation panels; the first is that of its one number in Table 4.
        measure: that number: ``success`` or ``score``.
        paper_column: the paper's column of it in Table 4; empty where the paper has none.
        solved: measure of a solved task: ``success``, or ``full_score`` where success is a score of exactly 1.
        task_types: types of task that have columns of their own in Table 1.
        sizes: section of its config that says how many tasks there are for each panel.
        sizes_of_dataset: whether that section also divides released data, or only counts generated tasks.
        in_processes: whether its experts play in several processes: an episode takes seconds, not milliseconds.
        game_files: whether a task's game is a file in the data folder.
        training_games: what names of training games begin with; empty where a name does not tell.
        eto_file: its file of ETO's expert conversations; empty where ETO has none.
        refusal: the whole observation after an action that had no effect; empty where the environment has no such text.
        search_actions: pattern of the actions that look for something, not those that act on it.
    """

    title: str
    environments: str
    data: str
    role: str
    fallback_characters: int
    panels: tuple[str, ...]
    measure: str = "success"
    paper_column: str = ""
    solved: str = "success"
    task_types: tuple[str, ...] = ()
    sizes: str = "games"
    sizes_of_dataset: bool = False
    in_processes: bool = False
    game_files: bool = False
    training_games: str = ""
    eto_file: str = ""
    refusal: str = ""
    search_actions: str = ""


BENCHMARKS = {
    "webshop": Benchmark(
        title="WebShop",
        environments="prism.environments.webshop.environment:WebshopGames",
        data="prism.environments.webshop.data:WebshopData",
        role="You shop in an online store, one search or click at a time.",
        fallback_characters=20,  # verl-agent's, as ALFWorld's
        panels=("test",),
        measure="score",
        paper_column="webshop_score",
        solved="full_score",
        sizes="split",
        sizes_of_dataset=True,
        eto_file="webshop_sft.json",
        search_actions=r"search\[|click\[(next >|< prev|back to search)\]",
    ),
    "alfworld": Benchmark(
        title="ALFWorld",
        environments="prism.environments.alfworld.engine:AlfworldGames",
        data="prism.environments.alfworld.data:AlfworldData",
        role="You act in a simulated household, one text command at a time.",
        fallback_characters=30,
        panels=("seen", "unseen"),
        paper_column="alfworld_sr",
        task_types=("pick", "look", "clean", "heat", "cool", "pick2"),
        in_processes=True,
        game_files=True,
        training_games="train/",
        eto_file="alfworld_sft.json",
        refusal="Nothing happens.",
        search_actions=r"(go to|open|examine|look)\b",
    ),
}


def find_benchmark(name: str, place: object = "benchmark") -> Benchmark:
    """The benchmark of a name.

    Raises:
        BadInput: there is none; names `place`.
    """
    if name not in BENCHMARKS:
        raise BadInput(place, f"unknown benchmark {name!r}", f"use one of {', '.join(sorted(BENCHMARKS))}")
    return BENCHMARKS[name]
