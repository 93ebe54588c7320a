"""Each claim of the paper beside what a run says: estimate, interval, and a verdict from one fixed rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prism.core.progress import say
from prism.core.results import Results
from prism.stages.audit.paper import read_claims, read_version
from prism.stages.comparison.estimators import ComparisonRecipe, Run, assess
from prism.stages.comparison.outcomes import Outcome, built
from prism.stages.comparison.writing import write_claims, write_csv, write_markdown

__all__ = ["ComparisonRecipe", "RunFiles", "by_cell", "compare_with_paper"]


@dataclass(frozen=True)
class RunFiles:
    """What a run has that claims are about.

    Attributes:
        evaluations: ``.../eval/{benchmark}/{backbone}/{method}/seed{seed}/{panel}.json``.
        norms: shards of gradient norms, ``.../{benchmark}/{backbone}/{shard}.parquet``.
        consensus: of the metrics on these norms, ``.../{benchmark}/{backbone}.json``.
        tables: those that claims are about, ``{name}.csv``.
    """

    evaluations: Sequence[Path]
    norms: Sequence[Path] = ()
    consensus: Sequence[Path] = ()
    tables: Sequence[Path] = ()


def compare_with_paper(paper: str | Path, files: RunFiles, recipe: ComparisonRecipe, out: str | Path) -> list[Outcome]:
    """Write every claim with this run's estimate and verdict.

    Args:
        paper: folder of one version's published numbers; its ``claims.yaml`` is read.
        out: folder that gets ``comparison.csv``, ``comparison.md`` and ``claims.json``.

    Raises:
        BadInput: a file cannot be read, or two methods of a comparison were evaluated on different panels.
    """
    version, claims = read_version(paper), read_claims(Path(paper) / "claims.yaml")
    tables = {path.stem: path for path in map(Path, files.tables)}
    probes = (Results.by_place(paths) for paths in (files.norms, files.consensus))
    run = Run(recipe, by_cell(files.evaluations), tables, *probes)
    outcomes = [assess(claim, run) for claim in claims]
    out = Path(out)
    write_csv(out / "comparison.csv", outcomes, recipe, version)
    write_markdown(out / "comparison.md", outcomes, recipe, version)
    write_claims(out / "claims.json", outcomes, recipe, version)
    say(f"comparison: {built(outcomes)} of {len(outcomes)} claims have estimates in this run")
    return outcomes


def by_cell(paths: Sequence[Path]) -> dict[tuple[str, str, str, str], list[Path]]:
    """Evaluation files by (benchmark, backbone, method, panel), which their path names."""
    by_cell: dict[tuple[str, str, str, str], list[Path]] = {}
    for path in map(Path, paths):
        played = Results.played(path)
        by_cell.setdefault((played.benchmark, played.backbone, played.method, played.panel), []).append(path)
    return by_cell
