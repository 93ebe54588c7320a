"""How long Snakemake needs to plan the paper's scale, and how many jobs that is.

    python benchmarks/dag.py [--runs 5]

Times the dry runs of the README's command and of everything (``all``), each in a process of its own, beside
``snakemake --version``, which is what Snakemake needs to start at all. Prints medians of wall-clock and of CPU seconds:
on a machine that does other work, CPU seconds are the ones to compare.
"""

from __future__ import annotations

import argparse
import re
import resource
import subprocess
import sys
import time
from statistics import median

PLAN = ["--profile", "slurm", "--dry-run", "--nolock", "--quiet", "rules", "--"]
CASES = {
    "start of Snakemake": (["--version"], None, None),
    "results/tables/table1.csv": ([*PLAN, "results/tables/table1.csv"], 4.0, None),
    "all": ([*PLAN, "all"], 6.0, 1500),
}
TOTAL = re.compile(r"^total\s+(\d+)$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    print("| target | jobs (aim) | wall-clock s (aim) | CPU s |\n|---|---|---|---|")
    for name, (arguments, seconds_aim, jobs_aim) in CASES.items():
        measured = [time_command(arguments) for _ in range(runs)]
        wall, cpu = (median(values) for values in list(zip(*measured, strict=True))[:2])
        jobs = measured[-1][2]
        print(f"| {name} | {jobs or '-'}{aim(jobs_aim)} | {wall:.1f}{aim(seconds_aim)} | {cpu:.1f} |")


def aim(value: float | None) -> str:
    """What was aimed for, in brackets."""
    return f" ({value:g})" if value else ""


def time_command(arguments: list[str]) -> tuple[float, float, int | None]:
    """Wall-clock and CPU seconds of one Snakemake, and the jobs that it planned."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments], capture_output=True, text=True, check=False
    )
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if result.returncode != 0:
        sys.exit(result.stderr[-2000:] + result.stdout[-2000:])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    total = TOTAL.findall(result.stdout + result.stderr)
    return wall, cpu, int(total[-1]) if total else None


if __name__ == "__main__":
    main()
