"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Machine = Annotated[str, typer.Option(help="Settings that say how the machine is used, as JSON.")]
