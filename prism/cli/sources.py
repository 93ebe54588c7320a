"""Commands that take over what was made elsewhere: backbones and trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of this group."""
    app.command()(backbone)
    app.command("import-trajectories")(import_trajectories)


def backbone(
    source: Annotated[str, typer.Option(help="local: a folder; hub: a pinned download.")],
    location: Annotated[str, typer.Option(help="The folder, or the hub's repository.")],
    out: Annotated[Path, typer.Option(help="Folder of the backbone.")],
    revision: Annotated[str, typer.Option(help="hub: the commit, 40 characters.")] = "",
) -> None:
    """Take over a backbone: safetensors, configuration and tokenizer."""
    from prism.core.errors import BadInput
    from prism.stages.sources import copy_backbone, download_backbone

    if source == "local":
        copy_backbone(Path(location), out)
    elif source == "hub":
        download_backbone(location, revision, out)
    else:
        raise BadInput("--source", f"unknown source {source!r}", "use local or hub")


def import_trajectories(
    file: Annotated[Path, typer.Argument(help="Trajectories of your own (JSONL).")],
    out: Annotated[Path, typer.Option()],
    manifest: Annotated[Path, typer.Option(help="Counts and hash, as JSON.")],
) -> None:
    """Check a corpus of your own and take it over."""
    from prism.stages.corpus import import_corpus

    import_corpus(file, out, manifest)
