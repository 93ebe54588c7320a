"""Apptainer and the CPU image: fetched and built once, or a loud reason why not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from prism.core.errors import PrismError
from prism.tools.containers import check_image

TOOLS = {"mmdebstrap": "mmdebstrap", "mksquashfs": "squashfs-tools", "squashfuse": "squashfuse", "newuidmap": "uidmap"}


def need(condition: bool, reason: str) -> None:
    """Skip with a reason that nobody overlooks."""
    if not condition:
        pytest.skip(f"CONTAINER TEST NOT RUN: {reason}")


@pytest.fixture(scope="session")
def apptainer(root, tmp_path_factory) -> Path:
    """Folder of the apptainer program."""
    need(Path("/dev/fuse").exists(), "/dev/fuse is missing, so images cannot be mounted")
    if found := shutil.which("apptainer"):
        return Path(found).parent
    need(os.geteuid() == 0 and shutil.which("apt-get") is not None, "apptainer is missing and cannot be installed")
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if missing:
        packages = [*missing, "libseccomp2", "libsqlite3-0"]
        subprocess.run(["apt-get", "-qq", "update"], check=False)
        install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *packages]
        need(subprocess.run(install, check=False).returncode == 0, f"apt-get cannot install {', '.join(missing)}")
    prefix = tmp_path_factory.mktemp("apptainer")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run([root / "containers/get-apptainer.sh", prefix], env=environment, check=False)
    need(result.returncode == 0, "apptainer could not be unpacked from Debian's packages")
    return prefix / "usr/bin"


@pytest.fixture(scope="session")
def cpu_image(root, apptainer, tmp_path_factory) -> Path:
    """The CPU image: containers/cpu.sif if it was made from today's lock, else one built now."""
    os.environ["PATH"] = f"{apptainer}:{os.environ['PATH']}"
    image = root / "containers/cpu.sif"
    try:
        check_image(root, "cpu", image)
    except PrismError:
        need(os.geteuid() == 0, "building the image takes root")
        image = tmp_path_factory.mktemp("image") / "cpu.sif"
        options = ["--without-post", "--compression", "lz4", "--out", image]
        subprocess.run([sys.executable, "-m", "prism", "containers", "build", "cpu", *options], cwd=root, check=True)
    return image
