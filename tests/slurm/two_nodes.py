"""Run by `test_two_nodes.py` inside a SLURM job of two nodes: gathers a Ray cluster and prints what a driver sees."""

import os
import sys
from pathlib import Path

from prism.core.slurm import Allocation, read_allocation
from prism.rl.launch import verl_environment
from prism.rl.multinode import ray_cluster


def gather(allocation: Allocation, folder: Path) -> None:
    """A Ray cluster with one pretended GPU a node."""
    variables = verl_environment("cpu", 1, folder, folder / "metrics.jsonl")
    os.environ |= variables
    # Ray reads its token once, when it is imported
    import ray

    with ray_cluster(allocation, gpus=1, variables=variables, folder=folder) as address:
        ray.init(address=address, log_to_driver=False)
        print("ray", sum(node["Alive"] for node in ray.nodes()), "nodes", int(ray.cluster_resources()["GPU"]), "GPUs")
        ray.shutdown()


if __name__ == "__main__":
    gather(read_allocation(2, "rl.nodes"), Path(sys.argv[1]))
