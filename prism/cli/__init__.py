"""The command line: what people call, and below ``prism stage`` what the workflow's rules call.

Every command is listed here; the modules of this package hold nothing but argument handling. Heavy libraries are
imported inside the commands, so that ``prism --help`` and a refused input answer at once.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from prism import __version__
from prism.cli import (
    audit,
    backbones,
    containers,
    data,
    doctor,
    evaluation,
    fetch,
    figures,
    learning,
    plan,
    play,
    probing,
    reports,
    results,
    rl,
    sft,
    sources,
    trace,
    webshop,
    why,
)
from prism.cli.outputs import CheckedCommand
from prism.core.errors import PrismError
from prism.core.progress import complain, log_to_file

OWN_DATA, NUMBERS, RUN = "Your own data", "Published numbers", "Look at a run"
CLUSTER, WORKFLOW = "Cluster and containers", "The workflow itself"
# the help lists groups and commands in this order; a command is called as its function is, with dashes
FOR_PEOPLE = {
    OWN_DATA: (probing.probe, probing.score, probing.route, probing.explain),
    NUMBERS: (audit.audit, audit.audit_table),
    RUN: (results.show, trace.trace, why.why, play.replay, play.play),
    CLUSTER: (plan.plan, doctor.check_plan, plan.recover, doctor.doctor),
}
FOR_RULES = {
    "Data": (
        *(data.games, data.trajectories, data.import_trajectories, data.random_transcripts, data.panel),
        *(data.prompt_lengths, webshop.webshop_catalog, webshop.webshop_store, webshop.webshop_trajectories),
        *(webshop.webshop_random_transcripts, webshop.webshop_panel, fetch.fetch, fetch.eto_trajectories),
    ),
    "Models": (
        *(backbones.tiny_backbone, sources.backbone, probing.split, sft.sft, rl.rl, rl.pass_rates, rl.pass_rate_table),
        *(evaluation.evaluate, learning.learning_curve),
    ),
    "Tables": (
        *(results.cells, results.timing_cells, results.table_statistics, results.table, probing.sensitivity),
        *(learning.learning_table, audit.compare),
    ),
    "Figures": (
        *(figures.figure_case_study, figures.figure_inverse_ablation, figures.figure_ratio_sweep),
        *(figures.figure_consensus, figures.figure_score_distributions, figures.figure_training_curves),
        *(figures.figure_forest, figures.figure_schedule, learning.figure_learning),
    ),
    "The run as a whole": (reports.index_page, reports.crate, reports.pack_records, results.benchmark_summary),
}
HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="prism",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
)
stage = typer.Typer(help="What the workflow's rules call, one command a stage.", no_args_is_help=True)

for panel, commands in FOR_PEOPLE.items():
    for command in commands:
        app.command(cls=CheckedCommand, rich_help_panel=panel)(command)
for panel, commands in FOR_RULES.items():
    for command in commands:
        stage.command(cls=CheckedCommand, rich_help_panel=panel)(command)
stage.add_typer(webshop.conformance, name="conformance", rich_help_panel="Data")
app.add_typer(containers.containers, name="containers", rich_help_panel=CLUSTER)
app.add_typer(stage, name="stage", rich_help_panel=WORKFLOW)


@app.command(rich_help_panel=WORKFLOW)
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Score trajectories by gradient concentration, route them to SFT and RL, and rebuild the paper."""


def main() -> None:
    """Run the command line; a `PrismError`, or a disk that is full or gone, ends in one line and an exit code."""
    if log_to_file():
        from prism.core.starter import end_with_starter

        # a workflow started this command: it ends with the workflow
        end_with_starter()
    if not sys.stderr.isatty():
        # bars are drawn over themselves, which a file cannot show; the libraries read this when they are imported
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        app(prog_name=app.info.name)
    except PrismError as error:
        complain(f"prism: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno is None:
            raise
        place = error.filename or "output"
        complain(f"prism: {place}: {os.strerror(error.errno)}; free space or choose another place, then run it again")
        sys.exit(1)
