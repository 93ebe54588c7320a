"""Shell lines of rules that a loop makes."""

from __future__ import annotations

import re


def test_no_shell_line_is_put_together_when_its_job_runs(root):
    """Snakemake evaluates such a line again when its job runs: a loop's variable is then that of the last turn."""
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted(root.glob("rules/*.smk"))
        for line in re.findall(r"^ *shell:\n(?:.*\n)*?(?=\n|\Z)", path.read_text(), re.MULTILINE)
        if re.search(r'^\s+f"', line, re.MULTILINE)
    ]
    assert found == []
