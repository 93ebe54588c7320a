"""A table's frame as CSV for programs, Markdown for the screen and LaTeX (booktabs) for print."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from prism.core.paper_tables import TABLES
from prism.stages.tables.frames import Shown, TableFrame
from prism.stages.tables.notes import scale_note

NOTHING = "n/a"
_LATEX_SPECIAL = {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "$": r"\$"}


@dataclass(frozen=True)
class Markup:
    """How a format writes bold text, a dagger and its own special characters."""

    bold: Callable[[str], str]
    dagger: str
    escape: Callable[[str], str]


def _escape_latex(text: str) -> str:
    return "".join(_LATEX_SPECIAL.get(character, character) for character in text)


MARKDOWN = Markup(lambda text: f"**{text}**", "†", lambda text: text.replace("|", r"\|"))
LATEX = Markup(lambda text: rf"\textbf{{{text}}}", r"$^{\dagger}$", _escape_latex)


def title_of(table: TableFrame) -> str:
    """``Table 1: what it shows``."""
    return f"Table {table.table.removeprefix('table')}: {TABLES[table.table].title}"


def as_csv(table: TableFrame, scale: str) -> str:
    """The frame with the scale, and what it means, in the leading ``#`` lines."""
    heading = title_of(table).replace(":", ",", 1)
    head = [f"# {heading}. {scale_note(scale)}", *(f"# {note}" for note in table.notes)]
    body = table.frame.to_csv(index=False, float_format="%.2f", lineterminator="\n")
    return "\n".join(head) + "\n" + body


def as_markdown(table: TableFrame, scale: str) -> str:
    """The shown columns, a section for every group."""
    lines = [f"# {title_of(table)}", "", f"**{scale_note(scale)}.**", "", " ".join((*table.notes, table.marks))]
    text = shown_frame(table, MARKDOWN)
    for name, block in _groups(table):
        if name:
            episodes = _episodes(block)
            lines += ["", f"## {name}{episodes}"]
        lines += ["", text.loc[block.index].to_markdown(index=False, disable_numparse=True, colalign=_alignment(table))]
    return "\n".join(lines) + "\n"


def as_latex(table: TableFrame, scale: str) -> str:
    r"""A table environment with booktabs' rules; needs ``\usepackage{booktabs}``."""
    text = shown_frame(table, LATEX)
    text.columns = [LATEX.escape(header) for header in text.columns]
    if table.group:
        names = [LATEX.escape(name) for name in table.frame[table.group]]
        shown = [name if index == 0 or names[index - 1] != name else "" for index, name in enumerate(names)]
        text.insert(0, table.group.capitalize(), shown)
    left = 2 if table.group else 1
    latex = text.style.hide(axis="index").to_latex(
        hrules=True,
        column_format="l" * left + "r" * (len(text.columns) - left),
        caption=LATEX.escape(f"{title_of(table)}. {scale_note(scale)}. {' '.join((*table.notes, table.marks))}"),
        label=f"tab:{table.table}",
        position="t",
        position_float="centering",
    )
    return f"% {title_of(table)}. {scale_note(scale)}\n" + _rules_between_groups(latex, table)


def shown_frame(table: TableFrame, markup: Markup) -> pd.DataFrame:
    """Texts of the shown columns, marked up; rows as in the frame."""
    best = {column.value: _best(table, column) for column in table.shown if column.best}
    return pd.DataFrame(
        {
            column.header: [
                _text(record, column, markup, index in best.get(column.value, ()))
                for index, record in zip(table.frame.index, table.frame.to_dict("records"), strict=True)
            ]
            for column in table.shown
        },
        index=table.frame.index,
    )


def _text(record: dict, column: Shown, markup: Markup, best: bool) -> str:
    value = record[column.value]
    if value is None or pd.isna(value):
        return NOTHING
    if column.digits is None:
        return markup.escape(str(value))
    text = f"{value:.{column.digits}f}"
    text = markup.bold(text) if best else text
    text += markup.dagger if record.get(column.dagger) == "yes" else ""
    low, high = (record.get(f"{column.interval}_{side}") for side in ("low", "high"))
    if column.interval and pd.notna(low):
        # both ends: Wilson's interval is not symmetric about the value
        text += f" [{low:.{column.digits}f}, {high:.{column.digits}f}]"
    return text


def _best(table: TableFrame, column: Shown) -> set[int]:
    """Rows with the highest value of their group; none where that is 0."""
    best: set[int] = set()
    for _, block in _groups(table):
        values = block[column.value].astype(float)
        best |= set(values[(values == values.max()) & (values > 0)].index)
    return best


def _groups(table: TableFrame) -> list[tuple[str, pd.DataFrame]]:
    if not table.group:
        return [("", table.frame)]
    return [(str(name), block) for name, block in table.frame.groupby(table.group, sort=False)]


def _episodes(block: pd.DataFrame) -> str:
    if "episodes" not in block or block["episodes"].nunique() != 1:
        return ""
    return f" ({block['episodes'].iloc[0]} episodes a method)"


def _alignment(table: TableFrame) -> list[str]:
    return ["left" if column.value == "method" else "right" for column in table.shown]


def _rules_between_groups(latex: str, table: TableFrame) -> str:
    r"""A ``\midrule`` before the first row of every group but the first."""
    lines = latex.splitlines()
    first = lines.index(r"\midrule") + 1
    starts = [block.index[0] for _, block in _groups(table)][1:]
    for row in reversed(starts):
        lines.insert(first + row, r"\midrule")
    return "\n".join(lines) + "\n"
