"""A Ray cluster over the nodes of one SLURM job (`prism.core.slurm`), for RL on more than one."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from prism.core.errors import PrismError
from prism.core.progress import say
from prism.core.slurm import Allocation
from prism.rl.launch import inherited_environment

SECONDS_TO_GATHER = 180.0
# a look is a program that imports Ray: it takes time from the daemons that it waits for
SECONDS_BETWEEN_LOOKS = 5.0
# a driver that finds no Ray would wait for it as long as a request may take
SECONDS_TO_LOOK = 30.0
SECONDS_TO_END = 20.0
# a job's cluster neither grows nor is looked at, and every daemon less leaves the others time to come up
NO_OTHER_DAEMONS = ("--include-dashboard=false", "--no-monitor")
COUNT_NODES = """
import ray, sys
ray.init(address=sys.argv[1], log_to_driver=False)
print("nodes alive:", sum(node["Alive"] for node in ray.nodes()))
"""


@contextmanager
def ray_cluster(allocation: Allocation, gpus: int, variables: Mapping[str, str], folder: Path) -> Iterator[str]:
    """A Ray cluster over the allocation's nodes while the context lasts.

    Args:
        allocation: its nodes.
        gpus: GPUs a node.
        variables: environment of verl's processes; Ray's workers inherit it from the daemons started here.
        folder: gets the daemons' output.

    Yields:
        The cluster's address, for ``RAY_ADDRESS``.

    Raises:
        PrismError: a daemon ended, or not all nodes came.
    """
    start = partial(_start_daemons, allocation, gpus, {**inherited_environment(), **variables}, folder)
    try:
        daemons = start()
    except PrismError as error:
        # on a busy node Ray's own time limits are short
        say(f"{error}; trying once more")
        daemons = start()
    try:
        yield allocation.meeting_point
    finally:
        _end(daemons)


def _start_daemons(
    allocation: Allocation, gpus: int, environment: Mapping[str, str], folder: Path
) -> list[subprocess.Popen]:
    """Start Ray on every node, the head's first; where it does not come up, none is left."""
    daemons: list[subprocess.Popen] = []
    try:
        for name, hosts, options in _daemons(allocation):
            ray = [sys.executable, "-m", "ray.scripts.scripts", "start", *options]
            command = [*allocation.srun(hosts), *ray, f"--num-gpus={gpus}", "--disable-usage-stats", "--block"]
            with (folder / f"ray-{name}.log").open("w") as log:
                daemons.append(subprocess.Popen(command, env=dict(environment), stdout=log, stderr=log))
            nodes = 1 if name == "head" else len(allocation.hosts)
            _gather(allocation, nodes, daemons, environment, folder)
    except BaseException:
        _end(daemons)
        raise
    return daemons


def _daemons(allocation: Allocation) -> Iterator[tuple[str, tuple[str, ...], list[str]]]:
    """What to start, one after the other: name, hosts, options of ``ray start``.

    A worker's daemon that has to wait for the head's uses up the time that Ray gives it.
    """
    place = [f"--node-ip-address={allocation.address}", f"--port={allocation.port}"]
    yield "head", allocation.hosts[:1], ["--head", *place, *NO_OTHER_DAEMONS]
    yield "workers", allocation.hosts[1:], [f"--address={allocation.meeting_point}"]


def _end(daemons: Sequence[subprocess.Popen]) -> None:
    """End daemons, the head's last."""
    for daemon in reversed(daemons):
        daemon.terminate()
    for daemon in daemons:
        try:
            daemon.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            daemon.kill()


def _gather(
    allocation: Allocation,
    nodes: int,
    daemons: Sequence[subprocess.Popen],
    environment: Mapping[str, str],
    folder: Path,
) -> None:
    """Wait until so many nodes have joined."""
    deadline = time.monotonic() + SECONDS_TO_GATHER
    while time.monotonic() < deadline:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        if any(daemon.poll() is not None for daemon in daemons):
            raise PrismError(f"Ray ended on a node before all had joined; see {folder}/ray-*.log")
        if _count_nodes(allocation.meeting_point, environment) >= nodes:
            say(f"Ray: {nodes} nodes at {allocation.meeting_point}")
            return
    raise PrismError(f"Ray: not all of {nodes} nodes joined within {SECONDS_TO_GATHER:.0f} s; see {folder}/ray-*.log")


def _count_nodes(address: str, environment: Mapping[str, str]) -> int:
    """Nodes that a driver sees; 0 where it finds no Ray."""
    command = [sys.executable, "-c", COUNT_NODES, address]
    try:
        counted = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, check=False, timeout=SECONDS_TO_LOOK
        )
    except subprocess.TimeoutExpired:
        return 0
    return nodes_alive(counted.stdout) if counted.returncode == 0 else 0


def nodes_alive(printed: str) -> int:
    """The number that `COUNT_NODES` printed; Ray's daemons may print lines of their own around it."""
    found = re.search(r"^nodes alive: (\d+)$", printed, re.MULTILINE)
    return int(found[1]) if found else 0
