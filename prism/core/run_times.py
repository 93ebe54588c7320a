"""Run times of jobs, from the benchmark files that Snakemake writes below ``{results}/benchmarks/{rule}``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from prism.core.errors import BadInput
from prism.core.results import Results


@dataclass(frozen=True)
class RunTime:
    """One job of a run.

    Attributes:
        rule: its rule.
        end: seconds since the epoch; a benchmark file is written when its job ends.
        seconds: wall-clock time.
        mib: peak memory in MiB, as PSS: forked workers share pages, which RSS would count once a worker. NaN for a job
            that was too short to be sampled.
    """

    rule: str
    end: float
    seconds: float
    mib: float = float("nan")

    @property
    def start(self) -> float:
        """Seconds since the epoch."""
        return self.end - self.seconds


def read_seconds(path: str | Path) -> float:
    """Wall-clock seconds of a job, from its benchmark file: the mean where it ran several times.

    Raises:
        BadInput: the file is missing or not a benchmark file.
    """
    return float(_read(Path(path))["s"].mean())


def read_run(folder: str | Path) -> list[RunTime]:
    """The jobs of a run by start, from the folder of its benchmark files.

    Raises:
        BadInput: a file is not a benchmark file, or there is none.
    """
    jobs = []
    for path in sorted(Path(folder).rglob("*.tsv")):
        table = _read(path)
        memory = float(table["max_pss"].max()) if "max_pss" in table else float("nan")
        jobs.append(
            RunTime(Results.timed_rule(path, Path(folder)), path.stat().st_mtime, float(table["s"].mean()), memory)
        )
    if not jobs:
        raise BadInput(folder, "holds no benchmark file", "run the workflow first")
    return sorted(jobs, key=lambda job: (job.start, job.rule, job.end))


def _read(path: Path) -> pd.DataFrame:
    """A benchmark file; ``-`` stands in it for what was not sampled."""
    try:
        table = pd.read_csv(path, sep="\t", na_values="-")
        table["s"] = table["s"].astype(float)
        return table
    except OSError as error:
        remedy = "the job was timed when it ran: bring its file back, or run the job again with --forcerun"
        raise BadInput(path, "Snakemake's benchmark file is missing", remedy) from error
    except (KeyError, ValueError, TypeError) as error:
        raise BadInput(path, "is not a benchmark file", "delete it and run its rule again") from error


def duration(seconds: float | None) -> str:
    """A time as the paper prints it: ``3h 19m``, ``1m 48s``, ``12s``; ``-`` for none."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {whole % 60:02d}s" if minutes else f"{whole}s"
