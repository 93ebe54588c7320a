"""Commands for a cluster: what a target will cost, and what a killed Snakemake left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from prism.cli.options import PlanConfigs, PlanProfile
from prism.core.errors import BadInput


def plan(
    target: Annotated[
        str | None, typer.Argument(help="What to plan, as Snakemake is told it: results/tables/table1.csv")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the plan's csv, svg and png.")] = Path("results/plan"),
    profile: PlanProfile = None,
    configfile: PlanConfigs = None,
    everything: Annotated[bool, typer.Option("--everything", help="Also what has been built already.")] = False,
    power: Annotated[
        bool, typer.Option("--power", help="Instead: how many seeds and tasks a claimed gain needs.")
    ] = False,
) -> None:
    """Say what a target will cost: jobs, GPU-hours, wall-clock on 1, 2 and 4 nodes, disk, energy, CO2."""
    from prism.tools.plan import plan_power, plan_target
    from prism.tools.snakemake_plan import CLUSTER, settings_for

    settings = settings_for([target] if target else [], profile, configfile or [], otherwise=CLUSTER)
    if power:
        return plan_power(settings)
    if target is None:
        raise BadInput("prism plan", "no target", "name one, for example results/tables/table1.csv, or give --power")
    plan_target(target, out, settings, everything)


def recover(
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the jobs instead of waiting for them.")] = False,
) -> None:
    """After Snakemake was killed: wait for the SLURM jobs that it left, then remove its lock."""
    from prism.tools.recover import recover_run

    recover_run(cancel)
