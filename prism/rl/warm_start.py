"""Runs ``verl.trainer.main_ppo`` with Ray's Python processes forked from one process that has imported everything.

Run as ``python -m prism.rl.warm_start [Hydra overrides]``.

A verl run on one machine starts about a dozen Python processes (driver, task runner, trainer, sampler, agent loops,
queue, Ray's own services), and each spends 10 to 15 CPU seconds on importing torch, transformers, Ray and verl. Going
without this module costs 72 to 84 s a run, and the demo has four: ``benchmarks/rl_startup.py --steps 1`` took 44 and
30 s to its first step, with ``--cold`` 116 and 114 s (the whole run 70 and 65 s, against 180 and 169 s), in turn on two
cores that others used too. Here the imports are done once:

1. This process imports them, single-threaded, and forks a *template* process.
2. The rest is ``python -m verl.trainer.main_ppo``, unchanged, in this process.
3. Ray starts its Python processes with ``sys.executable``. That names a few lines of shell-like Python (the *stub*)
   that hand their arguments, environment and file descriptors to the template, which forks the process that was
   asked for and runs the script in it. The stub lives as long as the process and ends with its exit code; if the
   stub is killed, so is the process.

What runs in the processes is the same as without; only where they come from differs. Anything but "run this script"
is left to the real interpreter.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import stat
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# folder for the socket and the stub, removed by whoever set it: a killed run then leaves nothing behind
FOLDER_VARIABLE = "PRISM_WARM_FOLDER"
MAX_REQUEST_BYTES = 1 << 22
_PR_SET_PDEATHSIG = 1

MODULES = (
    "verl.trainer.main_ppo",
    "verl.workers.engine.fsdp",
    "prism.rl.in_verl.agent_loop",
    "prism.rl.in_verl.hf_rollout",
    "prism.generation.hf",
    "prism.environments.alfworld.engine",
    "textworld",
    "transformers.models.qwen3.modeling_qwen3",
    "transformers.models.llama.modeling_llama",
    "ray._private.workers.default_worker",
    "ray._private.runtime_env.context",
)

# Ray's library reads these once, when it is imported, and a raylet sets them for each worker. A Ray of our own has one
# driver, so its job is the first; a worker ends when the process RAY_RAYLET_PID has ended, and our driver ends last.
FIRST_JOB = "01000000"

# -S -E: nothing of the environment is imported; the stub is to be up in milliseconds
STUB = """#!{python} -SE
import json, os, socket, sys
arguments = sys.argv[1:]
plain = arguments[1:] if arguments[:1] == ["-u"] else arguments
if not plain or not plain[0].endswith(".py"):
    os.execv({python!r}, [{python!r}, *arguments])
with socket.socket(socket.AF_UNIX) as template:
    template.connect({address!r})
    request = json.dumps(dict(argv=plain, cwd=os.getcwd(), environment=dict(os.environ))).encode()
    socket.send_fds(template, [len(request).to_bytes(4, "big")], [0, 1, 2])
    template.sendall(request)
    answer = template.recv(4)
os._exit(int.from_bytes(answer, "big") if answer else 1)
"""


PYTHON = sys.executable


def warm_up() -> None:
    """Import what Ray's processes are going to need; what is not installed is left out."""
    os.environ |= {"RAY_JOB_ID": FIRST_JOB, "RAY_RAYLET_PID": str(os.getpid())}
    for name in MODULES:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            print(f"warm start: {name} is not imported ({error})", file=sys.stderr)
    del os.environ["RAY_JOB_ID"], os.environ["RAY_RAYLET_PID"]


def write_stub(folder: Path, address: str) -> Path:
    """Write the executable that stands for the Python interpreter."""
    stub = folder / "python"
    stub.write_text(STUB.format(python=PYTHON, address=address))
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    return stub


class Template:
    """The forking side: one thread, one loop over requests and over the ends of processes."""

    def __init__(self, listener: socket.socket, stub: Path):
        self.listener, self.stub = listener, stub
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ, ("request", None))

    def serve(self) -> None:
        """Fork on request until the process is killed; it dies with its parent."""
        while True:
            for key, _ in self.selector.select():
                what, other = key.data
                if what == "request":
                    self._accept()
                elif what == "ended":
                    self._report(key.fileobj, *other)
                else:
                    self._kill(key.fileobj, *other)

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        try:
            head, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
            request = _read(connection, int.from_bytes(head, "big"))
        except (OSError, ValueError):
            connection.close()
            return
        process = os.fork()
        if process == 0:
            self._become(json.loads(request), descriptors, connection)
        for descriptor in descriptors:
            os.close(descriptor)
        handle = os.pidfd_open(process)
        self.selector.register(handle, selectors.EVENT_READ, ("ended", (process, connection)))
        self.selector.register(connection, selectors.EVENT_READ, ("stub", (process, handle)))

    def _report(self, handle: int, process: int, connection: socket.socket) -> None:
        _, status = os.waitpid(process, 0)
        with contextlib.suppress(OSError):
            connection.sendall((os.waitstatus_to_exitcode(status) & 0xFF).to_bytes(4, "big"))
        self._forget(handle, connection)

    def _kill(self, connection: socket.socket, process: int, handle: int) -> None:
        """The stub is gone: its process must not outlive it."""
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.waitpid(process, 0)
        self._forget(handle, connection)

    def _forget(self, handle: int, connection: socket.socket) -> None:
        self.selector.unregister(handle)
        self.selector.unregister(connection)
        os.close(handle)
        connection.close()

    def _become(self, request: dict[str, Any], descriptors: Sequence[int], connection: socket.socket) -> None:
        """In the child: take the requested identity and run the script. Does not return."""
        code = 1
        try:
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            self.selector.close()
            self.listener.close()
            connection.close()
            for target, descriptor in enumerate(descriptors):
                os.dup2(descriptor, target)
                os.close(descriptor)
            os.chdir(request["cwd"])
            os.environ.clear()
            os.environ.update(request["environment"])
            random.seed()
            if request["environment"].get("RAY_JOB_ID", FIRST_JOB) != FIRST_JOB:
                os.execv(PYTHON, [PYTHON, *request["argv"]])
            code = _run_script(request["argv"])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _read(connection: socket.socket, length: int) -> bytes:
    if length > MAX_REQUEST_BYTES:
        raise ValueError(f"a request of {length} bytes")
    received = b""
    while len(received) < length:
        part = connection.recv(length - len(received))
        if not part:
            raise ValueError("the stub ended early")
        received += part
    return received


def _run_script(argv: list[str]) -> int:
    """Run a script as ``__main__``; returns its exit code."""
    _stay_in_process()
    sys.argv = argv
    sys.path.insert(0, str(Path(argv[0]).resolve().parent))
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    return 0


def _stay_in_process() -> None:
    """Ray's ``setup_worker.py`` sets variables and executes the worker anew; here it runs the worker where it is."""
    from ray._private.runtime_env.context import RuntimeEnvContext
    from ray._private.utils import update_envs

    if not hasattr(RuntimeEnvContext, "exec_worker"):
        raise RuntimeError("Ray has no RuntimeEnvContext.exec_worker: warm start was written for Ray 2.60")

    def run_worker(context: RuntimeEnvContext, arguments: list[str], _language: int) -> None:
        update_envs(context.env_vars)
        sys.exit(_run_script(arguments))

    RuntimeEnvContext.exec_worker = run_worker


def start_template(folder: Path) -> Path:
    """Fork the template.

    Returns:
        The stub, to be used as interpreter.
    """
    address = str(folder / "template.socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    stub = write_stub(folder, address)
    # collected garbage and reference counts of old objects would copy the shared pages
    gc.collect()
    gc.freeze()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        sys.executable = str(stub)
        try:
            Template(listener, stub).serve()
        finally:
            os._exit(1)
    listener.close()
    return stub


def main() -> None:
    """Warm up, fork the template, and go on as ``python -m verl.trainer.main_ppo``."""
    warm_up()
    with tempfile.TemporaryDirectory(prefix="prism-warm-", dir=os.environ.get(FOLDER_VARIABLE)) as folder:
        sys.executable = str(start_template(Path(folder)))
        sys.modules.pop("verl.trainer.main_ppo", None)
        runpy.run_module("verl.trainer.main_ppo", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
