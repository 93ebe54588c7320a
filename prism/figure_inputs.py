"""What figures are drawn from: the files of a run that a config asks for, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

from prism.core.figures import FIGURES, compared_methods
from prism.core.recipes import json_text
from prism.table_inputs import TableInputs, benchmarks_of


class FigureInputs:
    """Files and settings of one figure of a config.

    Args:
        name: one of `FIGURES`.
        run: the config, its methods and where everything lies.
    """

    def __init__(self, name: str, run: TableInputs):
        self.figure, self.run = FIGURES[name], run
        self.target = run.config["figures"].get(name, {})

    def files(self) -> dict[str, list[Path]]:
        """The files that the figure is drawn from, by kind."""
        return {kind: getattr(self, f"_{kind}")() for kind in self.figure.inputs}

    def settings(self) -> str:
        """What the figure is told besides its files, as JSON."""
        methods = self.run.methods
        derived = {
            "shares": {name: int(methods[name].shares()[1]) for name, _ in self._trained()},
            "names": [name for name, _ in self._trained()],
        }
        return json_text({key: derived.get(key) or self.target[key] for key in self.figure.settings})

    def _trained(self) -> list[tuple[str, int]]:
        """Methods that end with RL, by seed."""
        methods = [name for name in compared_methods(self.target) if self.run.methods[name].rl]
        return list(product(methods, self.run.config["seeds"]))

    def _probes(self) -> list[tuple[str, str]]:
        return list(product(benchmarks_of(self.target), self.target["backbones"]))

    def _norms(self) -> list[Path]:
        return [path for place in self._probes() for path in self.run.norms(*place)]

    def _consensus(self) -> list[Path]:
        return [self.run.results.consensus(*place) for place in self._probes()]

    def _scores(self) -> list[Path]:
        return [self.run.results.scores(self.target["benchmark"], name) for name in self.target["backbones"]]

    def _trajectories(self) -> list[Path]:
        return [self.run.results.trajectories(self.target["benchmark"])]

    def _evaluations(self) -> list[Path]:
        """On the first panel of the benchmark."""
        benchmark = self.target["benchmark"]
        panel = next(iter(self.run.config["benchmarks"][benchmark]["panels"]))
        cases = product(self.target["backbones"], compared_methods(self.target))
        return [path for case in cases for path in self.run.evaluations_of(benchmark, *case, panel)]

    def _runs(self) -> list[Path]:
        place = self.target["benchmark"], self.target["backbones"][0]
        return [self.run.as_made(self.run.checkpoint(name, *place, seed)) for name, seed in self._trained()]

    def _tables(self) -> list[Path]:
        return [self.run.results.table(name) for name in self.figure.tables or self.target["tables"]]

    def _times(self) -> list[Path]:
        """Everything else that a run makes: its times are known when it is there."""
        targets = self.run.config["targets"]
        drawn = [name for name in targets["figures"] if "times" not in FIGURES[name].inputs]
        return [*map(self.run.results.table, targets["tables"]), *map(self.run.results.figure, drawn)]


def file_options(files: Mapping[str, Iterable[Any]], times: str) -> list[str]:
    """Files as options of the command; run times lie in Snakemake's benchmark files, which are no outputs.

    Args:
        times: the folder of benchmark files.
    """
    files = {**files, "times": [times]} if "times" in files else files
    return [f"--{kind.replace('_', '-')}={path}" for kind, paths in files.items() for path in paths]
