"""Where the time of a run went: one row a rule, from Snakemake's benchmark files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from prism.core.files import write_text
from prism.core.run_times import read_run


def summarise_benchmarks(folder: Path, out_csv: Path) -> None:
    """Write rule, jobs, seconds (sum and longest) and peak memory (PSS, MiB), longest rule first.

    Raises:
        BadInput: a file is not a benchmark file, or there is none.
    """
    jobs = pd.DataFrame(read_run(folder)).groupby("rule")
    summary = pd.DataFrame(
        {
            "jobs": jobs.size(),
            "seconds": jobs["seconds"].sum().round(1),
            "longest_seconds": jobs["seconds"].max().round(1),
            "peak_mib": jobs["mib"].max().round(0),
        }
    ).sort_values("seconds", ascending=False)
    write_text(out_csv, summary.to_csv(lineterminator="\n"))
