"""Why a target would be built again, in words: Snakemake's dry run, read and grouped by cause."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prism.core.stage_sources import CODE_OF
from prism.tools.snakemake_plan import Job

_REASONS = re.compile(r"; (?=[A-Z])")
_BEFORE_NOW = re.compile(r"before: (?P<before>.*?) ?now: (?P<now>.*)$")
FOLLOWS = "Input files updated by another job"
PARAMS = "Params have changed"
SHOWN_JOBS = 4


@dataclass(frozen=True)
class Explanation:
    """What a dry run says.

    Attributes:
        causes: jobs by what makes them run of their own; a job may have several causes.
        followers: jobs that run only because something before them does.
    """

    causes: dict[str, list[str]] = field(default_factory=dict)
    followers: list[str] = field(default_factory=list)


def explain(jobs: Sequence[Job]) -> Explanation:
    """Group the jobs of a dry run by cause; rules that only gather files are no jobs."""
    causes: dict[str, list[str]] = defaultdict(list)
    followers = []
    for job in jobs:
        if not job.command:
            continue
        if own := [cause for reason in _REASONS.split(job.reason) for cause in causes_of(reason)]:
            for cause in own:
                causes[cause].append(job.message)
        else:
            followers.append(job.message)
    return Explanation(dict(causes), followers)


def causes_of(reason: str) -> list[str]:
    """One of Snakemake's reasons in words; none for a reason that lies in another job."""
    kind, _, detail = reason.partition(": ")
    if kind == FOLLOWS:
        return []
    if kind.startswith(PARAMS):
        return changed_settings(detail) or ["a setting changed"]
    names = detail.split(", ") if detail else []
    if kind == "Missing output files":
        return ["not there yet, or deleted: " + _names(names)]
    if kind == "Updated input files":
        return [f"changed: {name}" for name in names]
    if kind.startswith("Set of input files has changed"):
        return ["it is made from other files than last time"]
    if kind.startswith("Code has changed"):
        return ["its rule was rewritten"]
    if kind.startswith("Incomplete"):
        return ["its last run was cut off"]
    return [reason]


def changed_settings(detail: str) -> list[str]:
    """The settings that differ between two recorded parameters: ``key: old -> new``.

    Parameters are JSON objects (recipes) or plain values; Snakemake prints those that differ, before and now.
    """
    match = _BEFORE_NOW.search(detail)
    if match is None:
        return []
    before, now = _values(match["before"]), _values(match["now"])
    code = [value for value in now if str(value).startswith(CODE_OF)]
    causes = [f"changed: the {value.rpartition(':')[0]}" for value in code]
    before, now = ([value for value in values if not str(value).startswith(CODE_OF)] for values in (before, now))
    recipes_before, recipes_now = _recipe(before), _recipe(now)
    if recipes_before is not None and recipes_now is not None:
        return causes + [f"{key}: {old} -> {new}" for key, old, new in _differences(recipes_before, recipes_now)]
    return causes + ([f"setting {_shown(before)} -> {_shown(now)}"] if before != now else [])


def _values(text: str) -> list[Any]:
    """Values that Snakemake printed one after the other, as Python literals."""
    text = text.strip()
    if text in ("", "<nothing exclusive>"):
        return []
    try:
        value = ast.literal_eval(f"[{text}]")
    except (SyntaxError, ValueError):
        return [text]
    return list(value)


def _recipe(values: Sequence[Any]) -> dict | None:
    """The JSON object among the values, if there is one."""
    for value in values:
        if isinstance(value, str) and value.startswith("{"):
            try:
                return json.loads(value)
            except ValueError:
                continue
    return None


def _differences(before: Any, now: Any, path: str = "") -> list[tuple[str, str, str]]:
    """Leaves that differ: (dotted key, old, new)."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(set(before) | set(now))
        return [
            difference
            for key in keys
            if before.get(key) != now.get(key)
            for difference in _differences(before.get(key), now.get(key), f"{path}.{key}" if path else key)
        ]
    return [(path, _shown(before), _shown(now))]


def _shown(value: Any) -> str:
    return "none" if value is None or value == [] else json.dumps(value, ensure_ascii=False, default=str)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:2])
    return shown + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def describe(explanation: Explanation) -> list[str]:
    """The explanation as lines for a person, most far-reaching cause first."""
    if not explanation.causes and not explanation.followers:
        return ["nothing to do: everything is up to date"]
    lines = []
    for cause, jobs in sorted(explanation.causes.items(), key=lambda item: (-len(item[1]), item[0])):
        lines.append(f"{cause}  ({_count(jobs)})")
        lines += [f"    {job}" for job in jobs[:SHOWN_JOBS]]
        if len(jobs) > SHOWN_JOBS:
            lines.append(f"    and {len(jobs) - SHOWN_JOBS} more")
    if explanation.followers:
        kinds = Counter(re.split(r"[:,]", job)[0] for job in explanation.followers)
        lines.append(f"because of those  ({_count(explanation.followers)})")
        lines += [f"    {count} x {kind}" for kind, count in kinds.most_common()]
    total = len({job for jobs in explanation.causes.values() for job in jobs}) + len(explanation.followers)
    lines.append(f"{total} jobs in all; nothing was run")
    return lines


def _count(jobs: Sequence[str]) -> str:
    return f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"
