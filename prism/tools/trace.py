"""The ancestry of a cell: every file that it rests on, checked against what its successor recorded of it.

Everything is read from the files' own metadata, from the logs and from the run times beside them: it also works on
results that were copied to another place, without Snakemake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prism.core.csv_files import read_table
from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file
from prism.core.methods import BASE, COUNTED, Method, parse_slice
from prism.core.model_folder import sha256_model
from prism.core.progress import LOGGED_COMMAND, LOGGED_VERSION
from prism.core.results import Results
from prism.core.splits import RANDOM

SAME, CHANGED, MISSING, UNCHECKED = "same", "changed", "missing", "unchecked"
# characters of a line where the tree goes to a file or another program
FILE_WIDTH = 200


@dataclass
class Step:
    """One file or folder of the ancestry.

    Attributes:
        kind: what it is.
        path: relative to the results folder.
        state: whether it is what its successor recorded: same, changed, missing, or unchecked where nothing is
            recorded.
        facts: what its own metadata says: settings, seeds, versions, command, run time.
        inputs: what it was made from.
    """

    kind: str
    path: str
    state: str
    facts: dict[str, Any] = field(default_factory=dict)
    inputs: list[Step] = field(default_factory=list)

    def all_steps(self) -> Iterator[Step]:
        """This step and everything it rests on, a step for every place where it is used."""
        yield self
        for step in self.inputs:
            yield from step.all_steps()

    def as_dict(self) -> dict[str, Any]:
        """The tree as JSON."""
        return {
            "kind": self.kind,
            "path": self.path,
            "state": self.state,
            "facts": self.facts,
            "inputs": [step.as_dict() for step in self.inputs],
        }


def trace_cell(cell_path: str | Path, check: bool = True) -> Step:
    """Follow a cell back to its data.

    Args:
        check: hash the files and compare with what was recorded; without it models of many gigabytes are not read.

    Raises:
        BadInput: the file is not a cell inside a results folder.
    """
    path = Path(cell_path).resolve()
    cell = read_json(path)
    if "cells" not in path.parts or not isinstance(cell, dict) or not {"config", "evaluations"} <= cell.keys():
        raise BadInput(cell_path, "is not a cell", "give a file of {results}/cells")
    return _Tracer(Results.around(path, "cells"), check).cell(path, cell)


class _Tracer:
    """Knows the layout of a results folder; every file is hashed once."""

    def __init__(self, results: Results, check: bool):
        self.results, self.root, self.check = results, results.root, check
        self._steps: dict[str, Step] = {}
        self._hashes: dict[str, str] = {}

    def cell(self, path: Path, cell: Mapping[str, Any]) -> Step:
        """A cell, from its evaluations or from its run times."""
        facts = {key: cell[key] for key in ("value", "unit", "interval", "scale", "backbone")}
        facts["method"] = cell["config"]["method"]
        step = Step("cell", str(path.relative_to(self.root)), UNCHECKED, {**facts, **self._job(path)})
        definition = Method(cell["row"]["method"], **cell["config"]["method"])
        for source in cell["evaluations"]:
            step.inputs.append(self.evaluation(source, definition))
        for source in cell.get("timings", []):
            relative = self._relative(source["path"], "benchmarks")
            state = self._state(relative, source["sha256"], sha256_file)
            facts = self._started(self.results.log_of_time(self.root / relative)) | self._seconds(self.root / relative)
            step.inputs.append(Step("run time", relative, state, facts))
        return step

    def evaluation(self, source: Mapping[str, str], definition: Method) -> Step:
        """An evaluation, from its checkpoint and its panel."""
        relative = self._relative(source["path"], "eval")
        step = Step("evaluation", relative, self._state(relative, source["sha256"], sha256_file))
        if step.state == MISSING:
            return step
        run = read_json(self.root / relative)
        step.facts = {key: run.get(key) for key in ("seed", "recipe", "versions")} | self._job(self.root / relative)
        benchmark, backbone = Path(relative).parts[1:3]
        model = self.model(definition.at_seed(run["seed"]), benchmark, backbone, run["seed"])
        model.state = self._state(model.path, run.get("model_sha256"), sha256_model)
        step.inputs = [model, self.panel(benchmark, run["panel"], run["panel_sha256"])]
        return step

    def model(self, run: Method, benchmark: str, backbone: str, seed: int) -> Step:
        """The checkpoint that a method ends with."""
        if not run.rl:
            return self.initial(run, benchmark, backbone, seed)
        relative = f"rl/{benchmark}/{backbone}/{run.init}--{run.algorithm}--{run.rl}/seed{seed}"
        record = self._record(relative, "run.json")
        step = self._new("RL checkpoint", relative, record, ("seed", "steps", "recipe", "versions"))
        initial = self.initial(run, benchmark, backbone, seed)
        initial.state = self._state(initial.path, record.get("model", record.get("model_sha256")), sha256_model)
        panel = self.panel(benchmark, "train", record.get("panel", record.get("panel_sha256")))
        step.inputs = [initial, panel, *self.split(run.rl, benchmark, backbone)]
        return step

    def initial(self, run: Method, benchmark: str, backbone: str, seed: int) -> Step:
        """What RL starts from: an SFT checkpoint or the backbone."""
        if run.init == BASE:
            return self.backbone(backbone)
        relative = f"sft/{benchmark}/{backbone}/{run.init}/seed{seed}"
        record = self._record(relative, "sft.json")
        facts = ("seed", "trajectories", "rows", "recipe", "versions")
        step = self._new("SFT checkpoint", relative, record, facts)
        base = self.backbone(backbone)
        base.state = self._state(base.path, record.get("model_sha256"), sha256_model)
        step.inputs = [base, self.trajectories(benchmark), *self.split(run.sft, benchmark, backbone)]
        return step

    def backbone(self, name: str) -> Step:
        """The model that everything starts from."""
        relative = f"backbones/{name}"
        record = self._record(relative, "provenance.json")
        keys = ("parameters", "repository", "revision", "weights_sha256", "corpus_sha256", "versions")
        return self._new("backbone", relative, record, keys)

    def split(self, subset: str, benchmark: str, backbone: str) -> list[Step]:
        """The split that a subset is a side of, from its scores; empty for the whole corpus."""
        part = parse_slice(subset)
        if part is None:
            return []
        relative = f"splits/{benchmark}/{backbone}/{part.score}-{part.rl_percent}.csv"
        step = self._new("split", relative, {}, ())
        step.facts |= {"subset": subset, **self._head(relative)}
        if part.score in COUNTED:
            relative = f"passrates/{benchmark}/{backbone}.csv"
            rates = self._new("pass rates", relative, self._head(relative), None)
            rates.inputs = [self.backbone(backbone), self.panel(benchmark, "train", None)]
            step.inputs = [rates]
        else:
            step.inputs = [self.scores(benchmark, backbone, drawn=part.score.startswith(RANDOM))]
        return [step]

    def scores(self, benchmark: str, backbone: str, drawn: bool) -> Step:
        """The table of scores, from the gradient norms; random scores need the ids of the trajectories alone."""
        relative = f"scores/{benchmark}/{backbone}.csv"
        step = self._new("random scores" if drawn else "scores", relative, self._head(relative), None)
        shards = sorted((self.root / f"gradnorms/{benchmark}/{backbone}").glob("shard-*.parquet"))
        step.inputs = [self.norms(path, benchmark, backbone) for path in shards]
        return step

    def norms(self, path: Path, benchmark: str, backbone: str) -> Step:
        """A shard of gradient norms, from the backbone and the trajectories."""
        import pyarrow.parquet as pq

        metadata = {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}
        keys = [key for key in metadata if key in ("dtype", "device", "shard", "shards") or key.startswith("version_")]
        step = self._new("gradient norms", str(path.relative_to(self.root)), metadata, keys)
        base, data = self.backbone(backbone), self.trajectories(benchmark)
        base.state = self._state(base.path, metadata.get("model_sha256"), sha256_model)
        data.state = self._state(data.path, metadata.get("data_sha256"), sha256_file)
        step.inputs = [base, data]
        return step

    def trajectories(self, benchmark: str) -> Step:
        """The corpus, with what its manifest says."""
        record = self._record(f"data/{benchmark}", "trajectories.json")
        relative = f"data/{benchmark}/trajectories.jsonl"
        step = self._new("trajectories", relative, record, ("trajectories", "games", "steps", "by_expert"))
        step.state = self._state(relative, record.get("sha256"), sha256_file)
        return step

    def panel(self, benchmark: str, name: str, recorded: str | None) -> Step:
        """A panel; its hash is the one of its tasks."""
        relative = f"data/{benchmark}/panels/{name}.json"
        record = self._record(f"data/{benchmark}/panels", f"{name}.json")
        step = self._new("panel", relative, {"tasks": len(record.get("tasks", []))}, ("tasks",))
        if recorded and step.state != MISSING:
            step.state = SAME if record.get("sha256") == recorded else CHANGED
        return step

    def _new(self, kind: str, relative: str, record: Mapping[str, Any], keys: Any) -> Step:
        """A step with chosen facts (None: all) and what is known of its job."""
        chosen = record if keys is None else {key: record[key] for key in keys if key in record}
        state = UNCHECKED if (self.root / relative).exists() else MISSING
        return Step(kind, relative, state, {**chosen, **self._job(self.root / relative)})

    def _relative(self, path: str, folder: str) -> str:
        """A recorded path below this results folder, wherever that lies now."""
        parts = Path(path).parts
        return str(Path(*parts[parts.index(folder) :])) if folder in parts else path

    def _record(self, folder: str, name: str) -> dict[str, Any]:
        path = self.root / folder / name
        return read_json(path) if path.is_file() else {}

    def _head(self, relative: str) -> dict[str, str]:
        """Head lines ``key: value`` of a CSV."""
        path = self.root / relative
        lines = read_table(path).head if path.is_file() else []
        pairs = [line.partition(":") for line in lines]
        return {key.strip(): value.strip() for key, colon, value in pairs if colon}

    def _state(self, relative: str, recorded: str | None, digest: Callable[[Path], str]) -> str:
        path = self.root / relative
        if not path.exists():
            return MISSING
        if not recorded or not self.check:
            return UNCHECKED
        if relative not in self._hashes:
            self._hashes[relative] = digest(path)
        return SAME if self._hashes[relative] == recorded else CHANGED

    def _job(self, path: Path) -> dict[str, Any]:
        """Command, version, start and seconds of the job that made a file, as far as log and run time are there."""
        return self._started(self.results.log_of(path)) | self._seconds(self.results.time_of(path))

    def _started(self, log: Path) -> dict[str, str]:
        """Command, version and start of a job, from the first lines of its log."""
        found: dict[str, str] = {}
        if log.is_file():
            with log.open(encoding="utf-8", errors="replace") as lines:
                for line in (lines.readline().strip(), lines.readline().strip()):
                    if line.startswith(LOGGED_COMMAND):
                        found["started"], found["command"] = line.removeprefix(LOGGED_COMMAND).split(" ", 1)
                    elif line.startswith(LOGGED_VERSION):
                        found["version"] = line.removeprefix(LOGGED_VERSION)
        return found

    def _seconds(self, path: Path) -> dict[str, float]:
        """Seconds of a job, from Snakemake's benchmark file."""
        if not path.is_file():
            return {}
        names, values = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[:2])
        return {"seconds": float(values[names.index("s")])}


def print_trace(step: Step) -> None:
    """Print the ancestry as a tree; what was shown before is only named."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    console.print(_as_tree(step))


def _as_tree(step: Step) -> Any:
    from rich.markup import escape
    from rich.tree import Tree

    colours = {SAME: "green", CHANGED: "bold red", MISSING: "bold red", UNCHECKED: "yellow"}
    shown: set[str] = set()

    def add(parent: Any, current: Step) -> Any:
        label = f"[bold]{current.kind}[/bold] {escape(current.path)} [{colours[current.state]}]{current.state}[/]"
        again = current.path in shown
        branch = Tree(label) if parent is None else parent.add(label + (" (see above)" if again else ""))
        if again:
            return branch
        shown.add(current.path)
        for key, value in current.facts.items():
            branch.add(f"[dim]{escape(f'{key}: {_brief(value)}')}[/dim]")
        for source in current.inputs:
            add(branch, source)
        return branch

    return add(None, step)


def _brief(value: Any) -> str:
    """A fact in one line: mappings as ``key=value``, nested ones in brackets."""
    if not isinstance(value, Mapping):
        return str(value)
    inner = {key: f"({_brief(item)})" if isinstance(item, Mapping) else item for key, item in value.items()}
    return ", ".join(f"{key}={item}" for key, item in inner.items())
