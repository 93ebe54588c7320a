"""Records of a run: the small files from which its tables and figures can be rebuilt without training."""

from __future__ import annotations

import shutil
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import atomic_folder, sha256_file, write_json
from prism.core.progress import say
from prism.core.trajectories import read_trajectories, write_trajectories
from prism.stages.figures.scores_file import extreme_trajectories

# files as they are, by pattern in the run's folder
RECORDS = (
    "eval/**/*.json",
    "gradnorms/**/*.parquet",
    "passrates/**/*.csv",
    "rl/**/metrics.csv",
)
# what the rebuilt tables are compared with
EXPECTED = ("tables/*.csv",)
MANIFEST = "manifest.json"


def pack_records(results: Path, out: Path) -> None:
    """Copy a run's records to `out`, which then holds ``records/``, ``expected/`` and ``manifest.json``.

    The corpus is cut to the trajectories that Figure 1 shows: the ones of lowest and highest Gini. Whatever else `out`
    holds stays.

    Raises:
        BadInput: the run has no evaluation, no gradient norms or no table.
    """
    results = Path(results)
    for needed in (RECORDS[0], RECORDS[1], EXPECTED[0]):
        if not any(results.glob(needed)):
            raise BadInput(results, f"holds no {needed}", "run the workflow first")
    out = Path(out)
    for folder, patterns in (("records", RECORDS), ("expected", EXPECTED)):
        with atomic_folder(out / folder) as temporary:
            for path in (path for pattern in patterns for path in sorted(results.glob(pattern))):
                _copy(path, temporary / path.relative_to(results))
            if folder == "records":
                for corpus in sorted(results.glob("data/*/trajectories.jsonl")):
                    _write_shown_trajectories(results, corpus, temporary / corpus.relative_to(results))
    files = sorted(path for folder in ("records", "expected") for path in (out / folder).rglob("*") if path.is_file())
    manifest = {path.relative_to(out).as_posix(): sha256_file(path) for path in files}
    write_json(out / MANIFEST, {"made_from": results.as_posix(), "sha256": manifest})
    size = sum(path.stat().st_size for path in files)
    say(f"records: {len(files)} files, {size / 1e6:.1f} MB")


def _write_shown_trajectories(results: Path, corpus: Path, out: Path) -> None:
    """The trajectories of a corpus that a case study may show, in the corpus' order."""
    benchmark = corpus.parent.name
    scores = sorted((results / "scores" / benchmark).glob("*.csv"))
    shown = {name for path in scores for name in extreme_trajectories(path)}
    kept = [trajectory for trajectory in read_trajectories(corpus) if trajectory.id in shown]
    if kept:
        write_trajectories(out, kept)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
