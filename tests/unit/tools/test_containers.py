"""Container definitions: sound ones pass, and each way to break one is seen."""

from __future__ import annotations

import re
import shutil

import pytest

from prism.tools import image_systems
from prism.tools.containers import (
    ROLES,
    Definition,
    definition_problems,
    packing_definition,
    renew_lock_hash,
)
from prism.tools.image_systems import GPU, debian_packages, install_lock, split_torch

BREAKS = {
    "an unpinned base": (r"@sha256:[0-9a-f]{64}", ":latest", "not pinned by digest"),
    "another bootstrap": (r"Bootstrap: docker", "Bootstrap: library", "Bootstrap is not docker"),
    "a section without a name that exists": (r"%test", "%tests", "unknown section %tests"),
    "a source that is not there": (r"envs/bootstrap.lock /", "envs/bootstrap.txt /", "which is not there"),
    "packages without hashes": (r"--require-hashes", "", "without --require-hashes"),
    "a lock that changed": (r"lock_sha256=\w+", "lock_sha256=" + "0" * 64, "run `make lock`"),
    "no label for the lock": (r"org.prism.lock-sha256", "org.prism.other", "%labels lacks"),
}


@pytest.fixture
def tree(root, tmp_path):
    """A copy of the definitions and what they name."""
    for folder in ("containers", "envs"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.sif"))
    return tmp_path


@pytest.mark.parametrize("role", ROLES)
def test_the_definitions_are_sound(root, role):
    assert definition_problems(root, role) == []


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("how", BREAKS)
def test_a_broken_definition_is_seen(tree, role, how):
    pattern, replacement, message = BREAKS[how]
    path = tree / "containers" / f"{role}.def"
    broken, count = re.subn(pattern, replacement, path.read_text())
    assert count
    path.write_text(broken)
    assert any(message in problem for problem in definition_problems(tree, role))


def test_a_new_lock_needs_its_hash_in_the_definition(tree):
    with (tree / "envs/cpu.lock").open("a") as lock:
        lock.write("# another\n")
    assert any("run `make lock`" in problem for problem in definition_problems(tree, "cpu"))
    renew_lock_hash(tree, "cpu")
    assert definition_problems(tree, "cpu") == []


@pytest.mark.parametrize("role", ROLES)
def test_lock_conda_file_and_definition_agree(root, role):
    """The conda file pins what the lock pins, and the definition installs the lock."""
    lock = (root / f"envs/{role}.lock").read_text()
    pins = re.findall(r"^([A-Za-z0-9._-]+==[^ \\]+)", lock, re.MULTILINE)
    conda = re.findall(r"^      - (\S+)$", (root / f"envs/{role}.yaml").read_text(), re.MULTILINE)
    assert pins == conda
    definition = Definition.parse((root / f"containers/{role}.def").read_text())
    assert f"/opt/prism/{role}.lock" in " ".join(definition.sections["post"])


def test_the_packing_definition_keeps_all_but_the_installation(root):
    text = (root / "containers/cpu.def").read_text()
    original, packing = Definition.parse(text), Definition.parse(packing_definition(text, root / "system"))
    assert packing.header == {"bootstrap": "localimage", "from": str(root / "system")}
    assert set(original.sections) - set(packing.sections) == {"post"}
    assert all(packing.sections[name] == original.sections[name] for name in packing.sections)


def test_torch_is_taken_out_of_the_lock(root):
    lock = (root / "envs/cpu.lock").read_text()
    torch, rest = split_torch(lock)
    assert re.fullmatch(r"torch==[0-9.]+", torch)
    assert not re.search(r"^torch==", rest, re.MULTILINE)
    assert rest.count("\n") > lock.count("\n") - 60


def test_an_image_for_gpus_is_an_environment_of_its_own_python(tmp_path, monkeypatch):
    """Its programs named the interpreter that installed them."""

    def install(command, cwd=None):
        site = tmp_path / GPU.packages
        (site / "bin").mkdir(parents=True)
        (site / "bin/vllm").write_text("#!/where/it/was/built/python3\nimport vllm\n")
        (site / "bin/ninja").write_bytes(b"\x7fELF")
        assert "--require-hashes" in command
        assert command[command.index("--target") + 1] == str(site)

    monkeypatch.setattr(image_systems, "run_checked", install)
    (tmp_path / "a.lock").write_text("vllm==1 --hash=sha256:0\n")
    install_lock(tmp_path / "a.lock", tmp_path, GPU)
    programs = tmp_path / "opt/prism/venv/bin"
    assert (programs / "vllm").read_text() == "#!/opt/prism/venv/bin/python\nimport vllm\n"
    assert (programs / "ninja").read_bytes() == b"\x7fELF"
    assert (programs / "python").readlink().as_posix() == "/usr/bin/python3"
    assert "home = /usr/bin" in (tmp_path / "opt/prism/venv/pyvenv.cfg").read_text()


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_packages_of_debian_are_listed_a_line_each(root, name):
    packages = debian_packages(root / f"containers/{name}.packages")
    assert {"g++", "make", "procps", "python3"} <= set(packages)
    assert not [line for line in packages if " " in line]
