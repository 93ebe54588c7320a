"""Starting a program and leaving nothing of it behind; Python processes forked from a warm template."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest

from prism.core.errors import PrismError
from prism.rl import launch


def wait_until_gone(processes: list[int]) -> bool:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if not any(Path(f"/proc/{process}").exists() for process in processes):
            return True
        time.sleep(0.05)
    return False


# a grandchild in a session of its own, as Ray's daemons are
DAEMON = (
    "import subprocess, sys; p = subprocess.Popen(['sleep', '60'], start_new_session=True); print(p.pid, flush=True)"
)


def test_output_goes_to_the_log_and_daemons_do_not_survive(tmp_path, capfd):
    launch.run_watched([sys.executable, "-c", DAEMON], {}, tmp_path / "log")
    daemon = int((tmp_path / "log").read_text().split()[1])
    assert str(daemon) in capfd.readouterr().err
    assert wait_until_gone([daemon])


def test_a_failure_is_one_error_with_the_last_lines(tmp_path):
    with pytest.raises(PrismError, match=r"code 3(.|\n)*goodbye"):
        launch.run_watched([sys.executable, "-c", "print('goodbye'); raise SystemExit(3)"], {}, tmp_path / "log")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_survives_a_killed_parent(tmp_path, number):
    program = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from prism.rl.launch import run_watched
        code = "import time; print(__import__('os').getpid(), flush=True); time.sleep(60)"
        run_watched([sys.executable, "-c", code], {{}}, Path({str(tmp_path / "log")!r}))
    """)
    # a test run in the background ignores SIGINT, and would hand that down
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    parent = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL, preexec_fn=heed)
    log = tmp_path / "log"
    while not (log.exists() and log.read_text().endswith("\n")):
        time.sleep(0.05)
    child = int(log.read_text().split()[1])
    os.kill(parent.pid, number)
    parent.wait(timeout=10)
    assert wait_until_gone([child])


def test_two_runs_share_no_folder_and_socket_paths_stay_short():
    with launch.short_folder() as first, launch.short_folder() as second:
        assert first != second
        socket = first / "session_2026-01-01_00-00-00_000000_1000000" / "sockets" / "plasma_store"
        assert len(str(socket)) < 107
    assert not first.exists()


def test_cpu_environment_loads_the_platform_before_the_trainer(tmp_path):
    cpu = launch.verl_environment("cpu", 2, tmp_path, tmp_path / "m")
    modules = ("packed_attention", "log_probs", "micro_batches", "trainer")
    everywhere = ",".join(f"prism.rl.in_verl.{name}" for name in modules)
    assert cpu["VERL_USE_EXTERNAL_MODULES"] == f"prism.rl.in_verl.cpu_platform,{everywhere},prism.rl.in_verl.passes"
    assert cpu["OMP_WAIT_POLICY"] == "PASSIVE"
    gpu = launch.verl_environment("gpu", 2, tmp_path, tmp_path / "m")
    assert gpu["VERL_USE_EXTERNAL_MODULES"] == everywhere
    assert "VERL_PLATFORM" not in gpu
    assert gpu["VLLM_USE_FLASHINFER_SAMPLER"] == "0"
    assert "VLLM_USE_FLASHINFER_SAMPLER" not in cpu


# the warm template, without Ray's imports


@pytest.fixture
def stub(tmp_path):
    """A template that has imported nothing but itself, and its stub."""
    program = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from prism.rl import warm_start
        warm_start._stay_in_process = lambda: None
        sys.modules["warmed"] = sys
        print(warm_start.start_template(Path({str(tmp_path)!r})), flush=True)
        time.sleep(60)
    """)
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    yield owner.stdout.readline().strip()
    owner.kill()
    owner.wait()


def test_stub_runs_a_script_with_arguments_environment_and_exit_code(stub, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, warmed\nprint(sys.argv[1:], os.environ['COLOUR'], os.getcwd(), __name__)\nsys.exit(7)\n"
    )
    run = subprocess.run(
        [stub, "-u", str(script), "a", "--b"],
        env={"COLOUR": "blue"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 7
    assert run.stdout == f"['a', '--b'] blue {tmp_path} __main__\n"


def test_stub_leaves_everything_else_to_the_interpreter(stub):
    run = subprocess.run([stub, "-c", "import sys; print('warmed' in sys.modules)"], capture_output=True, text=True)
    assert run.stdout == "False\n"


def test_killing_the_stub_kills_its_process(stub, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    running = subprocess.Popen([stub, str(script)], stdout=subprocess.PIPE, text=True)
    process = int(running.stdout.readline())
    assert process != running.pid
    running.kill()
    running.wait()
    assert wait_until_gone([process])


def test_an_exception_in_the_script_is_exit_code_one(stub, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("raise ValueError('broken')\n")
    run = subprocess.run([stub, str(script)], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "ValueError: broken" in run.stderr
