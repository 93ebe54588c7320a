"""Names of the tables' panels, rows and columns: what the workflow plans by and the stages fill."""

from __future__ import annotations

from dataclasses import dataclass

from prism.core.benchmarks import BENCHMARKS

TASK_TYPES = BENCHMARKS["alfworld"].task_types
TABLE1_PANELS = BENCHMARKS["alfworld"].panels
# the six task types, then all of them
TABLE1_COLUMNS = (*TASK_TYPES, "all")
TABLE2_COLUMNS = ("sr", "score")
(TABLE2_PANEL,) = BENCHMARKS["webshop"].panels
TABLE3_COLUMNS = ("probe", "rollouts", "sft", "rl", "total", "speedup")
# the paper's column of each; it gives no time of HPT, whose split is made from rollouts
TABLE3_IN_PAPER = {column: f"{column}_seconds" for column in ("probe", "sft", "rl", "total")} | {"speedup": "speedup"}
# the panel of a benchmark's one number in Table 4
TABLE4_PANELS = {name: benchmark.panels[0] for name, benchmark in BENCHMARKS.items()}
REFERENCES = ("sft-then-rl", "hpt", "random")
# a first column that parts a table for people: its value is shown once, as a heading
GROUP_COLUMNS = ("split", "backbone", "benchmark")
# what is published of a version of the paper: numbers, sentences, claims
PUBLISHED_FILES = (
    *("table1.csv", "table2.csv", "table3.csv", "table4.csv", "statements.csv"),
    *("alfworld_tasks.csv", "claims.yaml", "outside.csv", "version.yaml"),
)
# tables whose rows the paper gives for one backbone
PAPER_BACKBONE = "Qwen3-8B"


@dataclass(frozen=True)
class Measure:
    """What a column is the mean of.

    Attributes:
        kind: ``success`` (task solved), ``full_score`` (score exactly 1) or ``score`` (in [0, 1]).
        task_type: the only task type that counts; empty for all.
    """

    kind: str
    task_type: str = ""

    @property
    def unit(self) -> str:
        """The unit of the column's values."""
        return "average score, percent" if self.kind == "score" else "success rate, percent"


def success_of(benchmark: str) -> Measure:
    """A benchmark's success: WebShop's is a score of exactly 1."""
    return Measure(BENCHMARKS[benchmark].solved)


@dataclass(frozen=True)
class TableLayout:
    """One of the paper's tables.

    Attributes:
        title: what it shows.
        row: keys that name a row, in the order of the path of its cells.
        columns: its cells, and the paper's column for each; empty where the paper has none.
        measures: what the columns measure, for the tables made of evaluations.
        tested: columns in which methods are compared.
        references: methods that the others are compared with, the one of the daggers first.
    """

    title: str
    row: tuple[str, ...]
    columns: dict[str, str]
    measures: dict[str, Measure]
    tested: tuple[str, ...] = ()
    references: tuple[str, ...] = ()


TABLES = {
    "table1": TableLayout(
        "ALFWorld, success rate in percent",
        ("split", "method"),
        {column: column for column in TABLE1_COLUMNS},
        {column: Measure("success", "" if column == "all" else column) for column in TABLE1_COLUMNS},
        tested=("all",),
        references=REFERENCES,
    ),
    "table2": TableLayout(
        "WebShop, success rate (share of episodes with score 1) and average score (eq. 8) in percent",
        ("backbone", "method"),
        {column: column for column in TABLE2_COLUMNS},
        {"sr": Measure("full_score"), "score": Measure("score")},
        tested=TABLE2_COLUMNS,
        references=REFERENCES,
    ),
    "table3": TableLayout(
        "wall-clock time of probing, rollouts, SFT and RL, and speed-up against GRPO",
        ("benchmark", "method"),
        {column: TABLE3_IN_PAPER.get(column, "") for column in TABLE3_COLUMNS},
        {},
    ),
    "table4": TableLayout(
        "routing by the size or by the concentration of the gradient: WebShop's average score, ALFWorld's success rate "
        "on seen tasks, in percent",
        ("method",),
        {name: benchmark.paper_column for name, benchmark in BENCHMARKS.items()},
        {name: Measure(benchmark.measure) for name, benchmark in BENCHMARKS.items()},
        tested=tuple(BENCHMARKS),
        references=("magnitude-l2",),
    ),
}
