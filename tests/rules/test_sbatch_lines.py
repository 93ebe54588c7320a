"""What sites want of SLURM, as docs/cluster.md writes it, is what sbatch is told; a recorder stands in its place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

RULE = "probe"
RECORDER = """#!/bin/sh
printf '%s\\n' "$0 $*" >> "$RECORD"
exit 1
"""
WORKFLOW = """
rule all:
    input: "1.txt", "2.txt"
rule probe:
    output: "{number}.txt"
    shell: "touch {output}"
"""


def forms(root: Path) -> dict[str, tuple[dict, str]]:
    """The table's rows: lines of a profile, and what sbatch gets."""
    page = (root / "docs/cluster.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| (.*) \| `(-[^`]*|module[^`]*)` \|$", page, re.MULTILINE)
    lines = {name: re.findall(r"`([^`]*: [^`]*)`", written) for name, written, _ in rows}
    return {name: (yaml.safe_load("\n".join(lines[name])), told) for name, _, told in rows}


def test_the_table_is_read(root):
    assert len(forms(root)) == 10


@pytest.mark.parametrize("number", range(10))
def test_a_form_reaches_sbatch(root, tmp_path, number):
    _, (lines, told) = list(forms(root).items())[number]
    profile = yaml.safe_load((root / "slurm/config.v9+.yaml").read_text())
    requests = profile["set-resources"][RULE]
    if "gpu" in lines:
        del requests["gres"]
    for key, value in lines.items():
        (profile if key.startswith(("slurm-", "precommand")) else requests)[key] = value
    del profile["configfile"]
    # nothing is submitted: no status to wait for
    profile["slurm-init-seconds-before-status-checks"] = 1
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile/config.v9+.yaml").write_text(yaml.safe_dump(profile))
    (tmp_path / "Snakefile").write_text(WORKFLOW)
    # the executor asks for the user's accounts before it submits
    programs = {"sbatch": RECORDER, "sacctmgr": "#!/bin/sh\necho myaccount\n"}
    for name in ("sbatch", "sacctmgr", "squeue", "sacct", "sinfo", "scontrol"):
        (tmp_path / name).write_text(programs.get(name, "#!/bin/sh\n"))
        (tmp_path / name).chmod(0o755)
    record = tmp_path / "calls"
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "RECORD": str(record)}
    command = [sys.executable, "-m", "snakemake", "--profile", str(tmp_path / "profile"), "--retries", "0"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert record.is_file(), result.stderr
    # the shell has taken the quotes away
    assert told.replace("'", "") in record.read_text().replace("'", "")
