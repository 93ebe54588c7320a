"""The page that a person opens first: a run's tables, figures, cost and versions, in one HTML file that asks nobody."""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import prism
from prism.core.csv_files import SIZES, is_numeric, read_table, rounded, size_in_words
from prism.core.errors import BadInput
from prism.core.figures import FIGURES
from prism.core.files import read_json, write_text
from prism.core.paper_tables import GROUP_COLUMNS
from prism.core.progress import say
from prism.core.results import PATTERNS, Results
from prism.core.run_times import duration
from prism.core.study_tables import STUDY_TABLES
from prism.core.versions import installed_version
from prism.stages.page_templates import render_page
from prism.stages.tables import scale_note

PACKAGES = ("torch", "transformers", "llamafactory", "verl", "ray", "textworld", "alfworld", "snakemake")
TITLES = {
    "table1": "Table 1: ALFWorld",
    "table2": "Table 2: WebShop",
    "table3": "Table 3: training time",
    "table4": "Table 4: concentration or magnitude",
    "appendix_g": "Appendix G: normalised norms",
    "decision": "What this run decides",
    "reprobe": "Probed again after SFT: who changes sides",
    **{name: table.title for name, table in STUDY_TABLES.items()},
    **{name: figure.title for name, figure in FIGURES.items()},
}
FORMATS = ("csv", "md", "tex")
# what else a finished run may hold, and what it is
MORE_FILES = {
    "comparison.md": "claim by claim, this run beside the paper",
    "claims.json": "the same for machines",
    "report.html": "Snakemake's report: rules, code and run times",
    "ro-crate-metadata.json": "provenance as a Workflow Run RO-Crate",
    PATTERNS["summary"]: "seconds and memory by rule",
}
LOW, HIGH = "_low", "_high"
SVG_WIDTH = re.compile(r'<svg [^>]*?width="([0-9.]+)pt"')
PIXELS_PER_POINT, ENLARGED = 96 / 72, 1.4


@dataclass(frozen=True)
class PageCell:
    """One field of a table: its text, what is shown on hover, and the file of the cell it came from."""

    text: str
    hover: str = ""
    link: str = ""


@dataclass(frozen=True)
class PageColumn:
    """A column of a table: its heading, and whether it holds numbers."""

    heading: str
    is_numeric: bool


@dataclass(frozen=True)
class PageTable:
    """A table of the page.

    Attributes:
        files: its files by ending: csv, and md and tex where they are.
        notes: of its file; each in pieces of (text, link), the link empty where there is nothing to follow.
        groups: rows in groups of (heading, rows).
    """

    name: str
    title: str
    files: dict[str, str]
    notes: tuple[tuple[tuple[str, str], ...], ...]
    columns: tuple[PageColumn, ...]
    groups: tuple[tuple[str, tuple[tuple[PageCell, ...], ...]], ...]


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page, `pixels` wide; its files by ending, relative to the page."""

    name: str
    title: str
    caption: str
    pixels: int
    files: dict[str, str]


@dataclass(frozen=True)
class Shown:
    """What a run is, and the names of its tables and figures that the page shows."""

    tables: tuple[str, ...]
    figures: tuple[str, ...]
    scale: str
    seeds: tuple[int, ...]


def build_index_page(results: Path, shown: Shown, captions: Path, out: Path) -> None:
    """Write the page of a finished run; links are relative to `results`.

    Args:
        results: the run's folder, with ``tables/``, ``cells/``, ``figures/`` and ``benchmarks/summary.csv``.
        captions: folder of the captions, ``{table or figure}.rst``.

    Raises:
        BadInput: a table, a figure or the summary is missing.
    """
    page = {
        "scale": shown.scale,
        "note": scale_note(shown.scale),
        "seeds": ", ".join(map(str, shown.seeds)),
        "version": prism.__version__,
        "versions": _versions(),
        "tables": [_page_table(Results(results), name) for name in shown.tables],
        "figures": [_page_figure(Results(results), name, captions) for name in shown.figures],
        "cost": _cost(Results(results).summary),
        "files": [(name, what) for name, what in MORE_FILES.items() if (results / name).exists()],
        "results": Path(results).as_posix(),
    }
    write_text(out, render_page("index.html.jinja", page))
    say(f"index page: {len(shown.tables)} tables, {len(shown.figures)} figures")


def _page_table(results: Results, name: str) -> PageTable:
    table = read_table(results.table(name))
    notes, frame = table.head, pd.DataFrame(table.rows, columns=table.columns)
    cells = _cells_by_column(results, name)
    group = next((column for column in GROUP_COLUMNS if column == frame.columns[0]), None)
    sizes = [column for column in SIZES if column in frame and group and _is_shared(frame, group, column)]
    hidden = {group, *sizes}
    shown = [column for column in frame.columns if column not in hidden and not _is_bound(column, frame.columns)]
    texts = pd.DataFrame({column: rounded(list(frame[column])) for column in frame})
    groups: dict[str, list[tuple[PageCell, ...]]] = {}
    for row, text in zip(frame.to_dict("records"), texts.to_dict("records"), strict=True):
        heading = ", ".join([row[group], *(size_in_words(size, row[size]) for size in sizes)]) if group else ""
        fields = tuple(_page_cell(row, text, column, cells) for column in shown)
        groups.setdefault(heading, []).append(fields)
    return PageTable(
        name,
        TITLES.get(name, name),
        {ending: results.relative(file) for ending in FORMATS if (file := results.table(name, ending)).exists()},
        tuple(_linked(note, results) for note in notes),
        tuple(PageColumn(column.replace("_", " "), is_numeric(list(frame[column]))) for column in shown),
        tuple((heading, tuple(rows)) for heading, rows in groups.items()),
    )


def _is_shared(frame: pd.DataFrame, group: str, column: str) -> bool:
    """Whether the rows of every group have the same value."""
    return bool((frame.groupby(group)[column].nunique() == 1).all())


def _linked(note: str, results: Results) -> tuple[tuple[str, str], ...]:
    """A note in pieces of (text, link): names of tables that are there lead to them."""
    pieces = re.split(r"([\w-]+\.csv)", note)
    tables = [results.table(piece.removesuffix(".csv")) for piece in pieces]
    return tuple((piece, results.relative(table) if number % 2 and table.exists() else "")
                 for number, (piece, table) in enumerate(zip(pieces, tables, strict=True)))  # fmt: skip


def _is_bound(column: str, columns: Sequence[str]) -> bool:
    """Whether a column is an end of another one's interval: it is shown on hover."""
    return any(column.endswith(end) and column.removesuffix(end) in columns for end in (LOW, HIGH))


def _cells_by_column(results: Results, table: str) -> dict[str, list[tuple[dict[str, Any], str]]]:
    """Cells of a table as (cell, path relative to the results), by column."""
    cells: dict[str, list[tuple[dict[str, Any], str]]] = {}
    for path in results.cells_of(table):
        cell = read_json(path)
        cells.setdefault(cell["column"], []).append((cell, results.relative(path)))
    return cells


def _page_cell(
    row: dict[str, str], text: dict[str, str], column: str, cells: dict[str, list[tuple[dict[str, Any], str]]]
) -> PageCell:
    """A field; `row` has the file's texts, `text` what is shown of them."""
    for cell, link in cells.get(column, ()):
        if all(row.get(key) == value for key, value in cell["row"].items()):
            percent = cell["value"] is not None and cell["unit"].endswith("percent")
            return PageCell(f"{cell['value']:.1f}" if percent else text[column], _describe_cell(cell), link)
    low, high = text.get(column + LOW), text.get(column + HIGH)
    hover = f"95% interval {low} to {high}" if low and high else ""
    return PageCell(text[column], hover)


def _describe_cell(cell: dict[str, Any]) -> str:
    """Unit, interval, size and the paper's value of a cell, in one line."""
    if cell["value"] is None:
        return "not measured"
    parts = [cell["unit"]]
    interval = cell["interval"]
    if interval:
        level = f"{100 * interval['level']:.0f}%"
        parts.append(f"{level} interval {interval['low']:.1f} to {interval['high']:.1f} ({interval['method']})")
    if cell["episodes"]:
        parts.append(f"{cell['episodes']} episodes")
    parts.append(f"{len(cell['seeds'])} seed{'s' if len(cell['seeds']) > 1 else ''}")
    if cell["paper"]["value"] is not None:
        parts.append(f"paper: {cell['paper']['value']}")
    return "; ".join(parts)


def _page_figure(results: Results, name: str, captions: Path) -> PageFigure:
    path = results.figure(name)
    if not path.exists():
        raise BadInput(path, "is missing", "build it with its rule")
    caption = Path(captions) / f"{name}.rst"
    text = caption.read_text(encoding="utf-8").strip() if caption.exists() else ""
    files = {ending: results.relative(results.figure(name, ending)) for ending in ("svg", "png")}
    return PageFigure(name, TITLES.get(name, name), text, _screen_width(path), files)


def _screen_width(svg: Path) -> int:
    """Width on the screen: figures are drawn at the size of print, where letters may be smaller."""
    match = SVG_WIDTH.search(svg.read_text(encoding="utf-8"))
    if match is None:
        raise BadInput(svg, "has no width", "build it with its rule")
    return round(float(match[1]) * PIXELS_PER_POINT * ENLARGED)


def _cost(summary: Path) -> dict[str, Any]:
    """Seconds and memory by rule, the share of the longest for the bars, and the totals."""
    try:
        table = pd.read_csv(summary)
        longest = table["seconds"].max()
        rows = [
            {
                "rule": row["rule"],
                "jobs": int(row["jobs"]),
                "time": duration(row["seconds"]),
                "memory": "" if pd.isna(row["peak_mib"]) else f"{row['peak_mib']:.0f}",
                "percent": round(100 * row["seconds"] / longest, 1) if longest else 0.0,
            }
            for row in table.to_dict("records")
        ]
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(summary, "is not a summary of run times", "build it with its rule") from error
    return {
        "rows": rows,
        "jobs": int(table["jobs"].sum()),
        "time": duration(table["seconds"].sum()),
        "memory": f"{table['peak_mib'].max():.0f}",
    }


def _versions() -> list[tuple[str, str]]:
    """Versions of what the run rests on, as installed where the page is made; nothing of it is imported."""
    installed = ((package, installed_version(package)) for package in PACKAGES)
    return [("Python", platform.python_version()), *(found for found in installed if found[1])]
