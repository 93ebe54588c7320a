"""What an edit reruns of all that the workflow can build, where the demo does not use the key."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rerun_edits import NOTHING, UNUSED, counted, edit_of, edits_of, overlay
from snakemake_plan import dry_run, run_snakemake

EVERYTHING = ("all", "--snakefile", "empty.smk", "--configfile", "config/smoke.yaml")


@pytest.fixture(scope="module")
def everything(copy_repository, tmp_path_factory) -> Path:
    """A clone in which all that the scale `smoke` builds was made, of empty files; Snakemake's records are real."""
    clone = copy_repository(tmp_path_factory.mktemp("everything") / "prism")
    # beside the Snakefile, whose folder the rules ask for
    shutil.copyfile(clone / "tests/rules/empty.smk", clone / "empty.smk")
    made = run_snakemake(clone, *EVERYTHING)
    assert made.returncode == 0, made.stderr[-2000:]
    return clone


def test_what_was_made_is_not_made_again(everything):
    assert dry_run(everything, *EVERYTHING) == []


def test_edits_of_what_is_not_built_rerun_nothing(everything):
    """All at once: none of them may rerun anything."""
    not_built = {key: entry for key, entry in UNUSED.items() if entry[1] == NOTHING}
    (everything / "edit.yaml").write_text(overlay(edits_of(not_built)))
    assert counted(dry_run(everything, *EVERYTHING, "edit.yaml")) == NOTHING


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key, (_, expected) in UNUSED.items() if expected != NOTHING])
def test_an_edit_reruns_exactly_what_it_touches(everything, key):
    value, expected = UNUSED[key]
    (everything / "edit.yaml").write_text(overlay(edit_of(key, value)))
    assert counted(dry_run(everything, *EVERYTHING, "edit.yaml")) == expected
