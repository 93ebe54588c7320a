"""Records of a run: the small files from which its tables and figures can be rebuilt without training."""

from __future__ import annotations

import shutil
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import atomic_folder, sha256_file, write_json
from prism.core.progress import say
from prism.core.results import Results
from prism.core.trajectories import read_trajectories, write_trajectories
from prism.stages.figures.scores_file import typical_trajectories
from prism.stages.verify import data_hashes

# files that are copied as they are
RECORDS = (
    "evaluations",
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


def pack_records(results: Path, out: Path) -> None:
    """Copy a run's records to `out`, which then holds ``records/``, ``expected/`` and ``manifest.json``.

    The run need not be finished: what it has is packed, and packed again when it has more.

    The corpus is cut to the trajectories that Figure 1 shows: the middle ones of the two halves. The manifest has the
    hashes of the whole corpus and of the panels. Whatever else `out` holds stays.

    Raises:
        BadInput: the run has neither gradient norms nor an evaluation.
    """
    run, out = Results(results), Path(out)
    if not run.find("norms", "evaluations"):
        raise BadInput(results, "holds neither gradient norms nor an evaluation", "run the workflow first")
    with atomic_folder(out / "records") as temporary:
        for path in run.find(*RECORDS):
            _copy(path, temporary / run.relative(path))
        for corpus in run.find("trajectories"):
            _write_shown_trajectories(run, corpus, temporary / run.relative(corpus))
    # what the rebuilt tables are compared with
    with atomic_folder(out / "expected") as temporary:
        for path in run.find("tables"):
            if path.suffix == ".csv":
                _copy(path, temporary / run.relative(path))
    files = sorted(path for folder in ("records", "expected") for path in (out / folder).rglob("*") if path.is_file())
    manifest = {path.relative_to(out).as_posix(): sha256_file(path) for path in files}
    write_json(out / MANIFEST, {"sha256": manifest, "data": data_hashes(run)})
    size = sum(path.stat().st_size for path in files)
    say(f"records: {len(files)} files, {size / 1e6:.1f} MB")


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
