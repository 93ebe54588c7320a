"""Run by `test_two_nodes.py` inside a SLURM job of two nodes: gathers a Ray cluster, then runs a command on both."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import ray

from prism.verl_plugin.multinode import ray_cluster, read_allocation, rendezvous_command, rendezvous_environment

folder = Path(sys.argv[1])
# as in a run of verl: only who knows the token may speak to this Ray
token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
os.environ |= token
allocation = read_allocation(2, "rl.nodes")
with ray_cluster(allocation, gpus=1, variables=token, folder=folder) as address:
    ray.init(address=address, log_to_driver=False)
    print("ray", sum(node["Alive"] for node in ray.nodes()), "nodes", int(ray.cluster_resources()["GPU"]), "GPUs")
    ray.shutdown()
show = ["sh", "-c", "echo rank $NODE_RANK of $NNODES on $SLURMD_NODENAME meets at $MASTER_ADDR"]
environment = rendezvous_environment(allocation)
subprocess.run(
    ["env", *(f"{k}={v}" for k, v in environment.items()), *rendezvous_command(show, allocation)], check=True
)
