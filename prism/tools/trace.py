"""The ancestry of a cell: every file that it rests on, checked against what its successor recorded of it.

Everything is read from the files' own metadata, from the logs and from the run times beside them: it also works on
results that were copied to another place, without Snakemake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prism.core.csv_files import read_table
from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file
from prism.core.methods import BASE, COUNTED, Method, column_and_variant, parse_slice
from prism.core.model_folder import sha256_model
from prism.core.progress import LOGGED_COMMAND, LOGGED_VERSION
from prism.core.results import CELLS, EVALUATIONS, TIMES, Results
from prism.core.run_times import read_seconds

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
    if CELLS not in path.parts or not isinstance(cell, dict) or not {"config", "evaluations"} <= cell.keys():
        raise BadInput(cell_path, "is not a cell", "give a file of {results}/cells")
    return _Tracer(Results.around(path, CELLS), check).cell(path, cell)


class _Tracer:
    """Follows the files of a results folder; every file is hashed once."""

    def __init__(self, results: Results, check: bool):
        self.results, self.check = results, check
        self._hashes: dict[Path, str] = {}

    def cell(self, path: Path, cell: Mapping[str, Any]) -> Step:
        """A cell, from its evaluations or from its run times."""
        facts = {key: cell[key] for key in ("value", "unit", "interval", "scale", "backbone")}
        step = self._step("cell", path, {**facts, "method": cell["config"]["method"]}, None)
        definition = Method(cell["row"]["method"], **cell["config"]["method"])
        step.inputs = [self.evaluation(source, definition) for source in cell["evaluations"]]
        for source in cell.get("timings", []):
            timing = self.results.recorded(source["path"], TIMES)
            state = self._state(timing, source["sha256"], sha256_file)
            facts = self._started(self.results.log_of_time(timing)) | self._seconds(timing)
            step.inputs.append(Step("run time", self.results.relative(timing), state, facts))
        return step

    def evaluation(self, source: Mapping[str, str], definition: Method) -> Step:
        """An evaluation, from its checkpoint and its panel."""
        path = self.results.recorded(source["path"], EVALUATIONS)
        state = self._state(path, source["sha256"], sha256_file)
        if state == MISSING:
            return Step("evaluation", self.results.relative(path), state)
        run = read_json(path)
        step = self._step("evaluation", path, run, ("seed", "recipe", "versions"))
        step.state = state
        played = self.results.played(path)
        model = self.model(definition.at_seed(run["seed"]), played.benchmark, played.backbone, run["seed"])
        model.state = self._state(self.results.root / model.path, run.get("model_sha256"), sha256_model)
        step.inputs = [model, self.panel(played.benchmark, run["panel"], run["panel_sha256"])]
        return step

    def model(self, run: Method, benchmark: str, backbone: str, seed: int) -> Step:
        """The checkpoint that a method ends with."""
        if not run.rl:
            return self.initial(run, benchmark, backbone, seed)
        path = self.results.checkpoint(run, benchmark, backbone, seed)
        record = self._record(path / "run.json")
        step = self._step("RL checkpoint", path, record, ("seed", "steps", "recipe", "versions"))
        initial = self.initial(run, benchmark, backbone, seed)
        recorded = record.get("model", record.get("model_sha256"))
        initial.state = self._state(self.results.root / initial.path, recorded, sha256_model)
        panel = self.panel(benchmark, "train", record.get("panel", record.get("panel_sha256")))
        step.inputs = [initial, panel, *self.split(run.rl, benchmark, backbone)]
        return step

    def initial(self, run: Method, benchmark: str, backbone: str, seed: int) -> Step:
        """What RL starts from: an SFT checkpoint or the backbone."""
        if run.init == BASE:
            return self.backbone(backbone)
        path = self.results.initial(run.init, benchmark, backbone, seed)
        record = self._record(path / "sft.json")
        step = self._step("SFT checkpoint", path, record, ("seed", "trajectories", "rows", "recipe", "versions"))
        base = self.backbone(backbone, record.get("model_sha256"))
        step.inputs = [base, self.trajectories(benchmark), *self.split(run.sft, benchmark, backbone)]
        return step

    def backbone(self, name: str, recorded: str | None = None) -> Step:
        """The model that everything starts from."""
        path = self.results.backbone(name)
        keys = ("parameters", "repository", "revision", "weights_sha256", "corpus_sha256", "versions")
        step = self._step("backbone", path, self._record(path / "provenance.json"), keys)
        step.state = self._state(path, recorded, sha256_model)
        return step

    def split(self, subset: str, benchmark: str, backbone: str) -> list[Step]:
        """The split that a subset is a side of, from what its score is read from; empty for the whole corpus."""
        part = parse_slice(subset)
        if part is None:
            return []
        (path,) = self.results.split(subset, benchmark, backbone)
        step = self._step("split", path, {"subset": subset, **self._head(path)}, None)
        source = self.results.source_of_score(part.score, benchmark, backbone)
        if source in (self.results.trajectories(benchmark), self.results.corpus_manifest(benchmark)):
            step.inputs = [self.trajectories(benchmark)]
        elif part.score in COUNTED:
            rates = self._step("pass rates", source, self._head(source), None)
            rates.inputs = [self.backbone(backbone), self.panel(benchmark, "train", None)]
            step.inputs = [rates]
        else:
            scores = self._step("scores", source, self._head(source), None)
            shards = self.results.norms_there(benchmark, backbone, column_and_variant(part.score)[1])
            scores.inputs = [self.norms(shard, benchmark, backbone) for shard in shards]
            step.inputs = [scores]
        return [step]

    def norms(self, path: Path, benchmark: str, backbone: str) -> Step:
        """A shard of gradient norms, from the backbone and the trajectories."""
        import pyarrow.parquet as pq

        metadata = {key.decode(): value.decode() for key, value in (pq.read_schema(path).metadata or {}).items()}
        keys = [key for key in metadata if key in ("dtype", "device", "shard", "shards") or key.startswith("version_")]
        step = self._step("gradient norms", path, metadata, keys)
        data = self.trajectories(benchmark)
        data.state = self._state(self.results.trajectories(benchmark), metadata.get("data_sha256"), sha256_file)
        step.inputs = [self.backbone(backbone, metadata.get("model_sha256")), data]
        return step

    def trajectories(self, benchmark: str) -> Step:
        """The corpus, with what its manifest says."""
        path = self.results.trajectories(benchmark)
        record = self._record(path.with_suffix(".json"))
        step = self._step("trajectories", path, record, ("trajectories", "games", "steps", "by_expert"))
        step.state = self._state(path, record.get("sha256"), sha256_file)
        return step

    def panel(self, benchmark: str, name: str, recorded: str | None) -> Step:
        """A panel; its hash is the one of its tasks."""
        path = self.results.panel(benchmark, name)
        record = self._record(path)
        step = self._step("panel", path, {"tasks": len(record.get("tasks", []))}, None)
        if recorded and step.state != MISSING:
            step.state = SAME if record.get("sha256") == recorded else CHANGED
        return step

    def _step(self, kind: str, path: Path, record: Mapping[str, Any], keys: Sequence[str] | None) -> Step:
        """A step with chosen facts (None: all), and with command, version, start and seconds of the job behind it."""
        chosen = record if keys is None else {key: record[key] for key in keys if key in record}
        job = self._started(self.results.log_of(path)) | self._seconds(self.results.time_of(path))
        return Step(kind, self.results.relative(path), UNCHECKED if path.exists() else MISSING, {**chosen, **job})

    def _record(self, path: Path) -> dict[str, Any]:
        return read_json(path) if path.is_file() else {}

    def _head(self, path: Path) -> dict[str, str]:
        """Head lines ``key: value`` of a CSV."""
        lines = read_table(path).head if path.is_file() else []
        pairs = [line.partition(":") for line in lines]
        return {key.strip(): value.strip() for key, colon, value in pairs if colon}

    def _state(self, path: Path, recorded: str | None, digest: Callable[[Path], str]) -> str:
        if not path.exists():
            return MISSING
        if not recorded or not self.check:
            return UNCHECKED
        if path not in self._hashes:
            self._hashes[path] = digest(path)
        return SAME if self._hashes[path] == recorded else CHANGED

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
        """Seconds of a job, as far as its run time is there."""
        return {"seconds": read_seconds(path)} if path.is_file() else {}


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
