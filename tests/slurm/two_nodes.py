"""Run by `test_two_nodes.py` inside a SLURM job of two nodes: gathers a Ray cluster, then runs a command on both."""

import os
import subprocess
import sys
from pathlib import Path

from prism.verl_plugin.launch import verl_environment
from prism.verl_plugin.multinode import (
    Allocation,
    ray_cluster,
    read_allocation,
    rendezvous_command,
    rendezvous_environment,
)


def gather(allocation: Allocation, folder: Path) -> None:
    """A Ray cluster with one pretended GPU a node; prints what a driver sees of it."""
    variables = verl_environment("cpu", 1, folder, folder / "metrics.jsonl")
    os.environ |= variables
    # Ray reads its token once, when it is imported
    import ray

    with ray_cluster(allocation, gpus=1, variables=variables, folder=folder) as address:
        ray.init(address=address, log_to_driver=False)
        print("ray", sum(node["Alive"] for node in ray.nodes()), "nodes", int(ray.cluster_resources()["GPU"]), "GPUs")
        ray.shutdown()


def meet(allocation: Allocation) -> None:
    """What LLaMA-Factory's launcher would be told on every node."""
    show = ["sh", "-c", "echo rank $NODE_RANK of $NNODES on $SLURMD_NODENAME meets at $MASTER_ADDR"]
    command = rendezvous_command(show, allocation)
    subprocess.run(command, env={**os.environ, **rendezvous_environment(allocation)}, check=True)


if __name__ == "__main__":
    here = read_allocation(2, "rl.nodes")
    gather(here, Path(sys.argv[1]))
    meet(here)
