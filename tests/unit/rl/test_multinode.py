"""What is started on the nodes of an allocation, and what is refused."""

import subprocess
from types import SimpleNamespace

import pytest

from prism.core import slurm
from prism.core.errors import BadInput, PrismError
from prism.core.slurm import Allocation, read_allocation, rendezvous_command, rendezvous_environment
from prism.rl import multinode

TWO = Allocation(("node7", "node9"), "10.0.0.7", 20123)


@pytest.fixture
def scontrol(monkeypatch):
    """Two nodes, as scontrol describes them."""

    def answer(command, **_):
        text = "node7\nnode9\n" if command[2] == "hostnames" else "NodeName=node7 Arch=x\n   NodeAddr=10.0.0.7 X=1\n"
        return SimpleNamespace(returncode=0, stdout=text, stderr="")

    monkeypatch.setattr(slurm.shutil, "which", lambda name: name)
    monkeypatch.setattr(slurm.subprocess, "run", answer)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[7,9]")
    monkeypatch.setenv("SLURM_JOB_ID", "123")


def test_the_allocation_is_read_from_slurm(scontrol):
    assert read_allocation(2, "rl.nodes") == TWO


def test_two_jobs_do_not_meet_at_one_port(scontrol, monkeypatch):
    first = read_allocation(2, "rl.nodes").port
    monkeypatch.setenv("SLURM_JOB_ID", "124")
    assert read_allocation(2, "rl.nodes").port != first


def test_too_small_an_allocation_is_refused(scontrol):
    with pytest.raises(BadInput, match=r"sft\.nodes: 3 nodes, but the SLURM job has 2"):
        read_allocation(3, "sft.nodes")


def test_more_nodes_without_slurm_are_refused(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    with pytest.raises(BadInput, match="not a SLURM job"):
        read_allocation(2, "sft.nodes")


def test_every_node_runs_the_command_with_its_rank():
    command = rendezvous_command(["llamafactory-cli", "train", "a b.yaml"], TWO)
    assert command[: command.index("sh")] == TWO.srun(TWO.hosts)
    # the part behind srun, run as a node would run it: show the rank and the words that the program gets
    shell = command[command.index("sh") : -3]
    program = ["sh", "-c", 'echo rank $NODE_RANK; printf "%s\\n" "$@"', "sh", "train", "a b.yaml"]
    result = subprocess.run([*shell, *program], env={"SLURM_PROCID": "1"}, capture_output=True, text=True)
    assert result.stdout == "rank 1\ntrain\na b.yaml\n"


def test_the_rendezvous_is_on_the_first_node():
    variables = rendezvous_environment(TWO)
    assert (variables["NNODES"], variables["MASTER_ADDR"], variables["MASTER_PORT"]) == ("2", "10.0.0.7", "20123")


def test_nodes_are_counted_whatever_ray_prints_around():
    assert multinode.nodes_alive("(raylet) a worker pool.\nnodes alive: 2\n(raylet) 7 workers in the pool.\n") == 2
    assert multinode.nodes_alive("(raylet) nothing yet\n") == 0


def test_a_look_that_finds_no_ray_counts_no_node(monkeypatch):
    def wait_in_vain(command, timeout, **_):
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(multinode.subprocess, "run", wait_in_vain)
    assert multinode._count_nodes("10.0.0.7:20123", {}) == 0


@pytest.fixture
def starts(monkeypatch):
    """Names of the daemons that were started; none of them is real."""
    started = []

    def start(command, **_):
        started.append("head" if "--head" in command else "workers")
        return SimpleNamespace(terminate=lambda: None, wait=lambda seconds: 0)

    monkeypatch.setattr(multinode.subprocess, "Popen", start)
    return started


def test_the_head_of_a_ray_cluster_is_there_before_its_workers(starts, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(multinode, "_gather", lambda _, nodes, *__: seen.append((nodes, list(starts))))
    with multinode.ray_cluster(TWO, 1, {}, tmp_path) as address:
        assert address == "10.0.0.7:20123"
    assert seen == [(1, ["head"]), (2, ["head", "workers"])]


def test_a_ray_that_does_not_come_up_is_started_once_more(starts, monkeypatch, tmp_path):
    def fail(*_):
        raise PrismError("Ray ended")

    monkeypatch.setattr(multinode, "_gather", fail)
    with pytest.raises(PrismError, match="Ray ended"), multinode.ray_cluster(TWO, 1, {}, tmp_path):
        pass
    assert starts == ["head", "head"]
