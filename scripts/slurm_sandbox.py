"""A real SLURM on one machine, for tests: two emulated nodes with eight pretended A100s each. Standard library only.

    sudo apt-get install --no-install-recommends slurmctld slurmd slurm-client munge      (Debian 12, Ubuntu 22.04)
    sudo python3 scripts/slurm_sandbox.py up
    sudo python3 scripts/slurm_sandbox.py status
    sudo python3 scripts/slurm_sandbox.py down

munged, slurmctld and one slurmd a node run without systemd and without cgroups: SLURM schedules and numbers the GPUs
(``CUDA_VISIBLE_DEVICES``), kills jobs over their time and memory, and requeues jobs of a dead node, but it does not
fence devices off. CPU and memory counts of the nodes are pretended. There is no accounting: ``squeue``, not ``sacct``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

NODES = ("gpu01", "gpu02")
CPUS, MEMORY_MB, GPUS = 128, 1_000_000, 8
CONTROLLER_PORT = 16817
STATE = Path("/var/tmp/prism-slurm-sandbox")
# Snakemake drops every SLURM_* variable before it submits, SLURM_CONF too: the configuration lies at its default place
SYSTEM_CONFIG = Path("/etc/slurm")
MUNGE_SOCKET = Path("/run/munge/munge.socket.2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
NULL_DEVICE = os.makedev(1, 3)

SLURM_CONF = """\
ClusterName=sandbox
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={munge}
MailProg=/bin/true
PlugstackConfig=/dev/null
SlurmctldPort={port}
StateSaveLocation={state}/state
SlurmdSpoolDir={state}/spool/%n
SlurmctldPidFile={state}/pid/slurmctld.pid
SlurmdPidFile={state}/pid/slurmd-%n.pid
SlurmctldLogFile={state}/log/slurmctld.log
SlurmdLogFile={state}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
AccountingStorageType=accounting_storage/none
# a node that comes back is used again
ReturnToService=2
# the nodes' size is pretended
SlurmctldParameters=node_reg_mem_percent=1
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
# without cgroups, memory is sampled: a job over its request is killed
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SlurmdTimeout=10
InactiveLimit=0
KillWait=2
CompleteWait=0
MinJobAge=3600
JobRequeue=1
{nodes}
PartitionName=gpu Nodes=ALL Default=YES MaxTime=3-00:00:00 State=UP
"""


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("up", "down", "status"))
    command = parser.parse_args().command
    if command == "status":
        subprocess.run(["sinfo", "-N", "-o", "%N %T %c %m %G"], check=False)
        subprocess.run(["squeue"], check=False)
    elif reason := why_not():
        sys.exit(f"slurm sandbox: {reason}")
    elif command == "up":
        start()
        print("slurm sandbox: up, " + ", ".join(f"{node} with gpu:a100:{GPUS}" for node in NODES))
    else:
        stop()


def why_not() -> str | None:
    """Why the sandbox cannot run here; None where it can."""
    if os.geteuid() != 0:
        return "needs root (munge, device files and /etc/slurm)"
    if missing := [program for program in PROGRAMS if not find_program(program)]:
        return f"{', '.join(missing)} not installed: apt-get install slurmctld slurmd slurm-client munge"
    config = SYSTEM_CONFIG / "slurm.conf"
    if config.exists() and config.resolve() != STATE / "slurm.conf":
        return f"{config} belongs to another SLURM; use a machine without one"
    return None


def find_program(name: str) -> str | None:
    """Daemons lie in sbin, which is not on every PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def start() -> None:
    """Start every daemon and wait until both nodes are idle; what was up before is stopped first."""
    stop()
    for name in ("state", "spool", "pid", "log", "dev"):
        (STATE / name).mkdir(parents=True)
    write_configuration()
    MUNGE_SOCKET.parent.mkdir(parents=True, exist_ok=True)
    run_daemon(
        "munged",
        "--force",
        f"--key-file={STATE}/munge.key",
        f"--socket={MUNGE_SOCKET}",
        f"--pid-file={STATE}/pid/munged.pid",
        f"--log-file={STATE}/log/munged.log",
        f"--seed-file={STATE}/munge.seed",
    )
    run_daemon("slurmctld", "-c")
    for node in NODES:
        start_node(node)
    for node in NODES:
        wait_for_node(node)


def write_configuration() -> None:
    """slurm.conf, gres.conf, the munge key, and character devices that stand for GPUs."""
    host = socket.gethostname().partition(".")[0]
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={CONTROLLER_PORT + 10 + number} CPUs={CPUS}"
        f" RealMemory={MEMORY_MB} Gres=gpu:a100:{GPUS} State=UNKNOWN"
        for number, node in enumerate(NODES)
    )
    text = SLURM_CONF.format(host=host, munge=MUNGE_SOCKET, port=CONTROLLER_PORT, state=STATE, nodes=nodes)
    (STATE / "slurm.conf").write_text(text)
    (STATE / "gres.conf").write_text(f"Name=gpu Type=a100 File={STATE}/dev/nvidia[0-{GPUS - 1}]\n")
    for number in range(GPUS):
        os.mknod(STATE / f"dev/nvidia{number}", 0o666 | stat.S_IFCHR, NULL_DEVICE)
    key = STATE / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    SYSTEM_CONFIG.mkdir(parents=True, exist_ok=True)
    for name in ("slurm.conf", "gres.conf"):
        (SYSTEM_CONFIG / name).unlink(missing_ok=True)
        (SYSTEM_CONFIG / name).symlink_to(STATE / name)


def run_daemon(name: str, *arguments: str) -> None:
    """Start a daemon, which puts itself into the background."""
    program = find_program(name)
    assert program, name
    # a daemon that keeps the caller's pipes open would make the caller wait for ever
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if subprocess.run([program, *arguments], check=False, **quiet).returncode != 0:
        sys.exit(f"slurm sandbox: {name} did not start; see {STATE}/log")


def start_node(node: str) -> None:
    """Start (again) the slurmd of one emulated node."""
    run_daemon("slurmd", "-c", "-N", node)


def wait_for_node(node: str, seconds: float = 30) -> None:
    """Wait until a node takes jobs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        command = ["sinfo", "-h", "-n", node, "-t", "idle,mixed,allocated", "-o", "%N"]
        if subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip():
            return
        time.sleep(0.3)
    sys.exit(f"slurm sandbox: {node} did not register; see {STATE}/log")


def kill_node(node: str) -> None:
    """Let a node die as if its power were cut: its slurmd and every process of its jobs, without a farewell."""
    dying: set[int] = set()
    # stopped before the first one is killed: a step daemon that outlived its job would report a failure
    while found := processes_of_node(node) - dying:
        send_signal(found, signal.SIGSTOP)
        dying |= found
    send_signal(dying, signal.SIGKILL)


def send_signal(processes: set[int], number: signal.Signals) -> None:
    """Signal processes; one that is gone already is none to signal."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def processes_of_node(node: str) -> set[int]:
    """The slurmd of a node, its jobs, by the node's name in their environment, and their step daemons."""
    wanted = f"SLURMD_NODENAME={node}".encode()
    found = {read_pid(STATE / f"pid/slurmd-{node}.pid")} - {None}
    for folder in Path("/proc").glob("[0-9]*"):
        # a process may end while it is looked at
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.add(int(folder.name))
                found |= step_daemon_above(folder)
    return found


def step_daemon_above(process: Path) -> set[int]:
    """The parent of a process, by its folder in /proc, where that is a step daemon: its environment names no node."""
    # the name lies in parentheses and may hold spaces; the state and then the parent follow it
    parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
    return {int(parent)} if Path(f"/proc/{parent}/comm").read_text().strip() == "slurmstepd" else set()


def stop() -> None:
    """End every daemon that `start` started, with the jobs that still run, and delete the sandbox's state."""
    if not STATE.exists():
        return
    for node in NODES:
        kill_node(node)
    for name in ("slurmctld", "munged"):
        end_process(read_pid(STATE / f"pid/{name}.pid"))
    for name in ("slurm.conf", "gres.conf"):
        if (SYSTEM_CONFIG / name).is_symlink():
            (SYSTEM_CONFIG / name).unlink()
    shutil.rmtree(STATE)


def read_pid(path: Path) -> int | None:
    """The process that a daemon's pid file names, while it lives."""
    try:
        process = int(path.read_text())
        os.kill(process, 0)
    except (OSError, ValueError):
        return None
    return process


def end_process(process: int | None, seconds: float = 10) -> None:
    """SIGTERM, and SIGKILL where that does not help in time."""
    if process is None:
        return
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    main()
