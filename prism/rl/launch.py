"""Starts verl as a program of its own, watches it, and leaves nothing of it behind.

verl starts Ray, Ray starts daemons and workers in sessions of their own: killing the child alone would orphan them.
Every descendant inherits a marker in its environment, by which it is found and killed.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from prism.core.errors import PrismError
from prism.core.trackers import tracker_environment

MARKER = "PRISM_RL_RUN"
LINES_IN_ERROR = 15
SECONDS_TO_END = 10.0
_PR_SET_PDEATHSIG = 1


def verl_environment(
    platform: str, threads: int, scratch: Path, metrics: Path, loggers: Sequence[str] = ()
) -> dict[str, str]:
    """Environment variables of a verl run, on top of the caller's own.

    Args:
        platform: ``cpu`` or ``gpu``.
        threads: torch threads of each of the two processes that compute.
        scratch: folder for caches and for what trackers write.
        metrics: file that verl's ``file`` logger writes.
        loggers: where verl reports to.
    """
    plugins = [f"prism.rl.in_verl.{name}" for name in ("packed_attention", "log_probs", "micro_batches", "trainer")]
    variables = {
        "VERL_FILE_LOGGER_PATH": str(metrics),
        "HF_DATASETS_CACHE": str(scratch / "datasets"),
        "HF_HUB_OFFLINE": "1",
        **tracker_environment(loggers, scratch),
        "HYDRA_FULL_ERROR": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        # on a machine that is busy with other work Ray's services start slowly, which is no reason to give up
        "RAY_gcs_server_request_timeout_seconds": "600",
        # other users of a shared machine cannot speak to this Ray
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    if platform == "cpu":
        plugins = ["prism.rl.in_verl.cpu_platform", *plugins, "prism.rl.in_verl.passes"]
        variables |= {
            "VERL_PLATFORM": "cpu",
            # verl registers its FSDP engine under the names "cuda" and "npu" alone; nothing of CUDA is touched
            "VERL_ENGINE_DEVICE": "cuda",
            # the logical "GPU" of Ray; an empty value would make Ray refuse it
            "CUDA_VISIBLE_DEVICES": "0",
            "OMP_NUM_THREADS": str(threads),
            "PRISM_ROLLOUT_THREADS": str(threads),
            # threads that spin while they wait would take the core that the other process needs
            "OMP_WAIT_POLICY": "PASSIVE",
            "OPENBLAS_NUM_THREADS": "1",
            # TransferQueue's processes would take eight threads each
            "TQ_NUM_THREADS": "1",
            "TQ_CLIENT_ZMQ_IO_THREADS": "1",
            "RAY_worker_niceness": "0",
            # by default Ray starts one idle worker a logical CPU, before anybody asks for one
            "RAY_prestart_worker_first_driver": "0",
            "RAY_enable_worker_prestart": "0",
        }
    else:
        # compiled where it is first used, by a compiler that machines with GPUs need not have
        variables["VLLM_USE_FLASHINFER_SAMPLER"] = "0"
    variables["VERL_USE_EXTERNAL_MODULES"] = ",".join(plugins)
    return variables


@contextmanager
def short_folder() -> Iterator[Path]:
    """A temporary folder with a short path: Ray puts sockets in it, and a socket's path may have 107 characters."""
    base = tempfile.gettempdir() if len(tempfile.gettempdir()) <= 20 else "/tmp"
    folder = Path(tempfile.mkdtemp(prefix="prism-ray-", dir=base))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_watched(command: Sequence[str], variables: Mapping[str, str], log: Path) -> None:
    """Run a command to its end; its output goes to standard error and, each line with its second, to `log`.

    Whatever happens (error, exception, signal), no process that the command started is alive afterwards.

    Raises:
        PrismError: the command failed; holds its last lines.
    """
    marker = uuid.uuid4().hex
    log.parent.mkdir(parents=True, exist_ok=True)
    last: deque[str] = deque(maxlen=LINES_IN_ERROR)
    with _signals_as_exceptions():
        try:
            process = subprocess.Popen(
                list(command),
                env={**inherited_environment(), **variables, MARKER: marker},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
            # a daemon may hold the pipe open after the command has ended: the end of the output is not waited for
            reader = threading.Thread(target=_pass_on, args=(process.stdout, log, last), daemon=True)
            reader.start()
            code = process.wait()
        finally:
            kill_marked(marker)
        reader.join(SECONDS_TO_END)
    if code != 0:
        raise PrismError(f"verl ended with code {code}; log: {log}\n{''.join(last)}")


def inherited_environment() -> dict[str, str]:
    """This process's environment without a variable that SLURM sets beside CUDA_VISIBLE_DEVICES: verl refuses both."""
    return {name: value for name, value in os.environ.items() if name != "ROCR_VISIBLE_DEVICES"}


def _pass_on(output: TextIO, log: Path, last: deque[str]) -> None:
    """Copy a command's output to standard error, to the log and to `last`."""
    started = time.monotonic()
    with log.open("a", encoding="utf-8") as out:
        for line in output:
            out.write(f"{time.monotonic() - started:8.2f} {line}")
            out.flush()
            print(line, end="", file=sys.stderr, flush=True)
            last.append(line)


def _die_with_parent() -> None:
    # a kill -9 of the parent cannot be caught: the kernel then ends the child, and Ray's daemons end with it
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into exceptions, so that what was started is killed before this process ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    former = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def marked_processes(marker: str, variable: str = MARKER) -> list[int]:
    """Ids of this user's living processes that were started with the marker in a variable of their environment."""
    wanted = f"{variable}={marker}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def kill_marked(marker: str, variable: str = MARKER) -> None:
    """Kill all marked processes and wait until they are gone."""
    deadline = time.monotonic() + SECONDS_TO_END
    while time.monotonic() < deadline:
        left = marked_processes(marker, variable)
        if not left:
            return
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.05)
