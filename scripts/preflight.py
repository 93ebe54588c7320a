"""Check what an installation needs, before anything is downloaded. Standard library only: runs on a bare machine."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

FREE_GIB = 6
ROOT = Path(__file__).resolve().parent.parent


def problems() -> list[str]:
    """One line per missing thing: what is missing and how to get it."""
    found = []
    if sys.version_info < (3, 11):
        version = ".".join(map(str, sys.version_info[:2]))
        found.append(f"Python {version} is too old: 3.11 or newer is needed; run `make demo PYTHON=python3.11`")
    compilers = {"C compiler": ("cc", "gcc", "clang"), "C++ compiler": ("c++", "g++", "clang++"), "make": ("make",)}
    for what, commands in compilers.items():
        if not any(map(shutil.which, commands)):
            found.append(f"no {what} ({', '.join(commands)}): install one, on Debian `apt-get install build-essential`")
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        found.append("Python.h is missing: install the Python headers, on Debian `apt-get install python3-dev`")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        found.append("the venv module is missing: on Debian `apt-get install python3-venv`")
    free = shutil.disk_usage(ROOT).free / 2**30
    if free < FREE_GIB:
        found.append(f"{free:.1f} GiB free in {ROOT}: {FREE_GIB} GiB are needed; free some space")
    return found


def main() -> None:
    """Print every problem, one a line; exit code 2 if there is any."""
    found = problems()
    for problem in found:
        print(f"preflight: {problem}", file=sys.stderr)
    sys.exit(2 if found else 0)


if __name__ == "__main__":
    main()
