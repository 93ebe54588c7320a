"""The two environments on a machine without a network: wheels fetched by lock where there is one, installed there.

Standard library alone: ``python -m gpu_parts.wheels ROLE WHEELS TARGET ANSWER.json`` makes one environment.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from prism.core.files import write_json

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = Path(__file__).with_name("extras.txt")
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s\\;]+)")
# wheels of these names are taken; a wheel names the oldest C library that it runs with
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 26, 24, 17, 12, 5, 34, 35, 31)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64", "linux_x86_64"]
NOT_FOUND = re.compile(r"No matching distribution found for ([A-Za-z0-9._-]+)")


def lock_of(role: str, cpu: bool = False) -> Path:
    """The lock of an environment; a CPU has one for everything."""
    return ROOT / "envs" / f"{'cpu' if cpu else role}.lock"


def plain(name: str) -> str:
    """A package's name as packages are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(*files: Path) -> dict[str, str]:
    """Name -> the lines that require it, hashes included."""
    found: dict[str, list[str]] = {}
    for file in files:
        name = ""
        for line in file.read_text(encoding="utf-8").splitlines():
            if match := PIN.match(line):
                name = plain(match[1])
                found[name] = []
            if name and line.strip() and not line.startswith("#"):
                found[name].append(line)
    return {name: "\n".join(lines) + "\n" for name, lines in found.items()}


def pins(*files: Path) -> dict[str, str]:
    """Name -> version of every package in some locks."""
    return {name: PIN.match(text)[2] for name, text in requirements(*files).items()}


def files_of(role: str) -> list[Path]:
    """What an environment is made from: its lock, and for RL the packages of what is compared with."""
    return [lock_of(role), *([EXTRAS] if role == "rl" else [])]


def prepare(folder: Path, files: Sequence[Path], python_version: str) -> dict[str, str]:
    """Fetch the wheels of some locks into a folder; what has none is built here, where Python is the one asked for.

    What is there already is not fetched again.

    Args:
        python_version: of the machine with the card, such as ``3.12``.

    Returns:
        Why a package is not there, by name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = ["--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python_version]
    target += [word for name in PLATFORMS for word in ("--platform", name)]
    same = python_version == f"{sys.version_info.major}.{sys.version_info.minor}"
    failed = {}
    with tempfile.TemporaryDirectory() as temporary:
        wanted = Path(temporary) / "requirement.txt"
        for name, text in requirements(*files).items():
            if wheel_of(folder, name, PIN.match(text)[2]):
                continue
            wanted.write_text(text, encoding="utf-8")
            commands = [["download", *options, *target, "--dest", folder, "--requirement", wanted]]
            if same:
                commands.append(["wheel", *options, "--wheel-dir", folder, "--requirement", wanted])
            for command in commands:
                run = subprocess.run(
                    [sys.executable, "-m", "pip", *command], capture_output=True, text=True, check=False
                )
                if run.returncode == 0:
                    break
            else:
                failed[name] = (run.stderr.strip().splitlines() or ["pip failed"])[-1]
            print(f"{name}: {failed.get(name, 'there')}", flush=True)
    return failed


def wheel_of(folder: Path, name: str, version: str) -> Path | None:
    """A wheel of a package at a version, whatever build of it (``+cpu``)."""
    for path in folder.glob("*.whl"):
        found, its_version = path.name.split("-")[:2]
        if plain(found) == name and its_version.split("+")[0] == version:
            return path
    return None


def install(wheels: Path, files: Sequence[Path], target: Path) -> dict[str, str]:
    """Make an environment of the wheels that are there, on top of what this machine's Python has.

    A package without a wheel is left out, as is one that pip says does not fit this machine: the rest is still useful.

    Returns:
        Why a package of the locks is not installed, by name.

    Raises:
        RuntimeError: pip failed for another reason.
    """
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", target], check=True)
    wanted = pins(*files)
    missing = {name: "no wheel" for name, version in wanted.items() if not wheel_of(wheels, name, version)}
    pip = [target / "bin/python", "-m", "pip", "install", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir"]
    while chosen := [f"{name}=={version}" for name, version in wanted.items() if name not in missing]:
        command = [*pip, "--disable-pip-version-check", "--find-links", wheels, *chosen]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        print(run.stdout[-2000:], run.stderr[-2000:], flush=True)
        if run.returncode == 0:
            break
        unfit = NOT_FOUND.search(run.stderr)
        if not unfit:
            raise RuntimeError(f"pip failed: {run.stderr.strip()[-300:]}")
        missing[plain(unfit[1])] = "no wheel that fits this machine"
    return missing


def main(role: str, wheels: str, target: str, answer: str) -> None:
    """Make one environment; the answer says what is not in it."""
    missing = install(Path(wheels), files_of(role), Path(target))
    there = len(pins(*files_of(role))) - len(missing)
    summary = f"{there} packages, {len(missing)} left out"
    write_json(answer, {"state": "ok", "why": "", "measured": {"left_out": missing, "summary": summary}})


if __name__ == "__main__":
    main(*sys.argv[1:])
