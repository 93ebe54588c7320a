"""What runs is told apart from what was killed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prism.tools.recover import running_snakemake


@pytest.mark.parametrize("options", [["-m"], ["-P", "-m"]])
def test_a_snakemake_that_runs_here_is_found(tmp_path, options):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    # a rule that says when it runs, and then waits
    (here / "Snakefile").write_text('rule all:\n    shell: "echo started && sleep 6"\n')
    command = [sys.executable, *options, "snakemake", "--cores", "1", "--nolock"]
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as snakemake:
        try:
            assert next(line for line in snakemake.stdout if line.strip() == "started")
            assert running_snakemake(here) == snakemake.pid
            assert running_snakemake(there) is None
        finally:
            snakemake.terminate()
    assert running_snakemake(here) is None
