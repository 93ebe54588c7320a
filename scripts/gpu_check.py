"""What a borrowed card answers about this project, in nine minutes, as JSON.

    python scripts/gpu_check.py --out gpu_check.json --wheels wheels

Parts, the most valuable first: two steps of RL with vLLM inside verl; the prober beside a naive loop and bergson; steps
of SFT through LLaMA-Factory; episodes through vLLM; what is installed. Each is a process of its own with a limit of its
own; the file is written whole after each, so that a run that is cut off leaves what it found. The exit code is 1 where
a part failed or was cut off; a part that was skipped says why.

Where there is no network, ``--wheels`` names a folder that ``--prepare`` filled on a machine with one: the two
environments are made from it, on top of the machine's own Python, before the first part that needs each. Else the
interpreters of finished environments are named, or this one serves for both. ``--cpu`` runs tiny shapes without a card.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

from gpu_parts import runner, wheels  # noqa: E402

from prism.core.errors import BadInput  # noqa: E402
from prism.core.files import read_json, write_json  # noqa: E402

LIMIT = 540
LAST_LINES = 20
LEAST_SECONDS = 1.0
OK, SKIPPED, FAILED, CUT, RUNNING = "ok", "skipped", "failed", "cut off", "running"


@dataclass(frozen=True)
class Part:
    """One question.

    Attributes:
        name: module of `gpu_parts` that answers it.
        seconds: its limit within a run of `LIMIT` seconds; other runs scale it.
        role: environment that it runs in, ``rl`` or ``sft``; empty: this one.
        needs: the part whose output it reads.
        command: what is run instead of the module.
    """

    name: str
    seconds: float
    role: str = ""
    needs: str = ""
    command: tuple[str, ...] = ()


PARTS = (
    Part("inputs", 60, "rl"),
    Part("rl", 400, "rl", "inputs"),
    Part("probe", 100, "rl", "inputs"),
    Part("sft", 90, "sft", "inputs"),
    Part("evaluation", 80, "rl", "inputs"),
    Part("environment", 20),
)
# limits of what hangs, not what is expected: where all reach theirs, the last parts lack the time; making environments
# takes of it as well
INSTALLATIONS = {"rl": 150, "sft": 90}


@dataclass
class Check:
    """One run: where it works, what is left of its time, what it has found.

    Attributes:
        pythons: interpreter of each environment; made from `wheels` where there are some.
    """

    out: Path
    work: Path
    limit: float
    cpu: bool
    pythons: dict[str, str]
    wheels: Path | None = None
    report: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def run(self, parts: tuple[Part, ...]) -> bool:
        """Run the parts in order; whether none failed or was cut off."""
        self.report |= {"format": 1, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "limit_seconds": self.limit}
        self.report |= {"cpu": self.cpu, "machine": describe_machine(), "parts": [], "finished": False}
        for part in parts:
            self._run_part(part)
        self.report["finished"] = True
        self.write()
        return not any(record["state"] in (FAILED, CUT) for record in self.report["parts"])

    def write(self) -> None:
        """Write the file whole."""
        self.report["seconds"] = round(time.monotonic() - self.started, 1)
        write_json(self.out, self.report)

    def _run_part(self, part: Part) -> None:
        record = {"name": part.name, "state": RUNNING, "why": ""}
        problem = self._environment(part.role) or self._needed(part.needs)
        self.report["parts"].append(record)
        if problem:
            record |= {"state": SKIPPED, "why": problem}
            self.write()
            return
        answer = self.work / f"{part.name}.answer.json"
        place = {"folder": str(self.work), "cpu": self.cpu, "card_gib": self._card_gib(), "python": self.pythons}
        write_json(self.work / "place.json", place)
        python = self.pythons.get(part.role, sys.executable)
        module = (python, "-m", "gpu_parts", part.name, str(self.work / "place.json"), str(answer))
        self._execute(record, part.command or module, part.seconds, answer)

    def _execute(self, record: dict[str, Any], command: tuple[str, ...], seconds: float, answer: Path) -> None:
        """Run a command within its limit and what is left of the whole; complete its record."""
        limit = min(seconds * self.limit / LIMIT, self.limit - (time.monotonic() - self.started))
        if limit < LEAST_SECONDS:
            record |= {"state": SKIPPED, "why": f"no time is left of {self.limit:.0f} s"}
            self.write()
            return
        self.write()
        log = self.work / f"{record['name'].replace(' ', '-')}.log"
        ended = runner.run_limited(command, limit, log, variables(command[0]))
        said = read_json(answer) if answer.exists() else {"state": FAILED, "why": "", "measured": {}}
        record |= said
        record |= {"seconds": round(ended.seconds, 1), "limit_seconds": round(limit, 1)}
        record |= {"card_gib": round(ended.card_gib, 2), "host_gib": round(ended.host_gib, 2)}
        if ended.code is None:
            record |= {"state": CUT, "why": f"not done after {limit:.0f} s"}
        elif ended.code != 0 or record["state"] == RUNNING:
            record |= {"state": FAILED, "why": record["why"] or f"ended with status {ended.code}"}
        if record["state"] in (FAILED, CUT):
            record["last_lines"] = last_lines(log)
        self.write()
        print(line_of(record), flush=True)

    def _environment(self, role: str) -> str:
        """Make an environment from the wheels, once; why there is none, or nothing."""
        if not role or not self.wheels:
            return ""
        name = f"install {role}"
        if not self._state(name):
            target, answer = self.work / f"{role}-environment", self.work / f"install-{role}.answer.json"
            record = {"name": name, "state": RUNNING, "why": ""}
            self.report["parts"].append(record)
            arguments = (role, str(self.wheels.resolve()), str(target), str(answer))
            command = (sys.executable, "-m", "gpu_parts.wheels", *arguments)
            self._execute(record, command, INSTALLATIONS[role], answer)
            if self._state(name) == OK:
                self.pythons[role] = str(target / "bin/python")
        return self._needed(name)

    def _needed(self, name: str) -> str:
        state = self._state(name) if name else OK
        return "" if state == OK else f"needs {name}, which is {state or 'not there'}"

    def _state(self, name: str) -> str:
        return next((record["state"] for record in self.report["parts"] if record["name"] == name), "")

    def _card_gib(self) -> float:
        return self.report["machine"].get("card_gib", 0.0)


def variables(python: str) -> dict[str, str]:
    """Environment variables of a part: this checkout's code, the environment's programs, no hub."""
    paths = [str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")]
    return {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "PATH": os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")]),
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def describe_machine() -> dict[str, Any]:
    """The card, its driver, the host and this checkout, without any package."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    host = {"python": platform.python_version(), "system": platform.platform(), "cpus": os.cpu_count()}
    host |= {"memory_gib": round(memory, 1), "disk_free_gib": round(shutil.disk_usage(ROOT).free / 2**30, 1)}
    try:
        asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        host["commit"] = asked.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        host["commit"] = "unknown"
    card = runner.ask_card("name", "memory.total", "driver_version")
    return host | ({"card": card[0], "card_gib": float(card[1]) / 1024, "driver": card[2]} if card else {})


def last_lines(log: Path) -> list[str]:
    """The end of a log."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        return [line.rstrip()[:300] for line in deque((line for line in lines if line.strip()), LAST_LINES)]


def line_of(record: dict[str, Any]) -> str:
    """A part in one line."""
    text = f"{record['name']:<12} {record['state']:<8}"
    if "seconds" in record:
        text += (
            f" {record['seconds']:>6.1f} s  card {record['card_gib']:>5.1f} GiB  host {record['host_gib']:>5.1f} GiB "
        )
    return f"{text} {record['why'] or record.get('measured', {}).get('summary', '')}"


def summary(report: dict[str, Any]) -> str:
    """The run as text."""
    machine = report["machine"]
    card = (
        f"{machine['card']}, {machine['card_gib']:.0f} GiB, driver {machine['driver']}" if "card" in machine else "CPU"
    )
    head = f"{card}; {machine['cpus']} CPUs, Python {machine['python']}; {report['seconds']:.0f} s"
    return "\n".join([head, *map(line_of, report["parts"])])


def chosen_parts(names: list[str]) -> tuple[Part, ...]:
    """The named parts and what they need, in order; all of them where none is named."""
    needed = {part.needs for part in PARTS if part.name in names}
    return tuple(part for part in PARTS if not names or part.name in needed.union(names))


def prepare(folder: Path, python_version: str) -> bool:
    """Fill a folder with the wheels of both environments; say what it holds, and what could not be had."""
    failed = wheels.prepare(folder, [*wheels.files_of("rl")], python_version)
    failed |= wheels.prepare(folder, [*wheels.files_of("sft")], python_version)
    found = list(folder.glob("*.whl"))
    print(f"{folder}: {len(found)} wheels, {sum(path.stat().st_size for path in found) / 1e9:.2f} GB")
    for name, why in failed.items():
        print(f"not there: {name}: {why}")
    return not failed


def parse(words: list[str] | None) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu_check.json"), help="JSON file to write")
    parser.add_argument("--only", action="append", default=[], choices=[part.name for part in PARTS])
    parser.add_argument(
        "--limit", type=float, default=LIMIT, help="seconds of the whole; the parts' limits scale with it"
    )
    parser.add_argument("--cpu", action="store_true", help="tiny shapes, without a card")
    parser.add_argument("--work", type=Path, help="folder that keeps logs and models; default: a temporary one")
    parser.add_argument("--wheels", type=Path, help="folder of wheels that the environments are made from")
    parser.add_argument("--rl-python", default=sys.executable, help="interpreter of the environment of envs/rl.lock")
    parser.add_argument("--sft-python", default=sys.executable, help="interpreter of the environment of envs/sft.lock")
    parser.add_argument("--prepare", type=Path, metavar="FOLDER", help="fetch the wheels into a folder, and end")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    parser.add_argument("--python-version", default=version, help="with --prepare: of the machine with the card")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Check a card; 0 where nothing failed, 1 where a part did, 2 where it cannot begin."""
    arguments = parse(words)
    if arguments.prepare:
        return 0 if prepare(arguments.prepare, arguments.python_version) else 1
    try:
        begin(arguments)
    except BadInput as error:
        print(f"gpu_check: {error}", file=sys.stderr)
        return 2
    # a run that is told to end leaves no process behind
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as temporary:
        work = (arguments.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        pythons = {"rl": arguments.rl_python, "sft": arguments.sft_python}
        check = Check(arguments.out, work, arguments.limit, arguments.cpu, pythons, arguments.wheels)
        sound = check.run(chosen_parts(arguments.only))
    print(f"\n{summary(check.report)}\n{arguments.out}")
    return 0 if sound else 1


def begin(arguments: argparse.Namespace) -> None:
    """Refuse what cannot work before anything is started.

    Raises:
        BadInput: no card, no wheels, or a work folder in use.
    """
    if not arguments.cpu and not runner.ask_card("name"):
        raise BadInput("card", "nvidia-smi shows none", "run on a machine with an NVIDIA card, or give --cpu")
    if arguments.wheels and not any(arguments.wheels.glob("*.whl")):
        raise BadInput(arguments.wheels, "holds no wheel", "fill it with --prepare on a machine with a network")
    if arguments.work and arguments.work.exists() and any(arguments.work.iterdir()):
        raise BadInput(arguments.work, "is not empty", "name a new folder")


if __name__ == "__main__":
    sys.exit(main())
