"""The nodes of the SLURM job that a stage runs in, and torchrun's rendezvous over them.

The stage runs on the allocation's first node, as a job of the workflow, and reaches the others through ``srun``. One
node is the default and needs none of this.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from prism.core.errors import BadInput, PrismError

FIRST_PORT, PORTS = 20000, 20000


@dataclass(frozen=True)
class Allocation:
    """The nodes of this SLURM job.

    Attributes:
        hosts: their names; the first is the one that the others meet at.
        address: network address of the first.
        port: where they meet; follows from the job's number, so that jobs on shared nodes do not collide.
    """

    hosts: tuple[str, ...]
    address: str
    port: int

    @property
    def meeting_point(self) -> str:
        """Address and port, as Ray takes them."""
        return f"{self.address}:{self.port}"

    def srun(self, hosts: Sequence[str]) -> list[str]:
        """The beginning of a command that runs once on each of some hosts, beside what runs there already."""
        count = len(hosts)
        return [
            "srun",
            "--overlap",
            f"--nodes={count}",
            f"--ntasks={count}",
            "--ntasks-per-node=1",
            f"--nodelist={','.join(hosts)}",
            # one node's failure must end all: the others would wait for it for ever
            "--kill-on-bad-exit=1",
        ]


def read_allocation(nodes: int, key: str) -> Allocation:
    """The allocation that this process runs in.

    Args:
        nodes: how many nodes the config asks for.
        key: the config's key, for the message.

    Raises:
        BadInput: this is no SLURM job, or one of fewer nodes.
        PrismError: SLURM does not describe its nodes.
    """
    remedy = f"set {key} to 1, or request `nodes: {nodes}` for the rule in slurm/config.v9+.yaml"
    listed = os.environ.get("SLURM_JOB_NODELIST")
    if not listed or not shutil.which("scontrol"):
        raise BadInput(key, f"{nodes} nodes, but this is not a SLURM job", remedy)
    hosts = tuple(_scontrol("show", "hostnames", listed).split())
    if len(hosts) < nodes:
        raise BadInput(key, f"{nodes} nodes, but the SLURM job has {len(hosts)}", remedy)
    described = re.search(r"\bNodeAddr=(\S+)", _scontrol("show", "node", hosts[0]))
    if not described:
        raise PrismError(f"scontrol does not say the address of {hosts[0]}")
    return Allocation(hosts[:nodes], described[1], FIRST_PORT + int(os.environ["SLURM_JOB_ID"]) % PORTS)


def _scontrol(*arguments: str) -> str:
    result = subprocess.run(["scontrol", *arguments], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise PrismError(f"scontrol {' '.join(arguments)} failed: {result.stderr.strip()}")
    return result.stdout


def rendezvous_command(command: Sequence[str], allocation: Allocation) -> list[str]:
    """A LLaMA-Factory command, run on every node; the node's rank is SLURM's task number."""
    return [*allocation.srun(allocation.hosts), "sh", "-c", 'export NODE_RANK=$SLURM_PROCID; exec "$@"', "sh", *command]


def rendezvous_environment(allocation: Allocation) -> dict[str, str]:
    """What LLaMA-Factory's launcher hands to torchrun."""
    return {
        "FORCE_TORCHRUN": "1",
        "NNODES": str(len(allocation.hosts)),
        "MASTER_ADDR": allocation.address,
        "MASTER_PORT": str(allocation.port),
    }
