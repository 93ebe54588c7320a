"""Root file systems of images, made outside apptainer: a Debian with a role's lock installed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prism.core.errors import PrismError
from prism.core.progress import say

RELEASE = "bookworm"


@dataclass(frozen=True)
class Place:
    """Where an image keeps its Python packages, below its root.

    Attributes:
        packages: folder of the packages.
        programs: folder of their programs.
        python: the interpreter that these name.
        split_torch: install torch through pip, which finds the CPU wheel; elsewhere it comes with CUDA, by its hash.
    """

    packages: str
    programs: str
    python: str
    split_torch: bool


SITE_PACKAGES = "usr/local/lib/python3.11/dist-packages"
ENVIRONMENT = "opt/prism/venv"
CPU = Place(SITE_PACKAGES, f"{SITE_PACKAGES}/bin", "/usr/bin/python3", True)
GPU = Place(f"{ENVIRONMENT}/lib/python3.11/site-packages", f"{ENVIRONMENT}/bin", f"/{ENVIRONMENT}/bin/python", False)


def lock_path(root: Path, role: str) -> Path:
    """The lock that a role's image is installed from."""
    return root / "envs" / f"{role}.lock"


def install_system(root: Path, role: str, system: Path) -> None:
    """What ``%post`` of a role's definition does, from outside; images for GPUs stand on Debian, as the CPU's does.

    Debian's Python is the version that the locks were resolved for.

    Raises:
        PrismError: mmdebstrap or uv is missing or failed.
    """
    place = CPU if role == "cpu" else GPU
    say(f"container {role}: Debian packages")
    packages = debian_packages(root / "containers" / ("cpu.packages" if role == "cpu" else "gpu.packages"))
    run_checked(["mmdebstrap", "--variant=minbase", f"--include={','.join(packages)}", RELEASE, str(system)])
    say(f"container {role}: Python packages")
    install_lock(lock_path(root, role), system, place)


def debian_packages(path: Path) -> list[str]:
    """The packages that a file lists, one a line."""
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def install_lock(lock: Path, system: Path, place: Place) -> None:
    """Install a lock into a root file system, hash by hash.

    Raises:
        PrismError: uv is missing or failed.
    """
    site, text = str(system / place.packages), lock.read_text(encoding="utf-8")
    if place.split_torch:
        torch, text = split_torch(text)
        run_checked([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, torch])
    python = shutil.which("python3", path="/usr/bin") or "python3"
    with tempfile.NamedTemporaryFile("w", suffix=".lock") as rest:
        rest.write(text)
        rest.flush()
        options = ["--quiet", "--no-deps", "--require-hashes", "--python", python, "--target", site]
        run_checked([*_uv(), "pip", "install", *options, "-r", rest.name])
    programs = system / place.programs
    if place is GPU:
        _make_environment(system, Path(site) / "bin", programs)
    for program in programs.iterdir():
        if program.is_file() and not program.is_symlink():
            _point_to(place.python, program)


def _make_environment(system: Path, installed: Path, programs: Path) -> None:
    """The folder is a virtual environment of the system's Python, with the packages' programs in it."""
    shutil.move(installed, programs)
    (programs / "python").symlink_to("/usr/bin/python3")
    (programs / "python3").symlink_to("python")
    settings = "home = /usr/bin\ninclude-system-site-packages = false\n"
    (system / ENVIRONMENT / "pyvenv.cfg").write_text(settings, encoding="utf-8")


def split_torch(lock: str) -> tuple[str, str]:
    """The pin of torch, and the lock without it: torch comes through pip, which finds the CPU wheel."""
    entries = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    torch = next(entry for entry in entries if entry.startswith("torch=="))
    rest = "".join(entry for entry in entries if not entry.startswith("torch=="))
    return torch.split()[0], rest


def _point_to(python: str, program: Path) -> None:
    """Console scripts name the interpreter that installed them; in the image there is another."""
    data = program.read_bytes()
    if data.startswith(b"#!") and b"python" in data.split(b"\n", 1)[0]:
        program.write_bytes(f"#!{python}\n".encode() + data.split(b"\n", 1)[1])


def _uv() -> list[str]:
    installed = Path(sys.executable).with_name("uv")
    return [str(installed)] if installed.exists() else ["uv"]


def run(command: Sequence[str], capture: bool = False, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run a tool.

    Raises:
        PrismError: it is not installed.
    """
    try:
        return subprocess.run(command, text=True, capture_output=capture, cwd=cwd, check=False)
    except FileNotFoundError as error:
        raise PrismError(f"{command[0]} is not installed; see docs/containers.md") from error


def run_checked(command: Sequence[str], cwd: Path | None = None) -> None:
    """Run a tool; its output goes to the screen.

    Raises:
        PrismError: it is not installed, or failed.
    """
    status = run(command, cwd=cwd).returncode
    if status:
        raise PrismError(f"`{shlex.join(command[:2])}` ended with status {status}; its output is above")
