"""The figures of a run: which module draws each, and from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        module: the module of `prism.stages.figures` whose `draw` draws it.
        title: what people know it by.
        inputs: kinds of files that it is drawn from: ``norms``, ``scores``, ``consensus``, ``trajectories``,
            ``evaluations``, ``runs`` (folders of RL), ``tables`` or ``times`` (the folder of run times, when all else
            is done). `draw` gets a list of each.
        settings: what else `draw` gets: fields of `FigureSettings`.
        section: what its section of the config holds: a definition of ``config/schema.yaml``; empty where it has none.
        tables: the tables that it is always drawn from; those of its section otherwise.
        category: where Snakemake's report shows it.
    """

    module: str
    title: str
    inputs: tuple[str, ...]
    settings: tuple[str, ...] = ()
    section: str = ""
    tables: tuple[str, ...] = ()
    category: str = "Figures"


@dataclass(frozen=True)
class FigureSettings:
    """What figures are told besides their files; all but `shares` and `names` stand in the config.

    Attributes:
        pairs: the method that routes by a metric and its inverse, by metric.
        reference: the method that pairs are compared with.
        shares: percent of the corpus that RL sees, by method.
        names: the method of each run.
    """

    benchmark: str = ""
    backbones: tuple[str, ...] = ()
    pairs: dict[str, tuple[str, ...]] = field(default_factory=dict)
    reference: str = ""
    shares: dict[str, int] = field(default_factory=dict)
    names: tuple[str, ...] = ()


FIGURES = {
    "figure1": Figure("case_study", "Figure 1: case study", ("norms", "scores", "trajectories"), section="one_corpus"),
    "figure3": Figure(
        "inverse_ablation", "Figure 3: inverse ablation", ("evaluations",), ("backbones", "pairs", "reference"), "pairs"
    ),
    "figure4": Figure(
        "ratio_sweep", "Figure 4: ratio sweep", ("evaluations",), ("backbones", "shares"), "rows_of_one_backbone"
    ),
    "figure5": Figure("consensus", "Figure 5: consensus of the metrics", ("consensus",), section="probes"),
    "score_distributions": Figure("score_distributions", "Score distributions", ("scores",), ("backbones",), "corpora"),
    "training_curves": Figure("training_curves", "Training curves", ("runs",), ("names",), "rows_of_one_backbone"),
    "forest": Figure("forest", "All methods with intervals", ("tables",), section="shown_tables"),
    "score_correlates": Figure(
        "score_correlates", "What the scores go together with", ("tables",), tables=("score_correlates",)
    ),
    "routing_sensitivity": Figure(
        "routing_sensitivity", "What the routing depends on", ("tables",), tables=("routing_sensitivity",)
    ),
    "appendix_b": Figure("halves", "Appendix B: what the two halves hold", ("tables",), tables=("appendix_b",)),
    "detection": Figure("detection", "Which scores find the detours", ("tables",), tables=("detection",)),
    "schedule": Figure("schedule", "Schedule of the run", ("times",), category="Run"),
}


def compared_methods(target: Mapping[str, Any]) -> list[str]:
    """The methods of a table or figure, from its section of the config: a list, pairs, or questions."""
    if "questions" in target:
        asked = [name for one in target["questions"] for name in (one["method"], *one["references"])]
        checked = [name for one in target["checks"] for name in (one["method"], one["reference"])]
        return list(dict.fromkeys(asked + checked))
    if "pairs" in target:
        return [*(method for pair in target["pairs"].values() for method in pair), target["reference"]]
    return target.get("methods", [])
