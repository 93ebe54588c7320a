"""Faster text generation and game loading for `textworld`'s PDDL environments, with identical behaviour.

The packages parse the same grammar texts again at every step, translate the same PDDL problem at every load and
reset, and deep-copy whole entity tables where a shallow copy does. `install` replaces these functions in the running
process by memoised ones. Nothing is written to disk, every table is bounded, and transcripts stay identical (a test
plays the same actions with and without).

The parsers and the translator of the packages are not safe in threads: a lock lets one in at a time. Environments may
therefore be stepped from several threads.

What is shared between callers is either never written to by the packages (rules, actions, translated tasks) or copied
structurally on every use (grammar symbols, which carry a context).
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from prism.environments.alfworld import packages

GRAMMARS = 8
"""Distinct grammars kept parsed (the data set has one)."""
TEXTS = 4096
"""Distinct grammar texts and queries kept parsed."""
PROBLEMS = 128
"""Translated problems kept, one or two for each game; about a megabyte each."""

# the grammar rule of the task's sentence, in characters that mean nothing to the grammar's own parser
_TASK_RULE = re.compile(r'("task":\s*\[\s*\{\s*"rhs":\s*")(Your task is to: [\w ,.\'-]*)(")')
_COMMON_TASK = r"\1Your task is to: UNKNOWN GOAL.\3"

_LOADABLE = 1
"""Type of an ELF segment that is mapped into memory."""

_lock = threading.RLock()
_installed = False


def install() -> None:
    """Memoise the packages in this process; calling it again changes nothing."""
    global _installed
    packages.prepare()
    with _lock:
        if _installed:
            return
        _memoise_symbols()
        _memoise_grammars()
        _memoise_queries()
        _memoise_translations()
        _shrink_library()
        _installed = True


def warm_up() -> None:
    """Memoise the packages and parse their grammar, so that the first game finds both done."""
    install()
    from textworld.envs.pddl.logic import GameLogic

    GameLogic(packages.domain(), packages.grammar())


def _memoise_symbols() -> None:
    """Parse every grammar text once; copy symbols structurally instead of deeply."""
    from textworld.envs.pddl import textgen

    def clone(symbol: Any) -> Any:
        copy = object.__new__(type(symbol))
        copy.__dict__.update(symbol.__dict__)
        for name in ("symbol", "expression"):
            inner = copy.__dict__.get(name)
            if isinstance(inner, textgen.Symbol):
                copy.__dict__[name] = clone(inner)
        return copy

    def copy_value(value: Any) -> Any:
        """What `textgen` deep-copies: tables of entities, lists of symbols, single symbols."""
        if isinstance(value, dict):
            return dict(value)
        if isinstance(value, list):
            return [clone(symbol) for symbol in value]
        return clone(value)

    parse = textgen._parse_and_convert
    parsed = _remember(lambda text, rule_name: parse(text, rule_name=rule_name), TEXTS)

    def parse_and_convert(text: str, rule_name: str, trace: bool = False) -> Any:
        return copy_value(parsed(text, rule_name))

    textgen.deepcopy = copy_value
    textgen._parse_and_convert = parse_and_convert


def _memoise_grammars() -> None:
    """Parse a grammar once for all the games that differ in the sentence of the task alone."""
    from textworld.envs.pddl import logic, textgen

    parse = logic._parse_and_convert
    parsed = _remember(lambda text, rule_name: parse(text, rule_name=rule_name), GRAMMARS)

    def parse_and_convert(text: str, rule_name: str) -> Any:
        rules = _TASK_RULE.findall(text)
        if rule_name != "pddlStart" or len(rules) != 1:
            return parsed(text, rule_name)
        actions, common = parsed(_TASK_RULE.sub(_COMMON_TASK, text), rule_name)
        sentence = rules[0][1]
        own = textgen.ContextSensitiveGrammar.parse(json.dumps({"task": [{"rhs": sentence}]}))
        grammar = textgen.ContextSensitiveGrammar()
        grammar.update(common)
        grammar._rules["task"] = own._rules["task"]
        return dict(actions), grammar

    logic._parse_and_convert = parse_and_convert


def _memoise_queries() -> None:
    """Parse every query over the facts once; rules are immutable."""
    from textworld.logic import Rule

    Rule.parse_conjunctive_query = _remember(Rule.parse_conjunctive_query, TEXTS)


def _memoise_translations() -> None:
    """Translate every problem once: a reset and a second replica of a game find it done."""
    import fast_downward

    translate = fast_downward.pddl2sas

    load_library = fast_downward.load_lib

    def translate_quietly(domain: str, problem: str, optimize: bool) -> tuple[Any, str]:
        arguments = sys.argv  # which the translator overwrites
        try:
            return translate(domain, problem, optimize=optimize)
        finally:
            sys.argv = arguments

    translated = _remember(translate_quietly, PROBLEMS)

    def pddl2sas(domain: str, problem: str, verbose: bool = False, optimize: bool = False) -> tuple[Any, Any]:
        if optimize:
            return None, _PlanningProblem(lambda: translated(domain, problem, True)[1])
        return translated(domain, problem, False)

    fast_downward.pddl2sas = pddl2sas
    fast_downward.load_lib = lambda: _PlannerOnDemand(load_library())


class _PlanningProblem:
    """Stands for the translation that only the planner reads; made when the planner asks for it."""

    def __init__(self, translate: Callable[[], str]):
        self._translate = translate

    def encode(self, encoding: str) -> _PlanningProblem:
        """The packages encode every translation before they hand it to the library."""
        return self

    def text(self) -> bytes:
        """The translation itself."""
        return self._translate().encode("utf-8")


class _PlannerOnDemand:
    """The planner's library; it reads the planning problem when it first plans, which most episodes never do.

    Half of what loading a game costs is translating the problem a second time for the planner.
    """

    def __init__(self, library: Any):
        self._library = library
        self._problem: _PlanningProblem | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def load_sas_replan(self, problem: _PlanningProblem) -> None:
        """Remember the problem."""
        self._problem = problem

    def replan(self, verbose: bool) -> bool:
        """Plan from the present state."""
        if self._problem is not None:
            self._library.load_sas_replan(self._problem.text())
            self._problem = None
        return self._library.replan(verbose)


def _shrink_library() -> None:
    """Let the packages copy the loadable part of the planner's library alone.

    Every environment loads a copy of its own, because the library keeps its state in globals. Of its 34 MB, 33 are
    debug information, which the loader never reads.
    """
    from fast_downward import interface

    whole = Path(interface.DOWNWARD_LIB_PATH)
    size = _loadable_bytes(whole)
    if size is None:
        return
    # a file in memory: nothing is left behind, however the process ends
    descriptor = os.memfd_create("libdownward")
    with whole.open("rb") as source:
        os.write(descriptor, source.read(size))
    interface.DOWNWARD_LIB_PATH = f"/proc/self/fd/{descriptor}"


def _loadable_bytes(path: Path) -> int | None:
    """Where the last loadable segment of a 64-bit little-endian ELF file ends; None for other files."""
    with path.open("rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            return None
        (table,) = struct.unpack_from("<Q", header, 32)
        entry_bytes, entries = struct.unpack_from("<HH", header, 54)
        file.seek(table)
        segments = [file.read(entry_bytes) for _ in range(entries)]
    ends = [_file_end(segment) for segment in segments if struct.unpack_from("<I", segment)[0] == _LOADABLE]
    return max(ends, default=None)


def _file_end(segment: bytes) -> int:
    (offset,) = struct.unpack_from("<Q", segment, 8)
    (length,) = struct.unpack_from("<Q", segment, 32)
    return offset + length


def _remember(function: Callable[..., Any], size: int) -> Callable[..., Any]:
    """Memoise `function` for its last `size` arguments; only one thread at a time computes."""

    def locked(*arguments: Any) -> Any:
        with _lock:
            return function(*arguments)

    return lru_cache(maxsize=size)(locked)
