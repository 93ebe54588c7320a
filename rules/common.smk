# Checks the config before anything is planned, and answers the rules' questions about it. Config values reach a rule
# through `params:` alone, as the smallest slice it needs: an edit reruns exactly what it changes. Every stage is a
# `prism` command; PRISM_LOG sends its output to the rule's log, and its progress to the screen as well.
import functools
import os
import re
import sys

from snakemake.settings.types import DeploymentMethod

DEPLOYED = workflow.deployment_settings.deployment_method

# This process and all jobs find the package through a folder that holds nothing else: in the repository itself a file
# named random.py would take the place of Python's own.
PACKAGE = Path(".snakemake/package").absolute()
PACKAGE.mkdir(parents=True, exist_ok=True)
if not (PACKAGE / "prism").exists() or not (PACKAGE / "prism").samefile(ROOT / "prism"):
    (PACKAGE / "prism").unlink(missing_ok=True)
    with suppress(FileExistsError):
        (PACKAGE / "prism").symlink_to(ROOT / "prism")
sys.path[:] = [str(PACKAGE), *(path for path in sys.path if path != str(ROOT))]

from prism.core.benchmarks import BENCHMARKS
from prism.core.config import check_config_file
from prism.core.errors import PrismError
from prism.core.methods import parse_slice
from prism.core.processor import fix_instruction_set
from prism.core.recipes import json_text, machine_settings, result_settings
from prism.core.results import Results
from prism.core.stage_sources import code_of
from prism.core.starter import announce, prepare_jobs
from prism.core.trajectories import read_trajectories
from prism.core.versions import STAGE_VERSIONS
from prism.tools.containers import check_image
from prism.data_inputs import DataInputs, only, backbone_content, package_options
from prism.earlier_run import EarlierRun
from prism.settings import StageRecipes, check_config
from prism.table_inputs import TableInputs


def shipped(path):
    """A file of this repository; relative where that is the working folder, so that a clone can be moved."""
    return path if Path.cwd() == ROOT else str(ROOT / path)


def located(path):
    """A file that the config names: in the working folder, or shipped with this repository."""
    return path if "://" in path or Path(path).exists() else shipped(path)


# an empty text on the command line, as in `--config go_on_from=`, reaches Snakemake as no value
for key in ("go_on_from", "instruction_set"):
    if config.get(key, "") is None:
        config[key] = ""

try:
    # a config that has no such keys is refused by the check
    with suppress(AttributeError, KeyError, TypeError):
        for backbone in config["backbones"].values():
            if backbone["source"] == "local":
                home = os.path.expanduser(backbone["location"])
                backbone["location"] = located(home)
        for settings in config["benchmarks"].values():
            for key in ("data_dir", "trajectories_file"):
                settings[key] = os.path.expanduser(settings[key])
    for path in workflow.configfiles:
        check_config_file(path)
    check_config(
        config, ROOT / "config/schema.yaml", tuple(workflow.config_settings.config)
    )
    for settings in config["benchmarks"].values():
        if settings["trajectories_file"]:
            read_trajectories(settings["trajectories_file"])
    fix_instruction_set(config["instruction_set"])
    prepare_jobs(PACKAGE, bool(DEPLOYED), DeploymentMethod.CONDA in DEPLOYED)
except PrismError as error:
    sys.exit(f"prism: {error}")

announce()

RECIPES = StageRecipes(config)
# where everything lies, and what the data and the tables of the config are made of
RESULTS = Results("<results>")
DATA = DataInputs(config, RESULTS)
try:
    GO_ON_FROM = located(config["go_on_from"]) if config["go_on_from"] else ""
    EARLIER = EarlierRun(config, GO_ON_FROM) if GO_ON_FROM else None
    INPUTS = TableInputs(config, RESULTS, EARLIER)
except PrismError as error:
    sys.exit(f"prism: {error}")
# an image that serves every role is made from the CPU lock
IMAGE_LOCKS = {config["containers"]["cpu"]: "cpu"}
# the version of the paper that is rebuilt: its published numbers
PAPER = shipped("resources/paper/v1")

PANELS = {
    "train",
    *(panel for name in config["benchmarks"] for panel in BENCHMARKS[name].panels),
}


wildcard_constraints:
    benchmark="|".join(config["benchmarks"]),
    backbone="|".join(map(re.escape, config["backbones"])),
    method="|".join(INPUTS.methods),
    seed=r"\d+",
    panel="|".join(sorted(PANELS)),
    split="|".join(BENCHMARKS["alfworld"].panels),
    of=INPUTS.probe_endings(),
    percent=r"[1-9]\d?",
    number="[1-4]",


@functools.cache
def image(role):
    """The container image of a role; one that was made from another lock is refused where images are in use."""
    path = config["containers"][role]
    if DeploymentMethod.APPTAINER in DEPLOYED:
        path = located(path)
        try:
            check_image(
                ROOT, IMAGE_LOCKS.get(config["containers"][role], role), Path(path)
            )
        except PrismError as error:
            sys.exit(f"prism: {error}")
    return path


@functools.cache
def recipe(stage, *names):
    """What decides a stage's result, as JSON in one form for all spellings: what a rerun is decided by."""
    return json_text(result_settings(getattr(RECIPES, stage)(*names)))


@functools.cache
def machine(stage, *names):
    """A stage's settings that say how the machine is used, as JSON.

    The param that hands them on is a function of `threads`: Snakemake takes such a param as derived and does not compare
    it, so that no job runs again because it could have run on more processes.
    """
    return json_text(machine_settings(getattr(RECIPES, stage)(*names)))


def code(*stages, others=()):
    """The hash of light stages' code: their jobs rerun when it changes. Heavy stages have a version."""
    return code_of(ROOT, stages, others)


def split_option(subset, split):
    """The command-line options that restrict a stage to a subset."""
    part = parse_slice(subset)
    return f"--split {split} --regime {part.regime}" if part else ""


def work_folder(output):
    """Where a training keeps its checkpoints, for the shell."""
    return str(Results(config["results"]).work_of(output))
