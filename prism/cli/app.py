"""The command line: what people call, and below ``prism stage`` what the workflow's rules call.

Every command is listed here and stands in one of the modules beside this one, which hold nothing but argument handling.
Heavy libraries are imported inside the commands, so that ``prism --help`` and a refused input answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

import typer

from prism import __version__
from prism.cli import own_data, stage_data, stage_models, stage_results, tools
from prism.cli.outputs import CheckedCommand
from prism.core.errors import PrismError
from prism.core.progress import complain, log_to_file

OWN_DATA, NUMBERS, RUN = "Your own data", "Published numbers", "Look at a run"
CLUSTER, WORKFLOW = "Cluster and containers", "The workflow itself"
# the help lists panels and commands in this order; a command is called as its function is, with dashes
FOR_PEOPLE = {
    OWN_DATA: (own_data.probe, own_data.score, own_data.route, own_data.explain, own_data.compare, own_data.report),
    NUMBERS: (tools.audit, tools.audit_table),
    RUN: (tools.show, tools.verify, tools.trace, tools.why, tools.replay, tools.play),
    CLUSTER: (tools.plan, tools.check_plan, tools.recover, tools.doctor),
}
FOR_RULES = {
    "Data": (
        *(stage_data.fetch, stage_data.catalog, stage_data.games, stage_data.trajectories),
        *(stage_data.import_trajectories, stage_data.eto_trajectories, stage_data.transcripts),
        *(stage_data.panel, stage_data.prompt_lengths, stage_data.facts),
    ),
    "Models": (
        *(stage_models.tiny_backbone, stage_models.backbone, stage_models.split, stage_models.sft, stage_models.rl),
        *(stage_models.pass_rates, stage_models.pass_rate_table, stage_models.evaluate, stage_models.measure_memory),
    ),
    "Tables": (
        *(stage_results.cells, stage_results.timing_cells, stage_results.table_statistics, stage_results.table),
        *(stage_results.sensitivity, stage_results.compare_probes, stage_results.consensus),
        *(stage_results.study_table, stage_results.decision, stage_results.claims, stage_results.findings),
    ),
    "Figures": (stage_results.figure,),
    "The run as a whole": (
        *(stage_results.index_page, stage_results.crate, stage_results.pack_records),
        stage_results.take_evaluation,
        stage_results.benchmark_summary,
    ),
}


def _group(commands: Mapping[str, Iterable[Callable[..., None]]], **settings: Any) -> typer.Typer:
    """Commands by the panel of the help that they stand in."""
    group = typer.Typer(no_args_is_help=True, **settings)
    for panel, functions in commands.items():
        for function in functions:
            group.command(cls=CheckedCommand, rich_help_panel=panel)(function)
    return group


def _subgroup(help_text: str, commands: Mapping[str, Callable[..., None]]) -> typer.Typer:
    """Commands that have a word in common, by the word that tells them apart."""
    group = typer.Typer(help=help_text, no_args_is_help=True)
    for name, function in commands.items():
        group.command(name, cls=CheckedCommand)(function)
    return group


app = _group(
    FOR_PEOPLE, name="prism", pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
stage = _group(FOR_RULES, help="What the workflow's rules call, one command a stage.")
conformance = _subgroup(
    "Play recorded cases of an original again and count agreement.", {"webshop": stage_data.webshop_conformance}
)
containers = _subgroup(
    "Build container images from the locks, and check them.", {"check": tools.check_images, "build": tools.build_image}
)
stage.add_typer(conformance, name="conformance", rich_help_panel="Data")
app.add_typer(containers, name="containers", rich_help_panel=CLUSTER)
app.add_typer(stage, name="stage", rich_help_panel=WORKFLOW)


@app.command(rich_help_panel=WORKFLOW)
def version() -> None:
    """Print the version, and what is installed of the parts."""
    from prism.tools.versions import describe

    typer.echo("\n".join(describe()))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
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
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] == "prism":
            raise
        remedy = "pip install '.[probe]' in the repository; prism version lists what each part needs"
        complain(f"prism: {error.name}: is not installed; {remedy}")
        sys.exit(1)
    except OSError as error:
        if error.errno is None:
            raise
        file = error.filename or "output"
        complain(f"prism: {file}: {os.strerror(error.errno)}; free space or choose another place, then run it again")
        sys.exit(1)
