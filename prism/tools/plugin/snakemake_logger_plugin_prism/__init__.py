"""A Snakemake logger plugin that writes the jobs of a dry run to a file, one JSON object a line.

Snakemake finds a plugin by the name of its top-level module, so this folder's parent is put on PYTHONPATH by
`prism.tools.snakemake_plan`, which names the file in the environment variable ``PRISM_PLAN_JOBS``.
"""

from __future__ import annotations

import json
import os
from logging import LogRecord
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

FIELDS = ("jobid", "rule_name", "rule_msg", "reason", "input", "output", "log", "benchmark", "wildcards", "shellcmd")


class LogHandler(LogHandlerBase):
    """Writes what is known of each job; every other event is ignored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._out = open(os.environ["PRISM_PLAN_JOBS"], "w", encoding="utf-8")  # noqa: SIM115

    def emit(self, record: LogRecord) -> None:
        """Write one job."""
        if getattr(record, "event", None) != LogEvent.JOB_INFO:
            return
        job: dict[str, Any] = {name: getattr(record, name) for name in FIELDS}
        job["wildcards"] = dict(job["wildcards"] or {})
        resources = record.resources
        job["resources"] = {name: resources.get(name) for name in ("gres", "gpu", "nodes", "mem_mb", "runtime")}
        json.dump(job, self._out, default=str)
        self._out.write("\n")
        self._out.flush()

    @property
    def writes_to_stream(self) -> bool:
        """Snakemake keeps its own output on the terminal."""
        return False

    @property
    def writes_to_file(self) -> bool:
        """The file is not a log: Snakemake must not announce it as one."""
        return False

    @property
    def has_filter(self) -> bool:
        """All events come here."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Records are written as JSON."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """Only jobs matter."""
        return False
