"""The layout of a folder of results: where the log and the run time of the job lie that made a file.

Logs lie below ``logs`` as the outputs lie below the results, run times below ``benchmarks/{rule}``; a test holds this
against the paths of every job that the workflow plans.
"""

from __future__ import annotations

from pathlib import Path, PurePath

from prism.core.errors import BadInput

# endings of files; a folder's name may hold points too, as Llama-3.1-8B-Instruct does
FILE_ENDINGS = (".json", ".jsonl", ".csv", ".parquet", ".md", ".tex", ".svg", ".png")
# folders whose files are made by a rule of another name
RULES = {"backbones": "backbone", "eval": "evaluate", "gradnorms": "probe", "splits": "split"}
# what a rule that makes a benchmark's data is called after the benchmark
DATA_RULES = {
    "panels": ["panel"],
    "games": ["games", "store"],
    "trajectories": ["trajectories", "eto_trajectories", "corpus"],
}
# tables of which a job makes the cells of a whole row
TABLES_BY_ROW = ("table1", "table2", "table3")


class Results:
    """A folder of results.

    Args:
        root: the folder, as ``results/demo``.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)

    @classmethod
    def around(cls, path: str | Path, folder: str) -> Results:
        """The results that a file lies in, from the folder directly below them.

        Raises:
            BadInput: the file lies in no such folder.
        """
        parts = Path(path).resolve().parts
        if folder not in parts[:-1]:
            raise BadInput(path, f"is not in a folder {folder}", f"give a file of {{results}}/{folder}")
        depth = len(parts) - 1 - parts[::-1].index(folder)
        return cls(Path(*parts[:depth]))

    def relative(self, path: str | Path) -> str:
        """A path as it stands below this folder; one that is not below it, as it is recorded elsewhere, unchanged."""
        path = Path(path)
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.as_posix()

    def log_of(self, path: str | Path) -> Path:
        """The log of the job that made a file or folder."""
        return self.root / "logs" / f"{self._name(path)}.log"

    def time_of(self, path: str | Path) -> Path:
        """Snakemake's benchmark file of the job that made a file or folder; it need not be there."""
        places = self.times_of(path)
        return next((place for place in places if place.is_file()), places[0])

    def times_of(self, path: str | Path) -> list[Path]:
        """Where that file may lie: it is named after the rule, and a benchmark's data are made by one of several."""
        first, *rest = self._name(path).parts
        rules, tail = [RULES.get(first, first)], rest
        if first == "cells":
            rules, tail = [f"{rest[0]}_row" if rest[0] in TABLES_BY_ROW else f"{rest[0]}_cell"], rest[1:]
        elif first == "passrates":
            rules = ["pass_rates" if rest[-1].startswith("shard-") else "pass_rate_table"]
        elif first == "data" and rest[1] == "prompts":
            rules, tail = ["prompt_lengths"], [rest[0], *rest[2:]]
        elif first == "data":
            benchmark, *tail = rest
            rules = [f"{benchmark}_{kind}" for kind in DATA_RULES.get(tail[0], tail[:1])]
            tail = tail[1:] if tail[0] == "panels" else tail
        return [self.root.joinpath("benchmarks", rule, *tail[:-1], f"{tail[-1]}.tsv") for rule in rules]

    def log_of_time(self, path: str | Path) -> Path:
        """The log of the job that a benchmark file timed, of those that Table 3 counts."""
        _, rule, *tail = PurePath(self.relative(path)).parts
        folders = {name: folder for folder, name in RULES.items()} | {"pass_rates": "passrates"}
        return self.root.joinpath("logs", folders.get(rule, rule), *tail).with_suffix(".log")

    def _name(self, path: str | Path) -> PurePath:
        """The path of what a job makes, without a file's ending; of the cells of one row, the row's."""
        name = PurePath(self.relative(path))
        name = name.with_suffix("") if name.suffix in FILE_ENDINGS else name
        return name.parent if name.parts[0] == "cells" and name.parts[1] in TABLES_BY_ROW else name
