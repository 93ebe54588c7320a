"""The RO-Crate of a run: what the Workflow Run Crate profile requires is there, and every file is."""

import hashlib
import json
import os
from importlib.metadata import version

import pytest

from prism.core.errors import BadInput
from prism.stages.crate import PROFILES, build_crate

CONFIG = json.dumps({"scale": "demo", "seeds": [0]})


@pytest.fixture
def results(tmp_path):
    """A run with one corpus, one table and one benchmark file that ended at second 1000."""
    for name, text in {
        "data/alfworld/trajectories.jsonl": "{}\n",
        "tables/table1.csv": "a\n1\n",
        "cells/table1/seen/sft/all.json": "{}",
        "claims.json": "{}",
        "eval/alfworld/tiny/sft/seed0/.snakemake_timestamp": "",
        "benchmarks/sft/a.tsv": "s\tmax_pss\n40.0\t-\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    os.utime(tmp_path / "benchmarks/sft/a.tsv", (1000, 1000))
    return tmp_path


@pytest.fixture
def graph(results, root):
    """Entities of the crate by identifier."""
    build_crate(results, root, CONFIG, results / "workflow", results / "ro-crate-metadata.json")
    entities = json.loads((results / "ro-crate-metadata.json").read_text())["@graph"]
    return {entity["@id"]: entity for entity in entities}


def referred(value):
    """Identifiers that a property refers to."""
    return {entry["@id"] for entry in (value if isinstance(value, list) else [value])}


def test_the_root_says_what_it_is_and_to_what_it_conforms(graph):
    root = graph["./"]
    assert referred(root["conformsTo"]) >= set(PROFILES)
    for key in ("name", "description", "datePublished", "license", "mainEntity", "hasPart"):
        assert root[key]
    assert root["datePublished"].startswith("1970-01-01T00:16:40")
    descriptor = graph["ro-crate-metadata.json"]
    assert descriptor["about"] == {"@id": "./"}
    assert any("ro/crate/1.1" in name for name in referred(descriptor["conformsTo"]))


def test_the_main_entity_is_the_workflow(graph):
    main = graph[graph["./"]["mainEntity"]["@id"]]
    assert set(main["@type"]) == {"File", "SoftwareSourceCode", "ComputationalWorkflow"}
    language = graph[main["programmingLanguage"]["@id"]]
    assert language["@type"] == "ComputerLanguage"
    assert "snakemake" in language["name"].lower()
    assert "workflow/rules/probe.smk" in referred(main["hasPart"])


def test_the_run_has_instrument_inputs_results_and_times(graph):
    run = graph["#run"]
    assert run["@type"] == "CreateAction"
    assert run["instrument"] == graph["./"]["mainEntity"]
    assert "data/alfworld/trajectories.jsonl" in referred(run["object"])
    assert referred(run["result"]) == {"tables/table1.csv", "cells/table1/seen/sft/all.json", "claims.json"}
    assert run["startTime"] == "1970-01-01T00:16:00+00:00"
    assert run["endTime"] == "1970-01-01T00:16:40+00:00"
    assert "#run" in referred(graph["./"]["mentions"])


def test_every_file_is_there_with_its_hash_and_nothing_points_into_the_void(graph, results):
    for part in referred(graph["./"]["hasPart"]):
        content = (results / part).read_bytes()
        assert graph[part]["sha256"] == hashlib.sha256(content).hexdigest()
    for entity in graph.values():
        for key, value in entity.items():
            for entry in value if isinstance(value, list) else [value]:
                # addresses of the web need no entity of their own
                if isinstance(entry, dict) and "://" not in entry["@id"]:
                    assert entry["@id"] in graph, (entity["@id"], key)


def test_models_and_data_have_licences_and_software_a_version(graph):
    named = {entity["name"]: entity for entity in graph.values() if "name" in entity}
    assert named["Qwen3-8B"]["license"] == {"@id": "https://spdx.org/licenses/Apache-2.0"}
    assert named["WebShop"]["license"] == {"@id": "https://spdx.org/licenses/MIT"}
    assert "Llama" in named["Llama-3.1-8B-Instruct"]["license"]
    assert named["TextWorld"]["softwareVersion"] == version("textworld")


def test_a_run_without_tables_is_refused(results, root):
    (results / "tables/table1.csv").unlink()
    with pytest.raises(BadInput, match="holds no table"):
        build_crate(results, root, CONFIG, results / "workflow", results / "ro-crate-metadata.json")
    with pytest.raises(BadInput, match="--config"):
        build_crate(results, root, "{}", results / "workflow", results / "ro-crate-metadata.json")
