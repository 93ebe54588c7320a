"""What cells, tables and the comparison are made of: the files of a run that a config asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from prism.core.benchmarks import BENCHMARKS
from prism.core.detours import DETOUR
from prism.core.figures import compared_methods
from prism.core.methods import COUNTED, build_methods, column_and_variant
from prism.core.paper_tables import TABLE1_PANELS, TABLE2_PANEL, TABLE4_PANELS, TABLES
from prism.core.recipes import json_text
from prism.core.results import VARIANTS, Results
from prism.core.splits import RANDOM
from prism.core.study_tables import STUDY_TABLES
from prism.data_inputs import corpus_source
from prism.earlier_run import EarlierRun, packed_name
from prism.settings import ETO, StageRecipes

# the method that Table 3's speed-ups are relative to
BASELINE = "grpo"
# what the claims are about, as far as it is made of evaluations
COMPARED = {"tables": ("table1", "table2", "table4"), "figures": ("figure3", "figure4")}


def row_pattern(table: str, prefix: str = "", between: str = "/") -> str:
    """The wildcards of a job of a table, as they stand in its paths: a row's, or one cell's in Table 4."""
    keys = TABLES[table].row if table != "table4" else (*TABLES[table].row, "benchmark")
    return between.join(f"{{{prefix}{key}}}" for key in keys)


def cell_patterns(table: str) -> list[str]:
    """The cells that a job writes, below ``{table}/``."""
    columns = [""] if table == "table4" else [f"/{column}" for column in TABLES[table].columns]
    return [f"{row_pattern(table)}{column}.json" for column in columns]


def benchmarks_of(target: Mapping[str, Any]) -> list[str]:
    """The benchmarks of a table or figure, from its section of the config: several, or a single one."""
    return target["benchmarks"] if "benchmarks" in target else [target["benchmark"]]


class TableInputs:
    """Files behind the tables of a config.

    A job's row is named by the wildcards of `row_pattern`: the keys of the table's row, and the benchmark of a cell of
    Table 4.

    Args:
        config: the whole config.
        results: the folder of results, as the files are asked for.
        earlier: a run whose records count as made; left out: none.
    """

    def __init__(self, config: Mapping[str, Any], results: Results, earlier: EarlierRun | None = None):
        self.config, self.results, self.earlier = config, results, earlier
        self.methods, self.recipes = build_methods(config["methods"]), StageRecipes(config)

    def recorded(self, path: Path) -> Path | None:
        """The record of a result in an earlier run; None where there is none."""
        return self.earlier and self.earlier.find(self.results.relative(path))

    def as_made(self, path: Path) -> Path:
        """A result, or in its place the record of an earlier run as long as this run has none of its own.

        What is read in its place is never copied to it: so a result that is there was made here, and stays.
        """
        recorded = self.recorded(path)
        return recorded if recorded and not Path(self._written(path)).exists() else path

    def packed_evaluation(self, **played: str) -> Path:
        """The record of an evaluation in an earlier run; a name of no file where there is none."""
        recorded = self.recorded(self.results.evaluation(**played))
        return packed_name(recorded or Path("not-recorded", *played.values()))

    def benchmarks(self, table: str) -> list[str]:
        """The benchmarks of a table."""
        return benchmarks_of(self.target(table))

    def target(self, table: str) -> Mapping[str, Any]:
        """The section of a table; the tables about the scores share one."""
        return self.config["tables"]["score_study" if table in STUDY_TABLES else table]

    def products(self) -> list[Path]:
        """The tables and figures that the config asks for."""
        targets = self.config["targets"]
        return [*map(self.results.table, targets["tables"]), *map(self.results.figure, targets["figures"])]

    def everything(self) -> list[Path]:
        """Splits, evaluations and cells of those tables, so that one that was deleted is made again.

        Snakemake does not look for an intermediate file as long as what was made from it is up to date.
        """
        tables = [table for table in self.config["targets"]["tables"] if table in TABLES]
        return [path for table in tables for path in self._behind(table)]

    def _behind(self, table: str) -> list[Path]:
        return [*self.splits(table), *self.evaluations(table), *self.cells(table)]

    def certificate(self, records: str) -> list[Path]:
        """The certificate of this run, where a run of its scale is recorded."""
        # a run that goes on from records is not compared with them
        recorded = Path(records, "manifest.json").is_file() and self.earlier is None
        return [self.results.certificate("json")] if recorded else []

    def whole_run(self) -> list[Path]:
        """Everything that a plain `snakemake` makes."""
        results = self.results
        pictures = [results.figure(name, "png") for name in self.config["targets"]["figures"]]
        pages = [results.summary, results.comparison, results.index_page, results.crate]
        return [*self.products(), *pictures, *pages, *self.everything(), *self.prompt_lengths()]

    def splits(self, table: str) -> list[Path]:
        """The splits that a table's methods rest on."""
        target = self.config["tables"][table]
        cases = product(self.benchmarks(table), target["backbones"], target["methods"], self.config["seeds"])
        found = set()
        for benchmark, backbone, name, seed in cases:
            run = self.methods[name].at_seed(seed)
            for subset in (run.sft, run.rl):
                found.update(self.results.split(subset, benchmark, backbone))
        return sorted(found)

    def checkpoint(self, method: str, benchmark: str, backbone: str, seed: int | str) -> Path:
        """The model that a method ends with."""
        return self.results.checkpoint(self.methods[method], benchmark, backbone, seed)

    def evaluations_of(self, benchmark: str, backbone: str, method: str, panel: str) -> list[Path]:
        """A method's evaluations on one panel, one a seed."""
        return [self.results.evaluation(benchmark, backbone, method, seed, panel) for seed in self.config["seeds"]]

    def evaluations(self, table: str) -> list[Path]:
        """The evaluations that a table is made of; Table 3 is made of run times."""
        if table == "table3":
            return []
        benchmarks = self.benchmarks(table) if table == "table4" else [""]
        rows = [{**row, "benchmark": benchmark} for row in self.rows(table) for benchmark in benchmarks]
        return [path for row in rows for path in self.measured(table, row)]

    def rows(self, table: str) -> list[dict[str, str]]:
        """A table's rows in the table's order, each by what names it."""
        target, keys = self.config["tables"][table], TABLES[table].row
        known = {
            "split": TABLE1_PANELS,
            "backbone": target["backbones"],
            "benchmark": self.benchmarks(table),
            "method": target["methods"],
        }
        return [dict(zip(keys, row, strict=True)) for row in product(*(known[key] for key in keys))]

    def cells(self, table: str, columns: Sequence[str] = ()) -> list[Path]:
        """A table's cells, row by row in the order of the table; `columns` restricts them."""
        columns = columns or (self.benchmarks(table) if table == "table4" else list(TABLES[table].columns))
        return [
            self.results.cell(table, *row.values(), column=column) for row in self.rows(table) for column in columns
        ]

    def tested_cells(self, table: str) -> list[Path]:
        """The cells whose methods are compared in pairs."""
        return self.cells(table, () if table == "table4" else TABLES[table].tested)

    def measured(self, table: str, row: Mapping[str, str]) -> list[Path]:
        """What a job's cells are made from: a method's evaluations, or what was timed."""
        if table == "table3":
            return self.timed(row["benchmark"], row["method"])
        if table == "table4":
            benchmark, panel = row["benchmark"], TABLE4_PANELS[row["benchmark"]]
        else:
            benchmark, panel = self.config["tables"][table]["benchmark"], row.get("split", TABLE2_PANEL)
        return self.evaluations_of(benchmark, self._backbone(table, row), row["method"], panel)

    def _backbone(self, table: str, row: Mapping[str, str]) -> str:
        """The backbone of a row; tables without such a key show one alone."""
        return row.get("backbone") or self.config["tables"][table]["backbones"][0]

    def cell_recipe(self, table: str, row: Mapping[str, str]) -> str:
        """What a job's cells are told, as JSON."""
        method, backbone = self.methods[row["method"]], self._backbone(table, row)
        sft, rl = method.shares()
        recipe = {
            "table": table,
            "row": {key: row[key] for key in TABLES[table].row},
            "backbone": backbone,
            "stands_for": self.config["backbones"][backbone].get("stands_for", backbone),
            "method": {"sft": method.sft or "", "rl": method.rl or "", "algorithm": method.algorithm or ""},
            "sft": sft,
            "rl": rl,
            "scale": self.config["scale"],
            "columns": [row["benchmark"]] if table == "table4" else [],
            "settings": self._timing_settings(row["benchmark"]) if table == "table3" else {},
        }
        return json_text(recipe)

    def _timing_settings(self, benchmark: str) -> dict[str, str]:
        """What a run time depends on besides the data: how RL's steps are counted, and the hardware."""
        settings = self.recipes.rl(benchmark, BASELINE)
        threads = settings.threads
        hardware = f"CPU, {threads} thread{'s' if threads > 1 else ''} of torch"
        if settings.platform == "gpu":
            hardware = f"{settings.gpus} GPUs on {settings.nodes} node(s)"
        count = settings.epochs if settings.steps_rule == "epochs" else settings.steps
        return {"steps_rule": f"{settings.steps_rule} ({count})", "hardware": hardware}

    def decisive(self) -> list[Path]:
        """The evaluations that the run's decision is read from."""
        target = self.config["tables"]["decision"]
        places = product(target["backbones"], compared_methods(target), BENCHMARKS[target["benchmark"]].panels)
        return [path for place in places for path in self.evaluations_of(target["benchmark"], *place)]

    def decision_recipe(self) -> str:
        """What the decision is told, as JSON."""
        target = self.config["tables"]["decision"]
        return json_text({key: target[key] for key in ("seeds", "margin", "questions", "checks")})

    def norms(self, benchmark: str, backbone: str, of: str = "") -> list[Path]:
        """All shards of the gradient norms, of the run's own probe or of a variant (or one of `probe_endings`)."""
        if of:
            return self.variant_norms(of.removeprefix(VARIANTS), benchmark, backbone)
        return list(map(self.as_made, self.results.norms(benchmark, backbone, self.config["probe"]["shards"])))

    def probe_endings(self) -> str:
        """What a folder of scores ends with, as a wildcard's constraint: nothing, or a variant of the probe."""
        return "|".join(["", *(f"{VARIANTS}{name}" for name in self.config["probe"]["variants"])])

    def variants(self, backbone: str) -> list[str]:
        """The variants of the probe that a backbone is probed under."""
        variants = self.config["probe"]["variants"]
        return [name for name, own in variants.items() if backbone in own.get("backbones", [backbone])]

    def variant_norms(self, variant: str, benchmark: str, backbone: str) -> list[Path]:
        """The gradient norms under a variant of the probe: all shards, or the one that stands for the corpus."""
        part = self.config["probe"]["variants"][variant].get("one_in", 1)
        shards = part if part > 1 else self.config["probe"]["shards"]
        norms = self.results.variant_norms(variant, benchmark, backbone, shards)
        return list(map(self.as_made, norms[:1] if part > 1 else norms))

    def probed_model(self, benchmark: str, backbone: str, variant: str = "") -> Path:
        """The model that is probed: the backbone, or what a variant's method made of it under the first seed."""
        after = self.config["probe"]["variants"].get(variant, {}).get("after")
        if not after:
            return self.results.backbone(backbone)
        return self.checkpoint(after, benchmark, backbone, self.config["seeds"][0])

    def scored(self, table: str) -> list[Path]:
        """The score tables of a table's benchmarks and backbones."""
        cases = product(self.benchmarks(table), self.target(table)["backbones"])
        return [self.results.scores(*case) for case in cases]

    def reprobed(self) -> list[Path]:
        """The two probes that the table of re-probing compares: of the backbone, then of a variant."""
        target = self.config["tables"]["reprobe"]
        (backbone,), (variant,) = target["backbones"], target["variants"]
        place = target["benchmark"], backbone
        return [*self.norms(*place), *self.variant_norms(variant, *place)]

    def pass_rate_shards(self, benchmark: str, backbone: str) -> list[Path]:
        """All shards of the counted rollouts."""
        shards = self.config["pass_rates"]["shards"]
        return list(map(self.as_made, self.results.pass_rate_shards(benchmark, backbone, shards)))

    def _probed(self, benchmark: str, backbone: str, method: str) -> tuple[list[Path], list[Path]]:
        """What makes a method's split before any training: gradient norms, or pass rates, or neither."""
        scores = self.methods[method].scores
        probes = {column_and_variant(score)[1] for score in scores - {RANDOM, DETOUR, *COUNTED}}
        return (
            [path for variant in sorted(probes) for path in self.norms(benchmark, backbone, variant)],
            self.pass_rate_shards(benchmark, backbone) if scores & {*COUNTED} else [],
        )

    def timed(self, benchmark: str, method: str) -> list[Path]:
        """What a row of Table 3 is the cost of, and GRPO's runs that it is compared with."""
        (backbone,) = self.config["tables"]["table3"]["backbones"]
        outputs = [path for paths in self._probed(benchmark, backbone, method) for path in paths]
        names = [name for name in (method, BASELINE) if name in self.methods and self.methods[name].rl]
        for seed in self.config["seeds"]:
            run = self.methods[method].at_seed(seed)
            if run.sft:
                outputs.append(self.as_made(self.results.initial(run.init, benchmark, backbone, seed)))
            outputs += [self.as_made(self.checkpoint(name, benchmark, backbone, seed)) for name in names]
        return list(dict.fromkeys(outputs))

    def timing_option(self, row: Mapping[str, str]) -> list[str]:
        """The option that tells a command where the times of a row of Table 3 lie."""
        return ["--files", json_text(self.timing_files(row["benchmark"], row["method"]))]

    def timing_files(self, benchmark: str, method: str) -> dict[str, Any]:
        """The benchmark files of `timed` and the trainings' folders, as `prism.stages.timings.TimingFiles` has them."""
        (backbone,) = self.config["tables"]["table3"]["backbones"]
        seeds = {}
        for seed in self.config["seeds"]:
            run = self.methods[method].at_seed(seed)
            initial = self.as_made(self.results.initial(run.init, benchmark, backbone, seed)) if run.sft else None
            trained = self.as_made(self.results.checkpoint(run, benchmark, backbone, seed)) if run.rl else None
            known = BASELINE in self.methods
            compared = self.as_made(self.checkpoint(BASELINE, benchmark, backbone, seed)) if known else None
            seeds[seed] = {
                "sft": self._time(initial),
                "rl": self._time(trained),
                "initial": self._written(initial),
                "checkpoint": self._written(trained),
                "baseline": self._time(compared),
                "baseline_checkpoint": self._written(compared),
            }
        probe, rollouts = ([self._time(path) for path in paths] for paths in self._probed(benchmark, backbone, method))
        return {"probe": probe, "rollouts": rollouts, "seeds": seeds}

    def _time(self, output: Path | None) -> str:
        """Where Snakemake writes the run time of the job that makes an output, or has written it; empty for none."""
        if output and self.earlier and self.earlier.holds(output):
            return str(self.earlier.results.times_of(output)[0])
        return self._written(self.results.times_of(output)[0]) if output else ""

    def _written(self, path: Path | None) -> str:
        """A path with the config's own folder of results, as a command takes it; empty for none.

        That of a record is one already.
        """
        if path and self.earlier and self.earlier.holds(path):
            return str(path)
        return str(Path(self.config["results"], self.results.relative(path))) if path else ""

    def compared_evaluations(self) -> list[Path]:
        """Every evaluation that a claim may compare methods in: those of this run's tables and figures."""
        found = set()
        for name, target in self._compared().items():
            for benchmark in benchmarks_of(target):
                panels = BENCHMARKS[benchmark].panels
                methods = compared_methods(target)
                cases = product(target["backbones"], methods, panels[:1] if name == "table4" else panels)
                for backbone, method, panel in cases:
                    found.update(self.evaluations_of(benchmark, backbone, method, panel))
        return sorted(found)

    def _compared(self) -> dict[str, Any]:
        """The tables and figures of this run that a claim compares methods in."""
        targets = self.config["targets"]
        return {name: self.config[kind][name] for kind in COMPARED for name in COMPARED[kind] if name in targets[kind]}

    def comparison_recipe(self) -> str:
        """What the comparison with the paper is told of this run, as JSON."""
        shown = {**self.config["tables"], **self.config["figures"]}
        targets = self.config["targets"]
        recipe = {
            "scale": self.config["scale"],
            "targets": targets["tables"] + targets["figures"],
            "backbones": {name: own["backbones"] for name, own in shown.items() if "backbones" in own},
        }
        if "decision" in targets["tables"]:
            recipe["decided"] = len(self.config["seeds"]) >= self.config["tables"]["decision"]["seeds"]
        return json_text(recipe)

    def compared_probes(self) -> dict[str, list[Path]]:
        """What claims about the scores rest on beside tables, if this run draws Figure 5: by kind of file."""
        target = self.config["figures"]["figure5"]
        drawn = "figure5" in self.config["targets"]["figures"]
        places = list(product(target["benchmarks"], target["backbones"])) if drawn else []
        norms = [path for place in places for path in self.norms(*place)]
        return {"norms": norms, "consensus": [self.results.consensus(*place) for place in places]}

    def built(self, table: str) -> list[Path]:
        """A table's file, if this run builds it."""
        return [self.results.table(table)] if table in self.config["targets"]["tables"] else []

    def claimed(self) -> list[Path]:
        """The tables of this run that claims are about beside its evaluations."""
        return [path for name in ("table3", "appendix_g", *STUDY_TABLES) for path in self.built(name)]

    def plays_eto(self, benchmark: str) -> bool:
        """Whether the corpus of a benchmark is ETO's, rather than a file of the user's or our own expert's."""
        return corpus_source(self.config["benchmarks"][benchmark]) == ETO

    def prompt_lengths(self) -> list[Path]:
        """How many prompts of ETO's conversations are too long; our own experts' rooms and stores are small."""
        return sorted(
            {
                self.results.prompt_lengths(benchmark, backbone)
                for table in self.config["targets"]["tables"]
                for benchmark in filter(self.plays_eto, self.benchmarks(table))
                for backbone in self.target(table)["backbones"]
            }
        )
