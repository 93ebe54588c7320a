"""Commands that take over backbones made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.outputs import ModelName, output_folder


def backbone(
    source: Annotated[str, typer.Option(help="local: a folder; hub: a pinned download.")],
    location: Annotated[str, typer.Option(parser=ModelName, help="The folder, or the hub's repository.")],
    out: Annotated[Path, typer.Option(parser=output_folder, help="Folder of the backbone.")],
    revision: Annotated[str, typer.Option(help="hub: the commit, 40 characters.")] = "",
) -> None:
    """Take over a backbone: safetensors, configuration and tokenizer."""
    from prism.core.errors import BadInput
    from prism.stages.backbone import copy_backbone
    from prism.stages.hub import download_backbone

    if source == "local":
        copy_backbone(Path(location), out)
    elif source == "hub":
        download_backbone(location, revision, out)
    else:
        raise BadInput("--source", f"unknown source {source!r}", "use local or hub")
