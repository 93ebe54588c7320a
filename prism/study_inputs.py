"""What the tables about the scores are made of: the files of a run that a config asks for, and what is said of them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from prism.core.methods import COUNTED
from prism.core.recipes import json_text
from prism.core.study_tables import STUDY_TABLES
from prism.table_inputs import TableInputs

# settings of a probe that a variant may change, one aspect of the routing each
ASPECTS = ("layout", "loss_on", "dtype")
PROMPT, MODEL = "prompt", "model"


class StudyInputs:
    """Files and settings of one table about the scores.

    Args:
        name: one of `STUDY_TABLES`.
        run: the config, its recipes and where everything lies.
    """

    def __init__(self, name: str, run: TableInputs):
        self.table, self.run = STUDY_TABLES[name], run
        self.target = run.config["tables"]["score_study"]

    def files(self) -> dict[str, list[Path]]:
        """The files that the table is made from, by kind."""
        return {kind: getattr(self, f"_{kind}")() for kind in self.table.inputs}

    def settings(self) -> str:
        """As JSON: what each variant changes, and what the scores are made with; empty for a table without variants."""
        if "variants" not in self.table.inputs:
            return "{}"
        changes = {
            variant: {name: change for name in self.target["benchmarks"] if (change := self._change(variant, name))}
            for variant in self.target["variants"]
        }
        return json_text({"changes": changes, "epsilon": self.run.config["scores"]["epsilon"]})

    def _places(self) -> list[tuple[str, str]]:
        return list(product(self.target["benchmarks"], self.target["backbones"]))

    def _scores(self) -> list[Path]:
        return [self.run.results.scores(*place) for place in self._places()]

    def _consensus(self) -> list[Path]:
        return [self.run.results.consensus(*place) for place in self._places()]

    def _norms(self) -> list[Path]:
        return [path for place in self._places() for path in self.run.norms(*place)]

    def _facts(self) -> list[Path]:
        return [self.run.results.facts(name) for name in self.target["benchmarks"]]

    def _labels(self) -> list[Path]:
        return [self.run.results.corpus_manifest(name) for name in self.target["benchmarks"]]

    def _memory(self) -> list[Path]:
        """On the first benchmark alone: what a pass needs depends on a text's length, not on what it says."""
        return [self.run.results.memory(self.target["benchmarks"][0], name) for name in self.target["backbones"]]

    def _variants(self) -> list[Path]:
        """Norms under the variants that change something, for the backbones that are probed under them."""
        return [
            path
            for variant in self.target["variants"]
            for benchmark, backbone in self._places()
            if variant in self.run.variants(backbone) and self._change(variant, benchmark)
            for path in self.run.variant_norms(variant, benchmark, backbone)
        ]

    def _change(self, variant: str, benchmark: str) -> list[str]:
        """What a variant changes on a benchmark: aspect, the run's own way, the variant's; nothing where they agree."""
        base, other = (self.run.recipes.probe(benchmark, name) for name in ("", variant))
        changed = {name: (getattr(base, name), getattr(other, name)) for name in ASPECTS}
        changed[PROMPT] = tuple(f"{one.prompt.style}, {one.prompt.history}" for one in (base, other))
        after = self.run.config["probe"]["variants"][variant].get("after", "")
        changed[MODEL] = ("untrained", f"after {after}" if after else "untrained")
        changed = {name: ways for name, ways in changed.items() if ways[0] != ways[1]}
        if not changed:
            return []
        return [" + ".join(changed), *(", ".join(ways) for ways in zip(*changed.values(), strict=True))]

    def _pass_rates(self) -> list[Path]:
        """Of the places for which a table of this run has them counted."""
        counted = self._counted()
        return [self.run.results.pass_rates(*place) for place in self._places() if place in counted]

    def _counted(self) -> set[tuple[str, str]]:
        """Every (benchmark, backbone) with a method, in a table of this run, that is routed by pass rates."""
        config, found = self.run.config, set()
        for name in config["targets"]["tables"]:
            target = self.run.target(name)
            if any(self.run.methods[method].scores & {*COUNTED} for method in target.get("methods", [])):
                found |= set(product(self.run.benchmarks(name), target["backbones"]))
        return found
