"""What an installation needs is checked before anything is downloaded."""

import os
import subprocess
import sys


def preflight(root, **environment):
    command = [sys.executable, str(root / "scripts/preflight.py")]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_this_machine_can_install(root):
    assert preflight(root).returncode == 0


def test_a_missing_compiler_is_one_line(root, tmp_path):
    result = preflight(root, PATH=str(tmp_path))
    assert result.returncode == 2
    lines = result.stderr.splitlines()
    assert [line for line in lines if "no C compiler" in line and "build-essential" in line]
    assert all(line.startswith("preflight: ") for line in lines)


def test_an_old_python_is_refused(root):
    code = (
        "import sys, runpy; sys.version_info = (3, 10, 2); sys.argv = ['preflight'];"
        f"runpy.run_path({str(root / 'scripts/preflight.py')!r}, run_name='__main__')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "Python 3.10 is too old: 3.11 or newer is needed" in result.stderr
