"""The table of docs/protocol.md that says which differences the design finds: experiments drawn, put to the real test.

`python scripts/protocol_power.py` writes it between its two marks: seeded, some minutes.
"""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

from prism.core.comparisons import POWER
from prism.core.power import Outcomes

PAGE = Path(__file__).resolve().parents[1] / "docs/protocol.md"
MARKS = re.compile(r"(<!-- power -->\n).*?(<!-- end of power -->\n)", re.DOTALL)
# both panels of 200, one of them
TASKS = (400, 200)
SEEDS = (3, 5)
# points; not measured beforehand: the runs themselves show it
SCATTER = (1.5, 2.5, 4)
RATE, TASK_SD = 0.5, 1.5
# one question alone, and the smallest p value of the family of four after Holm
LEVELS = {"alone": 0.05, "strictest of Holm's four": 0.05 / 4}


def table() -> str:
    """Smallest difference found with power 0.8, a row a panel and spread of trainings, in points."""
    columns = [f"{seeds} seeds, {name}" for seeds, name in product(SEEDS, LEVELS)]
    lines = [f"| tasks | trainings scatter by | {' | '.join(columns)} |", f"|{' --- |' * (2 + len(columns))}"]
    for tasks, scatter in product(TASKS, SCATTER):
        found = [
            Outcomes(seeds, tasks, RATE, TASK_SD, scatter / 100).detectable(POWER, alpha)
            for seeds, alpha in product(SEEDS, LEVELS.values())
        ]
        shown = " | ".join("-" if gain is None else f"{100 * gain:.1f}" for gain in found)
        lines.append(f"| {tasks} | {scatter:g} | {shown} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table into the page."""
    made = table()
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(MARKS.sub(lambda found: found[1] + made + found[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
