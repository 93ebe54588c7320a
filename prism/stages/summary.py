"""Where the time of a run went: one row a rule, from Snakemake's benchmark files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prism.core.errors import BadInput
from prism.core.files import write_text


def summarise_benchmarks(folder: Path, out_csv: Path) -> None:
    """Write rule, jobs, seconds (sum and longest) and peak memory (PSS, MiB), longest rule first.

    A benchmark file is ``{folder}/{rule}/...tsv`` with Snakemake's columns ``s`` and ``max_pss``; ``-`` means that the
    job was too short to be sampled. Memory is PSS: forked workers share pages, which RSS would count once a worker.

    Raises:
        BadInput: a file is not a benchmark file, or there is none.
    """
    rows = []
    for path in sorted(Path(folder).rglob("*.tsv")):
        try:
            frame = pd.read_csv(path, sep="\t", na_values="-")
            rule = path.relative_to(folder).parts[0]
            rows.append({"rule": rule, "seconds": frame["s"].mean(), "mib": frame["max_pss"].max()})
        except (KeyError, ValueError) as error:
            raise BadInput(path, f"is not a benchmark file ({error})", "delete it and run its rule again") from error
    if not rows:
        raise BadInput(folder, "holds no benchmark file", "run the workflow first")
    jobs = pd.DataFrame(rows).groupby("rule")
    summary = pd.DataFrame(
        {
            "jobs": jobs.size(),
            "seconds": jobs["seconds"].sum().round(1),
            "longest_seconds": jobs["seconds"].max().round(1),
            "peak_mib": jobs["mib"].max().round(0),
        }
    ).sort_values("seconds", ascending=False)
    write_text(out_csv, summary.to_csv(lineterminator="\n"))
