"""The parts of an installation: each list in pyproject.toml holds what its commands import, in the versions locked."""

from __future__ import annotations

import importlib.metadata as metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from toy_corpus import save_toy_model

import prism
from prism.tools.versions import PARTS, describe

CHATS = [
    {"id": f"c-{number}", "messages": [{"role": "user", "content": "put a mug in desk."},
                                       {"role": "assistant", "content": "go to desk 1" + " now" * number}]}
    for number in range(5)
]  # fmt: skip


@pytest.fixture(scope="module")
def project(root) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def installed_with(requirements: list[str]) -> set[str]:
    """Distributions that these requirements bring, as they are installed here."""
    found: set[str] = set()
    waiting = [(Requirement(text), "") for text in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (requirement.marker and not requirement.marker.evaluate({"extra": extra})) or name in found:
            continue
        found.add(name)
        needed = metadata.requires(name) or []
        waiting += [(Requirement(text), one) for text in needed for one in (requirement.extras or {""})]
    return found


def only(distributions: set[str], root: Path, folder: Path) -> dict[str, str]:
    """The environment of a Python that sees these distributions, this package, and nothing else."""
    folder.mkdir()
    (folder / "prism").symlink_to(root / "prism")
    for name in distributions:
        found = metadata.distribution(name)
        for top in {file.parts[0] for file in found.files if file.parts[0] not in ("..", "__pycache__")}:
            if not (folder / top).exists():
                (folder / top).symlink_to(found.locate_file(top))
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | {
        "PYTHONPATH": str(folder), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def run(environment: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # -S: no site-packages, so that nothing but the folder of links is seen
    command = [sys.executable, "-S", "-m", "prism", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_core_needs_none_of_them(root, tmp_path, project):
    environment = only(installed_with(project["dependencies"]), root, tmp_path / "site")
    import_it = [sys.executable, "-S", "-c", "import prism; print(prism.__version__)"]
    assert (
        subprocess.run(import_it, env=environment, capture_output=True, text=True, check=True).stdout
        == f"{prism.__version__}\n"
    )
    shown = run(environment, tmp_path, "version")
    assert "probe     no torch, transformers, pyarrow, scipy, matplotlib: pip install '.[probe]'" in shown.stdout
    (tmp_path / "my.jsonl").write_text(json.dumps(CHATS[0]))
    refused = run(environment, tmp_path, "probe", "--model", "m", "--data", "my.jsonl", "--out", "n.parquet")
    assert refused.returncode == 1
    assert re.fullmatch(
        r"prism: \w+: is not installed; pip install '\.\[probe\]' in the repository; .*\n", refused.stderr
    )


@pytest.mark.slow
def test_the_probe_s_part_is_enough_for_own_data(root, tmp_path, project):
    extra = project["optional-dependencies"]["probe"]
    environment = only(installed_with([*project["dependencies"], *extra]), root, tmp_path / "site")
    save_toy_model(tmp_path / "model")
    (tmp_path / "my.jsonl").write_text("".join(json.dumps(chat) + "\n" for chat in CHATS))
    for command in (
        "probe --model model --data my.jsonl --out n.parquet",
        "score n.parquet --out s.csv",
        "route s.csv --out split.csv --emit llamafactory,verl",
        "explain n.parquet --sample c-3 --out p.svg",
        "compare n.parquet n.parquet --out c.csv",
        "report n.parquet --out page.html",
    ):
        done = run(environment, tmp_path, *command.split())
        assert done.returncode == 0, done.stderr
    assert not any((tmp_path / "site" / name).exists() for name in ("snakemake", "verl", "pytest", "datasets"))


def test_the_lists_are_of_the_versions_that_are_locked(root, project):
    """What stands in a list stands in the lock too, in a version that the list allows."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^ \\]+)", (root / "envs/cpu.lock").read_text(), re.MULTILINE)
    locked = {canonicalize_name(name): found for name, found in pins}
    asked = [Requirement(text) for texts in project["optional-dependencies"].values() for text in texts]
    own = canonicalize_name(project["name"])
    wrong = [
        str(one) for one in asked
        if one.name != own and not one.specifier.contains(locked.get(canonicalize_name(one.name), "0"))
    ]  # fmt: skip
    assert wrong == []
    assert len(asked) > 30


def test_the_parts_that_are_named_are_those_of_the_list(project):
    extras = project["optional-dependencies"]
    assert list(PARTS) == list(extras)
    for part, packages in PARTS.items():
        assert set(packages) <= {Requirement(text).name for text in extras[part]}
    first, *parts = describe()
    assert first.startswith(f"prism-rebuildable {prism.__version__}, Python 3.")
    assert [line.split()[0] for line in parts] == list(extras)
    assert f"torch {metadata.version('torch')}, " in parts[0]
