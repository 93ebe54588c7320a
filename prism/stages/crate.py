"""Provenance: a finished run as a Workflow Run RO-Crate (``ro-crate-metadata.json`` in its folder).

Profile: https://w3id.org/ro/wfrun/workflow/0.5. The crate describes files where they lie; nothing but a snapshot of the
rules and of the config files is copied.
"""

from __future__ import annotations

import json
import mimetypes
import shutil
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

import prism
from prism.core.csv_files import read_table
from prism.core.errors import BadInput
from prism.core.files import FOLDER_MARK, atomic_folder, sha256_file, write_json
from prism.core.progress import say
from prism.core.results import Results
from prism.core.run_times import read_run
from prism.core.versions import installed_version
from prism.stages.tables import scale_note

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
RUN_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
LICENSE = "https://spdx.org/licenses/MIT"
PAPER = "https://arxiv.org/abs/2601.07224"
# what the run read and what it made
INPUTS = ("trajectories", "panels")
OUTPUTS = (
    *("tables", "figures", "cells", "evaluations", "scores", "splits", "consensus", "norms", "pass_rates"),
    *("comparison", "claims", "certificate", "summary", "index_page"),
)
SNAPSHOT = ("Snakefile", "rules/*.smk", "config/*.yaml", "LICENSE")
MEDIA_TYPES = {
    ".md": "text/markdown",
    ".jsonl": "application/jsonl",
    ".parquet": "application/vnd.apache.parquet",
    ".smk": "text/x-python",
    ".yaml": "application/yaml",
    ".tex": "application/x-tex",
}


def build_crate(results: Path, workflow: Path, config: str, snapshot: Path, out: Path) -> None:
    """Write the metadata of a finished run, and the snapshot of its rules and config.

    Args:
        results: the run's folder, which becomes the crate.
        workflow: the repository; its Snakefile is the crate's main entity.
        config: what names the run (scale, seeds, targets), as JSON.
        snapshot: folder of the snapshot, inside `results`.

    Raises:
        BadInput: the config is not JSON, or the run has no tables or no benchmark files.
    """
    try:
        settings = json.loads(config)
        scale = settings["scale"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput("--config", "is not the JSON of a config", "give at least the scale") from error
    results, snapshot = Path(results), Path(snapshot)
    run = Results(results)
    inputs, outputs = run.find(*INPUTS), run.find(*OUTPUTS)
    if not run.find("tables"):
        raise BadInput(results, "holds no table", "run the workflow first")
    jobs = read_run(run.times)
    _copy_workflow(Path(workflow), settings, snapshot)
    rocrate = _new_crate(scale, max(job.end for job in jobs))
    main = rocrate.add_workflow(
        dest_path=f"{snapshot.name}/Snakefile",
        main=True,
        lang="snakemake",
        lang_version=version("snakemake"),
        properties={"name": "PRISM, rebuildable", "version": prism.__version__, **_file_facts(snapshot / "Snakefile")},
    )
    copied = [
        path for path in sorted(snapshot.rglob("*")) if path.is_file() and path.name not in ("Snakefile", FOLDER_MARK)
    ]
    main["hasPart"] = [_add_file(rocrate, results, path) for path in copied if path.suffix == ".smk"]
    read = [_add_file(rocrate, results, path) for path in [*inputs, snapshot / "run.json"]]
    made = [_add_file(rocrate, results, path) for path in outputs]
    for path in copied:
        _add_file(rocrate, results, path)
    _add_run(rocrate, main, read, made, min(job.start for job in jobs), max(job.end for job in jobs))
    _add_licences(rocrate, Path(workflow) / "resources/licences.csv")
    write_json(out, rocrate.metadata.generate())
    say(f"crate: {len(inputs)} inputs, {len(outputs)} results")


def _new_crate(scale: str, finished: float) -> ROCrate:
    """An empty crate of the three profiles that a workflow run conforms to."""
    rocrate = ROCrate(version="1.1")
    rocrate.metadata.extra_contexts.append(RUN_TERMS)
    rocrate.name = f"PRISM, rebuilt: run at scale {scale}"
    rocrate.description = f"Tables, figures and records of one run of the workflow. {scale_note(scale)}."
    rocrate.datePublished = datetime.fromtimestamp(finished, UTC)
    _add_licence(rocrate, LICENSE, "MIT License")
    rocrate.license = {"@id": LICENSE}
    for identifier, (name, number) in PROFILES.items():
        properties = {"@type": "CreativeWork", "name": name, "version": number}
        rocrate.add(ContextEntity(rocrate, identifier, properties))
    rocrate.root_dataset["conformsTo"] = [{"@id": identifier} for identifier in PROFILES]
    article = {
        "@type": "ScholarlyArticle",
        "name": "The paper that this run rebuilds",
        "identifier": "arXiv:2601.07224",
    }
    rocrate.root_dataset["citation"] = rocrate.add(ContextEntity(rocrate, PAPER, article))
    return rocrate


def _add_run(rocrate: ROCrate, main, read: list, made: list, started: float, ended: float) -> None:
    """The run itself: what the workflow read, what it made, when."""
    run = rocrate.add_action(
        main,
        identifier="#run",
        object=read,
        result=made,
        properties={
            "name": "Run of the workflow",
            "startTime": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
            "endTime": datetime.fromtimestamp(ended, UTC).isoformat(timespec="seconds"),
            "description": "Snakemake built the results from the inputs with the config in run.json.",
            "actionStatus": "http://schema.org/CompletedActionStatus",
        },
    )
    mentioned = rocrate.root_dataset.get("mentions") or []
    if run not in mentioned:
        rocrate.root_dataset.append_to("mentions", run)


def _add_licences(rocrate: ROCrate, table: Path) -> None:
    """Data, models and software that the run rests on, with their licences, and the versions of what is installed."""
    licences = read_table(table)
    for fields in licences.rows:
        row = dict(zip(licences.columns, fields, strict=True))
        properties = {
            "@type": "SoftwareApplication" if row["kind"].startswith("software") else "CreativeWork",
            "name": row["name"],
            "description": f"{row['kind']}: {row['use']}",
            "license": _add_licence(rocrate, f"https://spdx.org/licenses/{row['licence']}", row["licence"])
            if not row["licence"].startswith("LicenseRef")
            else row["licence"],
        }
        if row["url"]:
            properties["url"] = row["url"]
        # an environment for RL alone has no LLaMA-Factory, and the other way round
        if row["package"] and (found := installed_version(row["package"])):
            properties["softwareVersion"] = found
        identifier = row["url"] or "#" + "-".join(row["name"].lower().split())
        rocrate.root_dataset.append_to("mentions", rocrate.add(ContextEntity(rocrate, identifier, properties)))


def _add_licence(rocrate: ROCrate, identifier: str, name: str) -> ContextEntity:
    """A licence as an entity of its own; asked for twice, it is the same one."""
    known = rocrate.dereference(identifier)
    return known or rocrate.add(
        ContextEntity(rocrate, identifier, {"@type": "CreativeWork", "name": name, "url": identifier})
    )


def _add_file(rocrate: ROCrate, results: Path, path: Path):
    place = path.relative_to(results).as_posix()
    known = rocrate.dereference(place)
    return known or rocrate.add_file(dest_path=place, properties={"name": place, **_file_facts(path)})


def _file_facts(path: Path) -> dict[str, str]:
    media = MEDIA_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
    return {"sha256": sha256_file(path), "contentSize": str(path.stat().st_size), "encodingFormat": media}


def _copy_workflow(workflow: Path, settings: dict, snapshot: Path) -> None:
    """The rules and the config as they were, whole or not at all."""
    with atomic_folder(snapshot) as temporary:
        for pattern in SNAPSHOT:
            for path in sorted(workflow.glob(pattern)):
                target = temporary / path.relative_to(workflow)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        write_json(temporary / "run.json", settings)
