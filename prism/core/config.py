"""The experiment's config: checked against the schema and against itself before anything is planned."""

from __future__ import annotations

import difflib
import math
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# jsonschema loads a checker for every format whose package is installed. The one for IRIs builds grammars for two
# seconds, at every start of Snakemake; the schema uses no format.
_IRI_CHECKER = "rfc3987_syntax"
_absent = sys.modules.setdefault(_IRI_CHECKER, None) is None
import yaml  # noqa: E402
from jsonschema import Draft202012Validator, validators  # noqa: E402
from jsonschema.exceptions import ValidationError, best_match  # noqa: E402

if _absent:
    del sys.modules[_IRI_CHECKER]

from prism.core.benchmarks import BENCHMARKS, DATASET, GENERATED  # noqa: E402
from prism.core.detours import DETOUR  # noqa: E402
from prism.core.errors import BadInput  # noqa: E402
from prism.core.figures import compared_methods  # noqa: E402
from prism.core.methods import Method, build_methods, column_and_variant  # noqa: E402
from prism.core.paper_tables import TABLE1_PANELS, TABLE2_PANEL  # noqa: E402
from prism.core.tokenizers import check_template  # noqa: E402

# what lies in the repository's root beside the results; a folder of results is deleted with ease
TAKEN = (
    *("benchmarks", "config", "containers", "docs", "envs", "prism", "profiles", "report", "resources", "rules"),
    *("scripts", "slurm", "tests", "workflow"),
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_RELEASE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.+!]*")
# the table about the positive control
DETECTION = "detection"
# licences of models that nobody has to accept
OPEN_LICENCES = ("Apache-2.0", "MIT")


def _is_integer(_: Any, value: Any) -> bool:
    """JSON schema counts 1.0 among the integers; it is no file's name and no range's end."""
    return isinstance(value, int) and not isinstance(value, bool)


_Validator = validators.extend(
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)


def check_config_file(path: str | Path) -> None:
    """Refuse a config file that says a thing twice: YAML takes the last word and tells nobody.

    Raises:
        BadInput: file and line of a repeated key.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        waiting = [yaml.compose(Path(path).read_text(encoding="utf-8-sig"), Loader=loader)]
    except (yaml.YAMLError, OSError):
        # Snakemake has read it already, and as JSON where it is that
        return
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise BadInput(
                        f"{path}:{line}",
                        f"repeats the key {key.value!r} of line {lines[key.value]}",
                        "keep one of them",
                    )
                lines |= {key.value: line} if isinstance(key, yaml.ScalarNode) else {}
                waiting.append(value)


def check_values(
    config: Mapping[str, Any],
    schema: Mapping[str, Any],
    overlaid: Sequence[str],
    commanded: Sequence[str] = (),
) -> None:
    """Check a config against its schema and against itself; nothing is changed.

    Args:
        overlaid: stages whose settings a benchmark may lay its own over.
        commanded: keys that ``--config`` set.

    Raises:
        BadInput: one line with the key, what is wrong with it and what is allowed.
    """
    _check_keys(config, "config")
    error = best_match(_Validator(schema).iter_errors(config))
    if error is not None:
        raise _describe(error, commanded=commanded)
    _check_numbers(config, "config")
    _check_overlays(config, schema, overlaid)
    _check_places(config)
    _check_panels(config["benchmarks"])
    known = {"methods": build_methods(config["methods"]), **{key: config[key] for key in ("backbones", "benchmarks")}}
    for kind in ("tables", "figures"):
        for product, target in config[kind].items():
            for key, names in known.items():
                said = next((word for word in ("pairs", "questions") if key == "methods" and word in target), key)
                for name in target.get(key, []) if said == key else compared_methods(target):
                    place = f"config {kind}.{product}.{said}"
                    _require_known(name, names, place, key)
            for variant in target.get("variants", []):
                place = f"config {kind}.{product}.variants"
                _require_known(variant, config["probe"]["variants"], place, "variants of the probe")
            if "benchmark" in target:
                place = f"config {kind}.{product}.benchmark"
                _require_known(target["benchmark"], known["benchmarks"], place, "benchmarks")
    for variant, own in config["probe"]["variants"].items():
        for name in own.get("backbones", []):
            _require_known(name, known["backbones"], f"config probe.variants.{variant}.backbones", "backbones")
        if "after" in own:
            _require_known(own["after"], known["methods"], f"config probe.variants.{variant}.after", "methods")
    for name, method in known["methods"].items():
        for variant in {column_and_variant(score)[1] for score in method.scores} - {""}:
            place = f"config methods.{name}"
            _require_known(variant, config["probe"]["variants"], place, "variants of the probe")
            if "one_in" in config["probe"]["variants"][variant]:
                problem = f"probe.variants.{variant} scores a part of the trajectories"
                raise BadInput(place, problem, "route by a variant without one_in")
    _check_columns(config)
    _check_labels(config, known["methods"])


def _check_keys(value: Any, place: str) -> None:
    """YAML reads an unquoted 007, 1.5 or on as a number or a truth value; every key of a config is a name."""
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        if not isinstance(key, str):
            raise BadInput(place, f"the key {key!r} is no text", "put it in quotes")
        _check_keys(inner, f"{place} {key}" if place == "config" else f"{place}.{key}")


def _check_numbers(value: Any, place: str) -> None:
    """YAML knows infinity and NaN; no setting does."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            _check_numbers(inner, f"{place} {key}" if place == "config" else f"{place}.{key}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _check_numbers(inner, place)
    elif isinstance(value, float) and not math.isfinite(value):
        raise BadInput(place, f"{value!r} is not a finite number", "see config/README.md")


def _check_overlays(config: Mapping[str, Any], schema: Mapping[str, Any], overlaid: Sequence[str]) -> None:
    """Settings that are laid over a stage's own are checked as the stage's are; none of them is required."""
    overlays = {
        f"benchmarks.{benchmark}.{stage}": (stage, settings[stage])
        for benchmark, settings in config["benchmarks"].items()
        for stage in overlaid
        if stage in settings
    }
    for name, overlay in config["rl"].get("algorithms", {}).items():
        overlays[f"rl.algorithms.{name}"] = ("rl", overlay)
    for place, (stage, overlay) in overlays.items():
        partial = {**schema["properties"][stage], "required": [], "$defs": schema["$defs"]}
        error = best_match(_Validator(partial).iter_errors(overlay))
        if error is not None:
            raise _describe(error, place.split("."))


def _check_places(config: Mapping[str, Any]) -> None:
    """Folders and revisions that the schema cannot look at."""
    parts = config["results"].split("/")
    if ".." in parts:
        raise BadInput("config results", f"{config['results']!r} leaves the repository", "name a folder below it")
    if parts[0].startswith(".") or parts[0] in TAKEN:
        raise BadInput(
            "config results", f"{config['results']!r} holds other things", "name a folder such as results/mine"
        )
    for kind, keys in (("benchmarks", ("data_dir", "trajectories_file")), ("backbones", ("location",))):
        for name, settings in config[kind].items():
            for key in keys:
                if set("{}") & set(settings[key]):
                    place = f"config {kind}.{name}.{key}"
                    raise BadInput(place, f"{settings[key]!r} has braces: wildcards to Snakemake", "rename the path")
    for name, settings in config["benchmarks"].items():
        if settings["source"] == DATASET and not settings["data_dir"]:
            raise BadInput(f"config benchmarks.{name}.data_dir", "is empty", "name the folder of the data set")
    for name, backbone in config["backbones"].items():
        place = f"config backbones.{name}"
        if backbone["source"] == "hub" and not _COMMIT.fullmatch(backbone["revision"]):
            raise BadInput(f"{place}.revision", f"{backbone['revision']!r} is not a commit", "give all 40 characters")
        if backbone["source"] == "package":
            _check_package(backbone, place)
        if backbone["source"] == "local":
            if not Path(backbone["location"]).is_dir():
                raise BadInput(f"{place}.location", f"{backbone['location']!r} is not a folder", "check the path")
            check_template(backbone["location"], backbone["template"], f"{place}.template")


def _check_package(backbone: Mapping[str, Any], place: str) -> None:
    """A wheel is pinned by version and hash, and a licence that is not open is accepted by the user."""
    for key in ("file", "licence"):
        if key not in backbone:
            raise BadInput(place, f"key {key!r} is missing", "see config/README.md")
    if not _RELEASE.fullmatch(backbone["location"]):
        raise BadInput(f"{place}.location", f"{backbone['location']!r} pins no version", "write NAME==VERSION")
    if not _SHA256.fullmatch(backbone["revision"]):
        raise BadInput(f"{place}.revision", f"{backbone['revision']!r} is no SHA-256", "give all 64 characters")
    if backbone["licence"] not in OPEN_LICENCES and not backbone.get("accept_licence"):
        remedy = "read it, and set accept_licence: true if you accept it"
        raise BadInput(f"{place}.licence", f"{backbone['licence']!r} has to be accepted", remedy)


def _check_panels(benchmarks: Mapping[str, Any]) -> None:
    """A panel cannot have more tasks than there are; of a data set that is only known once it is read."""
    for name, settings in benchmarks.items():
        benchmark = BENCHMARKS[name]
        if settings["source"] == GENERATED or benchmark.sizes_of_dataset:
            for panel, size in settings["panels"].items():
                available, key = settings[benchmark.sizes][panel], f"{benchmark.sizes}.{panel}"
                _require_enough(f"config benchmarks.{name}.panels.{panel}", size, available, key)


def _check_columns(config: Mapping[str, Any]) -> None:
    """Tables 1 and 2 show panels that one benchmark has and another has not."""
    for table, shown in (("table1", TABLE1_PANELS), ("table2", (TABLE2_PANEL,))):
        benchmark = config["tables"][table]["benchmark"]
        for panel in shown:
            if panel not in config["benchmarks"][benchmark]["panels"]:
                fitting = [name for name, its in config["benchmarks"].items() if panel in its["panels"]]
                place = f"config tables.{table}.benchmark"
                raise BadInput(place, f"{benchmark!r} has no panel {panel!r}", f"use {', '.join(fitting)}")


def _check_labels(config: Mapping[str, Any], methods: Mapping[str, Method]) -> None:
    """What is shown of detours needs a corpus that has some."""
    with_labels = {
        name for name, own in config["benchmarks"].items() if own["expert"].get("detours", {}).get("share", 0)
    }
    studied = config["tables"]["score_study"]["benchmarks"]
    if missing := [name for name in studied if DETECTION in config["targets"]["tables"] and name not in with_labels]:
        remedy = f"set benchmarks.{missing[0]}.expert.detours or leave the table out"
        raise BadInput("config targets.tables", f"{DETECTION} needs detours in {missing[0]}", remedy)
    for kind in ("tables", "figures"):
        for product, target in config[kind].items():
            for name in {*target.get("benchmarks", []), target.get("benchmark")} - with_labels - {None}:
                for method in compared_methods(target):
                    if DETOUR in methods[method].scores:
                        remedy = f"set benchmarks.{name}.expert.detours or leave the method out"
                        raise BadInput(f"config {kind}.{product}", f"{method!r} needs detours in {name}", remedy)


def _require_enough(place: str, size: int, available: int, key: str) -> None:
    if size > available:
        raise BadInput(place, f"{size} tasks are more than {key}: {available}", f"lower it or raise {key}")


def _require_known(name: str, known: Mapping[str, Any], place: str, kind: str) -> None:
    if name not in known:
        raise BadInput(place, f"{name!r} is not among the config's {kind}", _suggest(name, known))


def _describe(error: ValidationError, prefix: Sequence[str] = (), commanded: Sequence[str] = ()) -> BadInput:
    path = [*prefix, *error.absolute_path]
    place = "config " + (".".join(map(str, path)) or "(top level)")
    if error.validator == "type" and isinstance(error.instance, str) and len(path) > 1 and path[0] in commanded:
        return BadInput(
            place,
            f"{error.instance!r} is text: Snakemake makes text of what is nested in --config",
            "write it to a file and name that with --configfile",
        )
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = sorted(set(error.instance) - set(known))
        return BadInput(place, f"unknown key {unknown[0]!r}", _suggest(unknown[0], known))
    if error.validator == "required":
        missing = sorted(set(error.validator_value) - set(error.instance))
        return BadInput(place, f"key {missing[0]!r} is missing", "see config/README.md")
    if error.validator == "enum":
        return BadInput(place, f"{error.instance!r} is not allowed", f"use one of {error.validator_value}")
    if error.validator == "pattern" and "propertyNames" in error.absolute_schema_path:
        name = error.instance if len(error.instance) < 40 else f"{error.instance[:40]}..."
        return BadInput(place, f"{name!r} is no name", "use letters and digits, with single dashes between them")
    if error.validator == "type" and isinstance(error.instance, float) and error.instance.is_integer():
        return BadInput(place, f"{error.instance!r} is not a whole number", f"write {error.instance:.0f}")
    return BadInput(place, error.message, "see config/README.md")


def _suggest(word: str, known: Any) -> str:
    near = difflib.get_close_matches(str(word), [str(key) for key in known], 1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(map(str, known))}"
