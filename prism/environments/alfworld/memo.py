"""Faster text generation and game loading for `textworld`'s PDDL environments, with identical behaviour.

The packages parse the same grammar texts again at every step, translate the same PDDL problem at every load and
reset, and deep-copy whole entity tables where a shallow copy does. `install` replaces these functions in the running
process by memoised ones. Nothing is written to disk, every table is bounded, and transcripts stay identical (a test
plays the same actions with and without).

What is shared between callers is either never written to by the packages (rules, actions, translated tasks) or copied
structurally on every use (grammar symbols, which carry a context).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

GRAMMARS = 8
"""Distinct grammars kept parsed (the data set has one)."""
TEXTS = 4096
"""Distinct grammar texts and queries kept parsed."""
PROBLEMS = 128
"""Translated problems kept, two for each game; about half a megabyte each."""

_TASK_RULE = re.compile(r'(?<="rhs": ")Your task is to: [\w ,.\'-]*(?=")')
_PLACEHOLDER = "Your task is to: UNKNOWN GOAL."

_installed = False


def install() -> None:
    """Memoise the packages in this process; calling it again changes nothing."""
    global _installed
    if _installed:
        return
    _memoise_symbols()
    _memoise_grammars()
    _memoise_queries()
    _memoise_translations()
    _installed = True


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
    parsed = lru_cache(maxsize=TEXTS)(lambda text, rule_name: parse(text, rule_name=rule_name))

    def parse_and_convert(text: str, rule_name: str, trace: bool = False) -> Any:
        return parse(text, rule_name=rule_name, trace=True) if trace else copy_value(parsed(text, rule_name))

    textgen.deepcopy = copy_value
    textgen._parse_and_convert = parse_and_convert


def _memoise_grammars() -> None:
    """Parse a grammar once for all the games that differ in the sentence of the task alone."""
    from textworld.envs.pddl import logic, textgen

    parse = logic._parse_and_convert
    parsed = lru_cache(maxsize=GRAMMARS)(lambda text: parse(text, rule_name="pddlStart"))

    def parse_and_convert(text: str, rule_name: str) -> Any:
        sentences = _TASK_RULE.findall(text)
        if rule_name != "pddlStart" or len(sentences) != 1:
            return parse(text, rule_name=rule_name)
        actions, common = parsed(_TASK_RULE.sub(_PLACEHOLDER, text))
        grammar = textgen.ContextSensitiveGrammar()
        grammar.update(common)
        grammar._rules["task"] = textgen.ContextSensitiveGrammar.parse(
            json.dumps({"task": [{"rhs": sentences[0]}]})
        )._rules["task"]
        return dict(actions), grammar

    logic._parse_and_convert = parse_and_convert


def _memoise_queries() -> None:
    """Parse every query over the facts once; rules are immutable."""
    from textworld.logic import Rule

    Rule.parse_conjunctive_query = _bounded(Rule.parse_conjunctive_query, TEXTS)


def _memoise_translations() -> None:
    """Translate every problem once: a reset and a second replica of a game find it done."""
    import fast_downward

    translate = fast_downward.pddl2sas

    @lru_cache(maxsize=PROBLEMS)
    def translated(domain: str, problem: str, optimize: bool) -> tuple[Any, str]:
        return translate(domain, problem, optimize=optimize)

    def pddl2sas(domain: str, problem: str, verbose: bool = False, optimize: bool = False) -> tuple[Any, str]:
        if verbose:
            return translate(domain, problem, verbose=True, optimize=optimize)
        return translated(domain, problem, optimize)

    fast_downward.pddl2sas = pddl2sas


def _bounded(function: Callable[..., Any], size: int) -> Callable[..., Any]:
    return lru_cache(maxsize=size)(function)
