"""What Snakemake would do for a target: the jobs of its dry run, or its own word why it refuses."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from prism.core.errors import BadInput
from prism.core.files import read_jsonl

PLUGIN_FOLDER = Path(__file__).with_name("plugin")
GPU_REQUEST = re.compile(r"gpu(?::[a-z0-9_.]+)?:(\d+)")
BASE_CONFIG, PAPER_CONFIG = Path("config/config.yaml"), Path("config/paper.yaml")
CLUSTER, ONE_GPU = "slurm", "profiles/gpu"
# profiles of the scales that have one; they name the config files
PROFILES = {"paper": CLUSTER, "gpu": ONE_GPU}
_ERROR = re.compile(r"^(?:snakemake: error: |Error: |\w*(?:Exception|Error)\b)")
# where in Snakemake's own code, or in the rules', an error was raised: it says nothing to who asked for a target
_PLACE = re.compile(r"^\s*(?:File \"|Complete log|Shutting down|Exiting because)|^(?:Using|Assuming) ")


@dataclass(frozen=True)
class Job:
    """A planned job.

    Attributes:
        id: Snakemake's number.
        rule: its rule.
        wildcards: values of the rule's wildcards.
        inputs: files it reads.
        outputs: files it writes.
        benchmark: where Snakemake will write (or wrote, when it ran before) its run time; None for none.
        gpus: GPUs on all of its nodes.
        nodes: nodes it runs on.
        command: the shell command; empty for a rule that only gathers files.
        message: what the job says of itself.
        reason: why it would run, in Snakemake's words.
        log: where its log lies; None for none.
    """

    id: int
    rule: str
    wildcards: dict[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    benchmark: str | None
    gpus: int
    nodes: int
    command: str
    message: str = ""
    reason: str = ""
    log: str | None = None

    @property
    def label(self) -> str:
        """Rule and wildcards in one line."""
        return " ".join([self.rule, *self.wildcards.values()])


@dataclass(frozen=True)
class Settings:
    """What a plan is made with: a profile of Snakemake (none: the default one alone) and overlays of the config."""

    profile: str | None
    configfiles: tuple[Path, ...]

    @property
    def options(self) -> list[str]:
        """Snakemake's options."""
        profile = ["--profile", self.profile] if self.profile else []
        return [*profile, *(["--configfile", *map(str, self.configfiles)] if self.configfiles else [])]


def settings_for(
    targets: Sequence[str], profile: str | None, configfiles: Sequence[Path], otherwise: str | None = None
) -> Settings:
    """The profile and overlays that a target belongs to, as far as they are not given.

    Results lie in a folder of their scale: a target below ``results/demo`` is the demo's, ``results/smoke`` that of
    ``config/smoke.yaml``; ``results/gpu`` is planned with the profile of one GPU, and what lies below ``results``
    itself with the cluster's.

    Args:
        targets: files or rules.
        profile: the profile, if it is given.
        configfiles: overlays, if they are given; they are never added to.
        otherwise: the profile where the targets are rules, which every scale has.

    Raises:
        BadInput: the targets belong to more than one scale.
    """
    if profile:
        return Settings(profile, tuple(configfiles))
    overlays = {_read(path).get("results"): path for path in [*sorted(Path("config").glob("*.yaml")), *configfiles]}
    folders = [folder for folder in overlays if folder]
    found = {
        max((folder for folder in folders if Path(target).is_relative_to(folder)), key=len, default=None)
        for target in targets
    }
    if len(found) > 1:
        raise BadInput(" and ".join(targets), "belong to several scales", "ask for those of one folder of results")
    folder = next(iter(found), None)
    if folder is None:
        return Settings(otherwise, tuple(configfiles))
    overlay = overlays[folder]
    if overlay == BASE_CONFIG:
        return Settings(None, tuple(configfiles))
    scale = _read(overlay).get("scale")
    if scale in PROFILES:
        return Settings(PROFILES[scale], tuple(configfiles))
    if scale:
        return Settings(None, tuple(configfiles) or (overlay,))
    # a variant of the paper's scale
    return Settings(CLUSTER, tuple(configfiles) or (PAPER_CONFIG, overlay))


def _read(path: Path) -> dict[str, Any]:
    """A config file; empty where it cannot be read: Snakemake says so."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return config if isinstance(config, dict) else {}


def snakemake(
    arguments: Sequence[str], folder: Path | None, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake with this interpreter."""
    # -P: a file of the working folder shall not take the place of a module of Python's
    command = [sys.executable, "-P", "-m", "snakemake", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def planned_jobs(
    targets: Sequence[str] = (),
    options: Sequence[str] = (),
    everything: bool = False,
    folder: Path | None = None,
    run: Callable[..., subprocess.CompletedProcess[str]] = snakemake,
) -> list[Job]:
    """The jobs that Snakemake would run; nothing is run.

    Args:
        targets: files or rules; none for the default target.
        options: further options, such as a profile.
        everything: also the jobs whose results are there already.
        folder: where Snakemake is started; the working directory without it.
        run: starts Snakemake with arguments, in a folder and an environment.

    Raises:
        BadInput: Snakemake refuses; says why in Snakemake's or the workflow's own words.
    """
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "jobs.jsonl"
        force = ["--forceall"] if everything else []
        # targets come last and behind --: options before them may take several values
        last = ["--", *targets] if targets else []
        result = run(
            ["--logger", "prism", "--dry-run", "--nolock", *force, *options, *last], folder, _environment(path)
        )
        if result.returncode != 0:
            raise _refusal(" ".join(targets) or "the default target", result.stdout + result.stderr)
        records = [record for _, record in read_jsonl(path)]
    return [_job(record) for record in records]


def _refusal(targets: str, text: str) -> BadInput:
    """Why Snakemake refused: the workflow's own line, or else the end of Snakemake's message."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not _PLACE.match(line)]
    own = [re.fullmatch(r"prism: (.+?): (.+); (.+)", line) for line in lines]
    if any(own):
        return BadInput(*[match for match in own if match][-1].groups())
    starts = [number for number, line in enumerate(lines) if _ERROR.match(line)]
    reason = (
        " ".join(lines[starts[-1] if starts else -1 :]).partition(" (if you use input functions")[0] or "no message"
    )
    return BadInput(targets, f"Snakemake cannot plan this: {reason}", "`snakemake -n` with the same target says more")


def _environment(path: Path) -> dict[str, str]:
    search = [str(PLUGIN_FOLDER), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PRISM_PLAN_JOBS": str(path),
        "PYTHONPATH": os.pathsep.join(folder for folder in search if folder),
    }


def _job(record: dict) -> Job:
    resources = record["resources"]
    nodes = int(resources.get("nodes") or 1)
    request = GPU_REQUEST.fullmatch(resources.get("gres") or "")
    return Job(
        id=int(record["jobid"]),
        rule=record["rule_name"],
        wildcards=record["wildcards"],
        inputs=tuple(record["input"]),
        outputs=tuple(record["output"]),
        benchmark=record["benchmark"],
        # SLURM's gres counts a node's, `gpu` all of them
        gpus=nodes * int(request[1]) if request else int(resources.get("gpu") or 0),
        nodes=nodes,
        command=record["shellcmd"] or "",
        message=record["rule_msg"] or record["rule_name"],
        reason=record["reason"],
        log=next(iter(record["log"] or ()), None),
    )


def dependencies(jobs: Sequence[Job]) -> dict[int, set[int]]:
    """For each job the jobs that write what it reads."""
    makers = {path: job.id for job in jobs for path in job.outputs}
    return {job.id: {makers[path] for path in job.inputs if path in makers} for job in jobs}


def ancestors(jobs: Sequence[Job], last: Job) -> list[Job]:
    """A job and all that it needs, in the order of `jobs`."""
    needs = dependencies(jobs)
    wanted, open_jobs = set(), [last.id]
    while open_jobs:
        job = open_jobs.pop()
        if job not in wanted:
            wanted.add(job)
            open_jobs += needs[job]
    return [job for job in jobs if job.id in wanted]
