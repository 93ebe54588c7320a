"""What a run is to decide: questions and checks that are written down before it."""

from __future__ import annotations

from dataclasses import dataclass

from prism.core.recipes import setting


@dataclass(frozen=True)
class Question:
    """Does a method succeed more often than others? Against several, the one that it is least ahead of counts."""

    name: str = setting("what it is called")
    method: str = setting("the method that is asked about")
    references: tuple[str, ...] = setting(
        "what it has to beat, all of them", schema={"type": "array", "minItems": 1, "items": {"type": "string"}}
    )


@dataclass(frozen=True)
class Check:
    """Something that has to hold before the questions mean anything."""

    name: str = setting("what it is called")
    method: str = setting("the method that has to be ahead")
    reference: str = setting("of which")
    points: float = setting("by how many points at least", at_least=0)
    alpha: float = setting("its p value lies below this", above=0, at_most=1)


@dataclass(frozen=True)
class DecisionRecipe:
    """What is asked of a run.

    Attributes:
        seeds: trainings of each method with which verdicts are read; with fewer a table is interim.
        margin: points; a gain that would matter.
    """

    seeds: int
    margin: float
    questions: tuple[Question, ...] = ()
    checks: tuple[Check, ...] = ()
