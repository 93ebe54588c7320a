"""Records of a run: the small files from which its tables and figures can be rebuilt without training."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prism.core.detours import DETOURS
from prism.core.errors import BadInput
from prism.core.files import atomic_folder, read_json, sha256_file, write_json
from prism.core.progress import say
from prism.core.recipes import json_text
from prism.core.results import EVALUATIONS, Results
from prism.core.trajectories import read_trajectories, write_trajectories
from prism.earlier_run import ORIGINS, RECORDS, packed_name
from prism.origins import Origins
from prism.stages.figures.scores_file import typical_trajectories
from prism.stages.verify import data_hashes

# files that are copied as they are
COPIED = (
    "norms",
    "variant_norms",
    "facts",
    "memory",
    "pass_rates",
    "splits",
    "sft_losses",
    "training_metrics",
)
MANIFEST = "manifest.json"
# of a training's folder
TRAINING_FILES = ("metrics.csv", "run.json", "loss.csv", "sft.json")
# what an RL run's record says of each task
LONG_LISTS = ("tasks", "coverage")


def pack_records(results: Path, out: Path, config: Mapping[str, Any] | None = None) -> None:
    """Copy a run's records to `out`, which then holds ``records/``, ``expected/`` and ``manifest.json``.

    The run need not be finished: what it has is packed, and packed again when it has more.

    The corpus is cut to the trajectories that Figure 1 shows: the middle ones of the two halves; the manifest of a
    corpus with detours says which they are. The records' own manifest has the hashes of the whole corpus and of the
    panels. Whatever else `out` holds stays.

    Args:
        config: the config of the run. With it others can go on from the records: their origins are written beside them,
            and earlier records in `out` stay where the run has no newer ones and they are of the same origin.

    Raises:
        BadInput: the run has neither gradient norms nor an evaluation, or its settings are not those of the config.
    """
    run, out = Results(results), Path(out)
    if not run.find("norms", "evaluations"):
        raise BadInput(results, "holds neither gradient norms nor an evaluation", "run the workflow first")
    with atomic_folder(out / RECORDS) as temporary:
        for path in run.find(*COPIED, *(() if config else ("evaluations",))):
            _copy(path, temporary / run.relative(path))
        for corpus in run.find("trajectories"):
            _write_shown_trajectories(run, corpus, temporary / run.relative(corpus))
            manifest = run.corpus_manifest(run.corpus_of(corpus))
            if manifest.is_file() and DETOURS in read_json(manifest):
                _copy(manifest, temporary / run.relative(manifest))
        if config:
            made = pack_to_go_on(run, out, temporary, Origins(config))
    # what the rebuilt tables are compared with
    with atomic_folder(out / "expected") as temporary:
        for path in run.find("tables"):
            if path.suffix == ".csv":
                _copy(path, temporary / run.relative(path))
    if config:
        write_json(out / ORIGINS, made)
    files = sorted(path for folder in (RECORDS, "expected") for path in (out / folder).rglob("*") if path.is_file())
    manifest = {path.relative_to(out).as_posix(): sha256_file(path) for path in files}
    write_json(out / MANIFEST, {"sha256": manifest, "data": data_hashes(run)})
    size = sum(path.stat().st_size for path in files)
    say(f"records: {len(files)} files, {size / 1e6:.1f} MB")


def pack_to_go_on(run: Results, out: Path, folder: Path, origins: Origins) -> dict[str, str]:
    """Add to a folder of records what a run needs to go on from them.

    Args:
        out: where earlier records lie.
        folder: the new records.

    Returns:
        The origin of each result that counts as made, by its path below the results; of a training by its folder.
    """
    made = {}
    for name in _finished(run):
        made_from = origins.made_from(name)
        if made_from is None:
            continue
        _check_settings(run.root / name, made_from["recipe"])
        made[name] = origins.of(name)
        for path in _files_of(run, name):
            target = folder / run.relative(path)
            if run.relative(path).startswith(f"{EVALUATIONS}/"):
                _write_packed(path, target)
            elif path.name == "run.json":
                write_json(target, {key: value for key, value in read_json(path).items() if key not in LONG_LISTS})
            elif not target.exists():
                _copy(path, target)
    if (out / ORIGINS).is_file():
        earlier = Results(out / RECORDS)
        kept = {name: origin for name, origin in read_json(out / ORIGINS).items() if origins.of(name) == origin}
        for path in (path for name in kept for path in _files_of(earlier, name)):
            # how long an evaluation took stands in the earlier records alone where this run went on from them
            target = folder / earlier.relative(path)
            if not target.exists():
                _copy(path, target)
        made = kept | made
    return dict(sorted(made.items()))


def _check_settings(path: Path, recipe: Mapping[str, Any]) -> None:
    """A result made by other settings must not be recorded as one of these."""
    stating = next((file for file in (path / "run.json", path / "sft.json", path) if file.is_file()), path)
    if stating.suffix == ".json" and not _agree(recipe, read_json(stating)["recipe"]):
        raise BadInput(stating, "was made by other settings than the config's", "run the workflow again, then pack")


def _agree(wanted: Any, stated: Any) -> bool:
    """Whether settings hold all that is wanted; they may hold more, such as those of the machine."""
    if isinstance(wanted, Mapping) and isinstance(stated, Mapping):
        return all(_agree(value, stated.get(key)) for key, value in wanted.items())
    return json_text(wanted) == json_text(stated)


def _finished(run: Results) -> list[str]:
    """The results that cost time, by their path below the results; of a training its folder."""
    trained = run.find("training_metrics", "sft_losses")
    files = [*run.find("evaluations", "norms", "variant_norms", "pass_rates"), *(path.parent for path in trained)]
    return [run.relative(path) for path in files]


def _files_of(run: Results, name: str) -> list[Path]:
    """What is kept of a result: the file or a training's small files, and how long it took."""
    path = run.root / name
    files = [path / file for file in TRAINING_FILES] if path.is_dir() else [path, packed_name(path)]
    for time in run.times_of(path):
        files += [time, time.with_suffix(".loop.json")]
    return [file for file in files if file.is_file()]


def _write_packed(path: Path, target: Path) -> None:
    target = packed_name(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # without a time stamp: packed again, the same bytes
    target.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def _write_shown_trajectories(run: Results, corpus: Path, out: Path) -> None:
    """The trajectories of a corpus that a case study may show, in the corpus' order."""
    benchmark = run.corpus_of(corpus)
    scores = [path for path in run.find("scores") if run.probed(path)[0] == benchmark]
    shown = {name for path in scores for name in typical_trajectories(path)}
    kept = [trajectory for trajectory in read_trajectories(corpus) if trajectory.id in shown]
    if kept:
        write_trajectories(out, kept)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
