"""The layout of a folder of results: where everything lies that a run makes, and what a path says of its file.

Rules, stages and tools make and read paths here; the patterns in the rules' outputs are held against it by a test. Logs
lie below ``logs`` as the outputs lie below the results, run times below ``benchmarks/{rule}``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

from prism.core.detours import DETOUR
from prism.core.errors import BadInput
from prism.core.methods import BASE, COUNTED, Method, column_and_variant, parse_slice
from prism.core.splits import RANDOM

# endings of files; a folder's name may hold points too, as Llama-3.1-8B-Instruct does
FILE_ENDINGS = (".json", ".jsonl", ".csv", ".parquet", ".md", ".tex", ".svg", ".png")
# folders whose files are made by a rule of another name
RULES = {
    "backbones": "backbone",
    "eval": "evaluate",
    "gradnorms": "probe",
    "gradnorms_variants": "probe_variant",
    "splits": "split",
}
# the rules of a benchmark's data, and those of which any may have made its trajectories
DATA_RULES = {
    "panels": ["panel"],
    "prompts": ["prompt_lengths"],
    "trajectories": ["expert_trajectories", "eto_trajectories", "corpus"],
}
# folders that a path is placed by
CELLS, EVALUATIONS, FIGURES, TABLES, TIMES = "cells", "eval", "figures", "tables", "benchmarks"
# the files of a finished run by what they are, as patterns below its folder
PATTERNS = {
    "trajectories": "data/*/trajectories.jsonl",
    "facts": "data/*/facts.csv",
    "panels": "data/*/panels/*.json",
    "tables": "tables/*",
    "figures": "figures/*",
    "cells": "cells/**/*.json",
    "evaluations": "eval/**/*.json",
    "scores": "scores/**/*.csv",
    "consensus": "consensus/*/*.json",
    "splits": "splits/**/*.csv",
    "norms": "gradnorms/**/*.parquet",
    "variant_norms": "gradnorms_variants/**/*.parquet",
    "pass_rates": "passrates/**/*.csv",
    "memory": "memory/*/*.json",
    "training_metrics": "rl/**/metrics.csv",
    "sft_losses": "sft/**/loss.csv",
    "certificate": "certificate.*",
    "comparison": "comparison.*",
    "claims": "claims.json",
    "summary": "benchmarks/summary.csv",
    "index_page": "index.html",
}
# what the folders of a probe's variants are called, after what they hold
VARIANTS = "_variants/"
# tables of which a job makes the cells of a whole row
TABLES_BY_ROW = ("table1", "table2", "table3")


class Played(NamedTuple):
    """Which evaluation a file holds."""

    benchmark: str
    backbone: str
    method: str
    seed: int
    panel: str


class Results:
    """A folder of results.

    Args:
        root: the folder, as ``results/demo``; in a rule ``<results>``, which Snakemake fills in.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root)

    def trajectories(self, benchmark: str) -> Path:
        """The corpus."""
        return self.root / f"data/{benchmark}/trajectories.jsonl"

    def corpus_manifest(self, benchmark: str) -> Path:
        """What is counted of the corpus, and, where it has detours, which they are."""
        return self.root / f"data/{benchmark}/trajectories.json"

    def catalog(self, benchmark: str) -> Path:
        """Generated files that games are made from."""
        return self.root / f"data/{benchmark}/catalog"

    def fetched(self, collection: str) -> Path:
        """The record of a download."""
        return self.root / f"fetch/{collection}.json"

    def games(self, benchmark: str) -> Path:
        """The data that a benchmark's environments are made with."""
        return self.root / f"data/{benchmark}/games"

    def panel(self, benchmark: str, name: str) -> Path:
        """A fixed list of tasks."""
        return self.root / f"data/{benchmark}/panels/{name}.json"

    def prompt_lengths(self, benchmark: str, backbone: str) -> Path:
        """How many prompts are too long."""
        return self.root / f"data/{benchmark}/prompts/{backbone}.json"

    def facts(self, benchmark: str) -> Path:
        """What is counted in the corpus: a trajectory a row."""
        return self.root / f"data/{benchmark}/facts.csv"

    def backbone(self, name: str) -> Path:
        """The model that everything starts from."""
        return self.root / f"backbones/{name}"

    def norms(self, benchmark: str, backbone: str, shards: int) -> list[Path]:
        """The gradient norms, one file a shard."""
        folder = self.root / f"gradnorms/{benchmark}/{backbone}"
        return [folder / f"shard-{shard}-of-{shards}.parquet" for shard in range(shards)]

    def variant_norms(self, variant: str, benchmark: str, backbone: str, shards: int) -> list[Path]:
        """The gradient norms under a variant of the probe, one file a shard."""
        folder = self.root / f"gradnorms_variants/{variant}/{benchmark}/{backbone}"
        return [folder / f"shard-{shard}-of-{shards}.parquet" for shard in range(shards)]

    def memory(self, benchmark: str, backbone: str) -> Path:
        """What the probe's memory was measured to be."""
        return self.root / f"memory/{benchmark}/{backbone}.json"

    def scores(self, benchmark: str, backbone: str, variant: str = "") -> Path:
        """The scores that are made from gradient norms, of the run's own probe or of a variant."""
        if variant:
            return self.root / f"scores{VARIANTS}{variant}/{benchmark}/{backbone}.csv"
        return self.root / f"scores/{benchmark}/{backbone}.csv"

    def consensus(self, benchmark: str, backbone: str) -> Path:
        """How far the three metrics agree on what goes to RL."""
        return self.root / f"consensus/{benchmark}/{backbone}.json"

    def pass_rates(self, benchmark: str, backbone: str) -> Path:
        """The scores that are counted from rollouts."""
        return self.root / f"passrates/{benchmark}/{backbone}.csv"

    def pass_rate_shards(self, benchmark: str, backbone: str, shards: int) -> list[Path]:
        """The counted rollouts, one file a shard."""
        folder = self.pass_rates(benchmark, backbone).with_suffix("")
        return [folder / f"shard-{shard}-of-{shards}.csv" for shard in range(shards)]

    def source_of_score(self, score: str, benchmark: str, backbone: str) -> Path:
        """What a score is read from: random numbers need the ids of the corpus alone, a control its labels."""
        if score == DETOUR:
            return self.corpus_manifest(benchmark)
        if score.startswith(f"{RANDOM}-"):
            return self.trajectories(benchmark)
        if score in COUNTED:
            return self.pass_rates(benchmark, backbone)
        return self.scores(benchmark, backbone, column_and_variant(score)[1])

    def split(self, subset: str | None, benchmark: str, backbone: str) -> list[Path]:
        """The split that a subset is a side of; none for the whole corpus, and for a phase that is skipped."""
        part = parse_slice(subset) if subset else None
        return [self.root / f"splits/{benchmark}/{backbone}/{part.score}-{part.rl_percent}.csv"] if part else []

    def initial(self, init: str, benchmark: str, backbone: str, seed: int | str) -> Path:
        """The model that RL starts from: an SFT checkpoint, or the backbone itself."""
        if init == BASE:
            return self.backbone(backbone)
        return self.root / f"sft/{benchmark}/{backbone}/{init}/seed{seed}"

    def checkpoint(self, method: Method, benchmark: str, backbone: str, seed: int | str) -> Path:
        """The model that a method ends with."""
        run = method.at_seed(int(seed))
        if run.rl:
            return self.root / f"rl/{benchmark}/{backbone}/{run.init}--{run.algorithm}--{run.rl}/seed{seed}"
        return self.initial(run.init, benchmark, backbone, seed)

    def evaluation(self, benchmark: str, backbone: str, method: str, seed: int | str, panel: str) -> Path:
        """What a method's model played on a panel."""
        return self.root / f"eval/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json"

    def cell(self, table: str, *row: str, column: str) -> Path:
        """One number of a table."""
        return self.root.joinpath("cells", table, *row, f"{column}.json")

    def table(self, name: str, ending: str = "csv") -> Path:
        """A table, as csv, md or tex."""
        return self.root / f"tables/{name}.{ending}"

    def figure(self, name: str, ending: str = "svg") -> Path:
        """A figure, as svg or png."""
        return self.root / f"figures/{name}.{ending}"

    @property
    def times(self) -> Path:
        """The folder of Snakemake's benchmark files."""
        return self.root / TIMES

    def certificate(self, ending: str) -> Path:
        """Whether the run agrees with the recorded one, as json or md."""
        return self.root / f"certificate.{ending}"

    @property
    def comparison(self) -> Path:
        """The paper's claims beside the run."""
        return self.root / "comparison.md"

    @property
    def index_page(self) -> Path:
        """The page that a person opens first."""
        return self.root / "index.html"

    @property
    def crate(self) -> Path:
        """The provenance of the run."""
        return self.root / "ro-crate-metadata.json"

    @property
    def summary(self) -> Path:
        """Seconds and memory by rule."""
        return self.times / "summary.csv"

    def find(self, *kinds: str) -> list[Path]:
        """The files of a finished run of some kinds (`PATTERNS`), kind by kind in order; hidden ones are left out.

        Snakemake's time stamps are hidden files.
        """
        found = [path for kind in kinds for path in sorted(self.root.glob(PATTERNS[kind]))]
        return [path for path in found if path.is_file() and not path.name.startswith(".")]

    def norms_there(self, benchmark: str, backbone: str, variant: str = "") -> list[Path]:
        """The shards of gradient norms that a finished run holds, of its own probe or of a variant."""
        place = (benchmark, backbone, 1)
        shards = self.variant_norms(variant, *place) if variant else self.norms(*place)
        return sorted(shards[0].parent.glob("shard-*.parquet"))

    def cells_of(self, table: str) -> list[Path]:
        """The cells of a table that a finished run holds."""
        return sorted((self.root / CELLS / table).rglob("*.json"))

    def recorded(self, path: str | Path, folder: str) -> Path:
        """Where a path lies now that a run recorded before its results were moved.

        Args:
            folder: the folder directly below the results that the path is in.
        """
        parts = Path(path).parts
        return self.root.joinpath(*parts[parts.index(folder) if folder in parts else 0 :])

    def work_of(self, folder: str | Path) -> Path:
        """Where a training keeps its checkpoints: outside its output, which Snakemake deletes before a rerun."""
        return self.root / "work" / self.relative(folder)

    @staticmethod
    def training_name(work: Path) -> str:
        """What a service calls a training: the path of its work folder from the stage on."""
        return "/".join(work.relative_to(work.anchor).parts[-5:])

    @staticmethod
    def played(path: str | Path) -> Played:
        """Which evaluation a file holds, as its path names it.

        Raises:
            BadInput: the path is not that of an evaluation.
        """
        path = Path(path)
        seed = path.parent.name.removeprefix("seed")
        if len(path.parts) < 5 or not seed.isdigit():
            raise BadInput(path, "is not .../{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json", "check the path")
        return Played(*path.parts[-5:-2], int(seed), path.stem)

    @staticmethod
    def probed(path: str | Path) -> tuple[str, str]:
        """Benchmark and backbone of a shard of gradient norms, or of a file of a probe's scores or consensus.

        Raises:
            BadInput: the path is neither.
        """
        path = Path(path)
        places = (path.parent if path.suffix == ".parquet" else path.with_suffix("")).parts[-2:]
        if len(places) < 2:
            problem = "is neither .../{benchmark}/{backbone}/{shard}.parquet nor .../{benchmark}/{backbone}.csv"
            raise BadInput(path, problem, "check the path")
        return places

    @staticmethod
    def by_place(paths: Iterable[str | Path]) -> dict[tuple[str, str], list[Path]]:
        """Files by (benchmark, backbone), which their paths name; in the order given.

        Raises:
            BadInput: as `probed`.
        """
        places: dict[tuple[str, str], list[Path]] = {}
        for path in map(Path, paths):
            places.setdefault(Results.probed(path), []).append(path)
        return places

    @staticmethod
    def variant_of(path: str | Path) -> str:
        """The variant of the probe that a shard of gradient norms is of.

        Raises:
            BadInput: the path is not that of a variant's shard.
        """
        path = Path(path)
        if len(path.parts) < 4:
            raise BadInput(path, "is not .../{variant}/{benchmark}/{backbone}/{shard}.parquet", "check the path")
        return path.parts[-4]

    @staticmethod
    def corpus_of(path: str | Path) -> str:
        """Benchmark of a file of trajectories, or of what is counted in them."""
        return Path(path).parent.name

    @staticmethod
    def product(path: str | Path) -> str:
        """What a file is to a reader: ``table`` (its CSV), ``figure`` (its SVG), ``cell``, or nothing of these."""
        kinds = {TABLES: ("table", ".csv"), FIGURES: ("figure", ".svg"), CELLS: ("cell", ".json")}
        for folder in Path(path).parts[:-1]:
            kind, ending = kinds.get(folder, ("", ""))
            if kind and Path(path).suffix == ending:
                return kind
        return ""

    @staticmethod
    def short_name(path: str | Path) -> str:
        """A name for a file of results: a table's or figure's own, a cell's with its folders: many are called alike."""
        path = Path(path)
        if path.parent.name in ("", TABLES, FIGURES):
            return path.stem
        return "-".join([*path.parent.parts[1:], path.stem])

    @staticmethod
    def timed_rule(path: Path, times: Path) -> str:
        """The rule whose job a benchmark file timed."""
        return path.relative_to(times).parts[0]

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
            rules, tail = [f"{rest[0]}_row"], rest[1:]
        elif first == "passrates":
            rules = ["pass_rates" if rest[-1].startswith("shard-") else "pass_rate_table"]
        elif first == "data":
            benchmark, kind, *names = rest
            rules, tail = DATA_RULES.get(kind, [kind]), [benchmark, *names]
        return [self.times.joinpath(rule, *tail[:-1], f"{tail[-1]}.tsv") for rule in rules]

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
