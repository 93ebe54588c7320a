"""One instruction set for all processors that have it."""

from __future__ import annotations

import os

import pytest

from prism.core import processor
from prism.core.processor import fix_instruction_set

AVX2 = "processor : 0\nflags\t\t: fpu sse4_2 avx avx2\n"


@pytest.fixture
def variables(monkeypatch):
    """The variables, unset; what a test sets is taken back."""
    names = [name for values in processor.VARIABLES.values() for name in values]
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    return lambda: {name: os.environ[name] for name in names if name in os.environ}


def info(tmp_path, text):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    return path


def test_the_set_is_given_to_all_that_is_started(tmp_path, variables):
    assert fix_instruction_set("avx2", info(tmp_path, AVX2))
    assert variables() == processor.VARIABLES["avx2"]


def test_what_the_caller_has_set_stays(tmp_path, variables, monkeypatch):
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    assert fix_instruction_set("avx2", info(tmp_path, AVX2))
    assert variables()["ATEN_CPU_CAPABILITY"] == "default"


@pytest.mark.parametrize("text", ["flags : fpu sse4_2 avx\n", "Features : asimd\n", ""])
def test_a_processor_without_it_is_left_alone(tmp_path, variables, text):
    assert not fix_instruction_set("avx2", info(tmp_path, text))
    assert variables() == {}


def test_another_architecture_is_left_alone(tmp_path, variables, monkeypatch):
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    assert not fix_instruction_set("avx2", info(tmp_path, AVX2))


def test_nothing_is_fixed_where_nothing_is_asked_for(variables):
    assert not fix_instruction_set("")
    assert variables() == {}
