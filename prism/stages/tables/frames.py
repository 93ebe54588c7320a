"""One data frame a table: what the CSV holds, and how its columns are shown to people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prism.core.paper_tables import TABLE1_COLUMNS, TABLE3_COLUMNS, TABLES
from prism.core.run_times import duration
from prism.stages.tables.cellfiles import Cells, read_rows


@dataclass(frozen=True)
class Shown:
    """A column as Markdown and LaTeX show it.

    Attributes:
        header: its heading.
        value: the frame's column.
        digits: decimals; None for a text.
        interval: name that the columns ``{name}_low`` and ``{name}_high`` begin with; in brackets after it.
        best: the highest value of a group is bold.
        dagger: the frame's column that says ``yes`` where a dagger stands.
    """

    header: str
    value: str
    digits: int | None = None
    interval: str = ""
    best: bool = False
    dagger: str = ""


@dataclass(frozen=True)
class TableFrame:
    """A table as data.

    Attributes:
        group: the frame's column whose values part it into blocks; empty for none.
        notes: what a reader must know, one sentence each.
        marks: what bold text and daggers mean, for the formats that have them.
    """

    table: str
    frame: pd.DataFrame
    shown: tuple[Shown, ...]
    group: str
    notes: tuple[str, ...]
    marks: str


def build_frame(table: str, cells: Iterable[Path], tests: pd.DataFrame | None, scale: str) -> TableFrame:
    """Put a table together from its cells and its tests.

    Args:
        tests: the frame of `prism.stages.tables.comparisons`; None for a table without tests.

    Raises:
        BadInput: a cell is missing from a row, or was made at another scale.
    """
    rows = read_rows(table, cells, scale)
    layout = TABLES[table]
    records = []
    for row, by_column in rows.items():
        named = dict(zip(layout.row, row, strict=True))
        marks = _marks(layout.references[0], named, tests) if tests is not None else {}
        first = next(iter(by_column.values()))
        records.append({**named, "sft": first["sft"], "rl": first["rl"], **_BUILDERS[table](by_column, marks)})
    frame = pd.DataFrame(records)
    first = next(iter(next(iter(rows.values())).values()))
    shown = tuple(column for column in _SHOWN[table] if column.value in frame)
    return TableFrame(
        table, frame, shown, layout.row[0] if len(layout.row) > 1 else "", _notes(table, first), _marks_note(table)
    )


def _marks(reference: str, named: Mapping[str, str], tests: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Holm's p and the verdict of one row against the dagger's reference, by column."""
    chosen = tests[tests["reference"] == reference]
    for key, value in named.items():
        chosen = chosen[chosen[key] == value]
    return {test["column"]: {"p_holm": f"{test['p_holm']:.4g}", "significant": test["significant"]}
            for test in chosen.to_dict("records")}  # fmt: skip


def _bounds(cell: Mapping[str, Any], name: str) -> dict[str, float | None]:
    interval = cell["interval"] or {"low": None, "high": None}
    return {f"{name}_low": interval["low"], f"{name}_high": interval["high"]}


def _verdict(marks: Mapping[str, Mapping[str, str]], column: str, name: str) -> dict[str, str]:
    mark = marks.get(column, {"p_holm": "", "significant": ""})
    return {f"{name}_p_holm": mark["p_holm"], f"{name}_significant": mark["significant"]}


def _table1(cells: Cells, marks: Mapping[str, Any]) -> dict[str, Any]:
    whole = cells["all"]
    return {
        **{column: cells[column]["value"] for column in TABLE1_COLUMNS},
        **_bounds(whole, "all"),
        "episodes": whole["episodes"],
        "seeds": len(whole["seeds"]),
        "paper_all": whole["paper"]["value"],
        **_verdict(marks, "all", "all"),
    }


def _table2(cells: Cells, marks: Mapping[str, Any]) -> dict[str, Any]:
    rate, score = cells["sr"], cells["score"]
    return {
        "sr": rate["value"],
        **_bounds(rate, "sr"),
        "score": score["value"],
        **_bounds(score, "score"),
        "episodes": rate["episodes"],
        "seeds": len(rate["seeds"]),
        "paper_sr": rate["paper"]["value"],
        "paper_score": score["paper"]["value"],
        **_verdict(marks, "sr", "sr"),
        **_verdict(marks, "score", "score"),
        "paper_backbone": rate["paper"]["backbone"],
    }


def _table3(cells: Cells, marks: Mapping[str, Any]) -> dict[str, Any]:
    phases = TABLE3_COLUMNS[:-1]
    total = cells["total"]
    return {
        **{f"{phase}_seconds": cells[phase]["value"] for phase in phases},
        "speedup": cells["speedup"]["value"],
        **{f"{phase}_loop_seconds": cells[phase]["loop"] for phase in phases},
        "speedup_loop": cells["speedup"]["loop"],
        **{f"{phase}_time": duration(cells[phase]["value"]) for phase in phases},
        "total_loop_time": duration(total["loop"]),
        **_bounds(total, "total"),
        "rl_steps": cells["rl"].get("training_steps"),
        "seeds": len(total["seeds"]),
        **{
            f"paper_{name}": cells[phase]["paper"]["value"]
            for phase, name in TABLES["table3"].columns.items()
            if phase in phases and name
        },
        "paper_total_time": duration(total["paper"]["value"]),
        "paper_speedup": cells["speedup"]["paper"]["value"],
    }


def _table4(cells: Cells, marks: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for benchmark, name in TABLES["table4"].columns.items():
        if benchmark in cells:
            row |= {name: cells[benchmark]["value"], **_bounds(cells[benchmark], name)}
            row[f"{benchmark}_episodes"] = cells[benchmark]["episodes"]
    row["seeds"] = len(next(iter(cells.values()))["seeds"])
    row |= {f"paper_{TABLES['table4'].columns[key]}": cell["paper"]["value"] for key, cell in cells.items()}
    for benchmark in cells:
        row |= _verdict(marks, benchmark, TABLES["table4"].columns[benchmark])
    return row


_BUILDERS: dict[str, Callable[[Cells, Mapping[str, Any]], dict[str, Any]]] = {
    "table1": _table1,
    "table2": _table2,
    "table3": _table3,
    "table4": _table4,
}
_SHARES = (Shown("Method", "method"), Shown("SFT %", "sft"), Shown("RL %", "rl"))
_SHOWN = {
    "table1": (
        *_SHARES,
        *(Shown(column.capitalize(), column, 1, best=True) for column in TABLE1_COLUMNS[:-1]),
        Shown("All", "all", 1, "all", best=True, dagger="all_significant"),
        Shown("Paper's All", "paper_all", 2),
    ),
    "table2": (
        *_SHARES,
        Shown("SR", "sr", 1, "sr", best=True, dagger="sr_significant"),
        Shown("Score", "score", 1, "score", best=True, dagger="score_significant"),
        Shown("Paper's SR", "paper_sr", 2),
        Shown("Paper's score", "paper_score", 2),
    ),
    "table3": (
        *_SHARES,
        Shown("Probe", "probe_time"),
        Shown("Rollouts", "rollouts_time"),
        Shown("SFT", "sft_time"),
        Shown("RL", "rl_time"),
        Shown("Total", "total_time"),
        Shown("RL steps", "rl_steps", 0),
        Shown("Speed-up", "speedup", 2, best=True),
        Shown("Loops", "total_loop_time"),
        Shown("Speed-up of the loops", "speedup_loop", 2),
        Shown("Paper's total", "paper_total_time"),
        Shown("Paper's speed-up", "paper_speedup", 2),
    ),
    "table4": (
        *_SHARES,
        Shown("WebShop score", "webshop_score", 1, "webshop_score", best=True, dagger="webshop_score_significant"),
        Shown("ALFWorld SR", "alfworld_sr", 1, "alfworld_sr", best=True, dagger="alfworld_sr_significant"),
        Shown("Paper's score", "paper_webshop_score", 2),
        Shown("Paper's SR", "paper_alfworld_sr", 2),
    ),
}


def _notes(table: str, cell: Mapping[str, Any]) -> tuple[str, ...]:
    """What the table's reader must know, from any of its cells."""
    seeds = f"{len(cell['seeds'])} seed{'s' if len(cell['seeds']) > 1 else ''}"
    backbone = "" if table == "table2" else f"Backbone {cell['backbone']}; "
    if table == "table3":
        settings = cell["config"]
        return (
            f"{backbone}{seeds}, mean. Hardware: {settings['hardware']}; the paper's: 8 A100 (80 GB).",
            f"RL steps rule: {settings['steps_rule']}.",
            "Times are those of whole jobs. Loops: probing, rollouts and training alone, without starting programs and "
            "without hashing and loading the model.",
        )
    how = "Wilson's for rates" if len(cell["seeds"]) == 1 else "of random effects of seeds and tasks"
    paper = "the row's counterpart" if table == "table2" else cell["paper"]["backbone"]
    return (
        f"{backbone}{seeds}; every method on the same fixed panel of tasks; 95% intervals ({how}).",
        f"Paper's values: {paper}, {cell['paper']['source']}.",
        f"Paired tests against {TABLES[table].references[0]} on the same tasks, Holm over the methods: "
        f"{table}_statistics.csv.",
    )


def _marks_note(table: str) -> str:
    if table == "table3":
        return "Bold: fastest."
    reference = TABLES[table].references[0]
    return f"In brackets: 95% interval. Bold: best. Dagger: differs from {reference} (p < 0.05 after Holm)."
