"""Commands for container images."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import output_file

containers = typer.Typer(help="Build container images from the locks, and check them.", no_args_is_help=True)
ROOT = Path(__file__).resolve().parents[2]


class Role(StrEnum):
    """What an image is for."""

    cpu = "cpu"
    sft = "sft"
    rl = "rl"


class Compression(StrEnum):
    """Compression of an image's file system."""

    gzip = "gzip"
    lz4 = "lz4"


@containers.command()
def check(
    image: Annotated[list[str] | None, typer.Argument(help="ROLE=IMAGE: also check built images.")] = None,
) -> None:
    """Check every definition, and that the given images were made from today's locks."""
    from prism.core.errors import BadInput
    from prism.tools.containers import ROLES, check_image, definition_problems

    problems = [problem for role in ROLES for problem in definition_problems(ROOT, role)]
    if problems:
        for problem in problems[:-1]:
            typer.echo(problem, err=True)
        raise BadInput("containers", problems[-1], "mend the definition")
    for text in image or ():
        role, _, path = text.partition("=")
        if role not in ROLES or not path:
            raise BadInput(text, "is not ROLE=IMAGE", f"roles are {', '.join(ROLES)}")
        check_image(ROOT, role, Path(path))
    typer.echo(f"{len(ROLES)} definitions and {len(image or ())} images are sound")


@containers.command()
def build(
    role: Annotated[Role, typer.Argument(help="What the image is for.")],
    out: Annotated[
        Path | None, typer.Option(parser=output_file, help="The image; containers/ROLE.sif without it.")
    ] = None,
    without_post: Annotated[
        bool, typer.Option(help="CPU image, as root: prepare the file system outside apptainer.")
    ] = False,
    compression: Annotated[Compression, typer.Option(help="gzip, or lz4 for quick builds.")] = Compression.gzip,
) -> None:
    """Build an image and record its sha256 beside it."""
    from prism.tools.containers import build_image

    target = out or ROOT / "containers" / f"{role.value}.sif"
    build_image(ROOT, role.value, target, without_post, compression.value)
