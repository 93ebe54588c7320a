"""What is installed in each environment, beside its lock."""

from __future__ import annotations

import json
import subprocess

from gpu_parts.common import Found, Place
from gpu_parts.wheels import lock_of, pins

VERSIONS = (
    "import importlib.metadata as m, json, re; print(json.dumps({re.sub('[-_.]+', '-', d.name or '').lower(): d.version"
    " for d in m.distributions()}))"
)
TORCH = (
    "import json, torch; c = torch.cuda.is_available(); print(json.dumps({'torch': torch.__version__,"
    " 'cuda': torch.version.cuda, 'card': torch.cuda.get_device_name() if c else None,"
    " 'capability': torch.cuda.get_device_capability() if c else None}))"
)
TOLD = ("torch", "transformers", "vllm", "verl", "ray", "llamafactory", "deepspeed", "bergson", "alfworld")


def measure(place: Place, found: Found) -> None:
    """Versions, what the locks name and is not there, and what torch sees."""
    for role, python in place.python.items():
        installed = ask(python, VERSIONS)
        locked = pins(lock_of(role, place.cpu))
        found[role] = {
            "python": python,
            "torch": ask(python, TORCH),
            "versions": {name: installed[name] for name in TOLD if name in installed},
            "missing": sorted(name for name in locked if name not in installed),
            "other_version": {
                name: f"{installed[name]}, lock {version}"
                for name, version in sorted(locked.items())
                if name in installed and installed[name].split("+")[0] != version
            },
        }
    found["summary"] = "; ".join(
        f"{role}: {len(facts['missing'])} of the lock missing, {len(facts['other_version'])} of another version"
        for role, facts in found.items()
    )


def ask(python: str, program: str) -> dict:
    """What a short program prints as JSON; its error where it fails."""
    answer = subprocess.run([python, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    return json.loads(answer.stdout) if answer.returncode == 0 else {"error": answer.stderr.strip()[-300:]}
