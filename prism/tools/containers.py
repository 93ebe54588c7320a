"""Container images: definitions are checked, images are built from locks, an image of other locks is refused."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.files import atomic_path, sha256_file, write_json
from prism.core.progress import say
from prism.tools.image_systems import install_system, lock_path, run, run_checked

ROLES = ("cpu", "sft", "rl")
LOCK_LABEL = "org.prism.lock-sha256"
SECTIONS = frozenset(
    ("arguments", "environment", "files", "help", "labels", "post", "runscript", "setup", "startscript", "test")
)
NEEDED_SECTIONS = ("arguments", "files", "post", "environment", "test", "labels")
PINNED_BASE = re.compile(r"\S+@sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Definition:
    """A container definition, taken apart.

    Attributes:
        header: keywords before the first section, lower-case.
        sections: lines of each section without comments and blank lines.
    """

    header: dict[str, str]
    sections: dict[str, tuple[str, ...]]

    @classmethod
    def parse(cls, text: str) -> Definition:
        """Read the text of a definition file."""
        header: dict[str, str] = {}
        sections: dict[str, list[str]] = {}
        current: list[str] | None = None
        for line in map(str.strip, text.splitlines()):
            if not line or line.startswith("#"):
                continue
            if line.startswith("%"):
                current = sections.setdefault(line[1:].split()[0], [])
            elif current is not None:
                current.append(line)
            else:
                key, _, value = line.partition(":")
                header[key.strip().lower()] = value.strip()
        return cls(header, {name: tuple(lines) for name, lines in sections.items()})

    def argument(self, name: str) -> str | None:
        """Default of a build argument."""
        values = dict(line.split("=", 1) for line in self.sections.get("arguments", ()) if "=" in line)
        return values.get(name)


def definition_path(root: Path, role: str) -> Path:
    """Where a role's definition lies."""
    return root / "containers" / f"{role}.def"


def definition_problems(root: Path, role: str) -> list[str]:
    """What is wrong with a role's definition, one line each; empty for a sound one."""
    path = definition_path(root, role)
    if not path.is_file():
        return [f"{path}: is missing"]
    definition = Definition.parse(path.read_text(encoding="utf-8"))
    problems = []
    if definition.header.get("bootstrap") != "docker":
        problems.append("Bootstrap is not docker")
    if not PINNED_BASE.fullmatch(definition.header.get("from", "")):
        problems.append(f"base {definition.header.get('from')!r} is not pinned by digest (name@sha256:...)")
    problems += [f"unknown section %{name}" for name in sorted(set(definition.sections) - SECTIONS)]
    problems += [f"section %{name} is missing" for name in NEEDED_SECTIONS if not definition.sections.get(name)]
    sources = [line.split()[0] for line in definition.sections.get("files", ())]
    problems += [f"%files names {source}, which is not there" for source in sources if not (root / source).exists()]
    if f"envs/{role}.lock" not in sources:
        problems.append(f"%files does not copy envs/{role}.lock, so the image is not made from it")
    if "--require-hashes" not in " ".join(definition.sections.get("post", ())):
        problems.append("%post installs without --require-hashes")
    if not any(line.startswith(LOCK_LABEL) for line in definition.sections.get("labels", ())):
        problems.append(f"%labels lacks {LOCK_LABEL}")
    if definition.argument("lock_sha256") != sha256_file(lock_path(root, role)):
        problems.append(f"lock_sha256 is not that of envs/{role}.lock: run `make lock`")
    return [f"{path}: {problem}" for problem in problems]


def renew_lock_hash(root: Path, role: str) -> None:
    """Write the hash of a role's lock into its definition."""
    path = definition_path(root, role)
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"lock_sha256=\S+", f"lock_sha256={sha256_file(lock_path(root, role))}", text, count=1))


def image_labels(image: Path) -> dict[str, str]:
    """Labels of an image, as apptainer reads them.

    Raises:
        BadInput: the file is no image.
        PrismError: apptainer is not installed.
    """
    if not image.is_file():
        raise BadInput(image, "there is no such image", f"build it: prism containers build {image.stem}")
    result = run(["apptainer", "inspect", "--labels", "--json", str(image)], capture=True)
    if result.returncode:
        raise BadInput(image, "apptainer cannot read it", f"build it anew: prism containers build {image.stem}")
    return json.loads(result.stdout)["data"]["attributes"]["labels"]


def check_image(root: Path, role: str, image: Path) -> None:
    """Refuse an image that was not installed from the present lock of its role.

    Raises:
        BadInput: the image is missing, or made from another lock.
    """
    made_from = image_labels(image).get(LOCK_LABEL)
    wanted = sha256_file(lock_path(root, role))
    if made_from != wanted:
        raise BadInput(
            image,
            f"was made from another lock ({(made_from or 'none')[:12]}) than envs/{role}.lock ({wanted[:12]})",
            f"build it anew: prism containers build {role}",
        )


def build_image(root: Path, role: str, out: Path, without_post: bool = False, compression: str = "gzip") -> None:
    """Build a role's image and record its hash beside it.

    Args:
        out: the image; ``{out}.json`` gets its sha256 and that of the lock.
        without_post: for hosts where apptainer may not run ``%post`` (as root): the root file system is made with
            mmdebstrap and uv, from the same lock, and then packed. Images for GPUs get Debian 12 as their base.
        compression: of the image's file system: ``gzip``, or ``lz4`` for quick builds.

    Raises:
        BadInput: the definition is unsound.
        PrismError: a tool is missing or failed.
    """
    if problems := definition_problems(root, role):
        raise BadInput("containers", problems[0], "mend it, then build again")
    arguments = ["--build-arg", f"revision={_revision(root)}"]
    packing = [] if compression == "gzip" else ["--mksquashfs-args", f"-comp {compression}"]
    with atomic_path(out) as temporary, _buildable_definition(root, role, without_post) as definition:
        say(f"container {role}: packing")
        tests = ["--notest"] if without_post else []
        run_checked(["apptainer", "build", *packing, *arguments, *tests, str(temporary), str(definition)], cwd=root)
    if without_post:
        # %test as a user would run it; during the build it would need the capabilities that %post lacks
        run_checked(["apptainer", "test", "--userns", str(out)], cwd=root)
    write_json(
        out.with_name(out.name + ".json"),
        {"sha256": sha256_file(out), "lock_sha256": sha256_file(lock_path(root, role)), "revision": _revision(root)},
    )
    say(f"container {role}: {out}, {out.stat().st_size / 2**30:.1f} GiB")


@contextmanager
def _buildable_definition(root: Path, role: str, without_post: bool) -> Iterator[Path]:
    """The definition to give to apptainer; a prepared root file system takes the place of base and ``%post``."""
    path = definition_path(root, role)
    if not without_post:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="prism-image-") as folder:
        system = Path(folder) / "rootfs"
        install_system(root, role, system)
        local = Path(folder) / f"{role}.def"
        local.write_text(packing_definition(path.read_text(encoding="utf-8"), system), encoding="utf-8")
        yield local


def packing_definition(text: str, system: Path) -> str:
    """A definition that packs a prepared root file system: no ``%post``, everything else as in `text`."""
    text = re.sub(r"^Bootstrap: .*$", "Bootstrap: localimage", text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^From: .*$", f"From: {system}", text, count=1, flags=re.MULTILINE)
    return re.sub(r"^%post\n(?:(?!%).*\n)*", "", text, count=1, flags=re.MULTILINE)


def _revision(root: Path) -> str:
    result = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, text=True, capture_output=True, check=False)
    return result.stdout.strip() or "unknown"
