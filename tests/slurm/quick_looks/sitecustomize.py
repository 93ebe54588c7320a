"""Python reads this at its start: Snakemake looks at its SLURM jobs every two seconds.

The executor waits ten seconds longer after every look at which no job had ended, up to three minutes, and none of its
settings says otherwise. That suits a cluster; a test of many short jobs would spend most of its time waiting.
"""

import sys

SECONDS_BETWEEN_LOOKS = 2

if "--profile" in sys.orig_argv and "slurm" in sys.orig_argv:
    from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

    RemoteExecutor.next_seconds_between_status_checks = property(
        lambda self: SECONDS_BETWEEN_LOOKS, lambda self, seconds: None
    )
