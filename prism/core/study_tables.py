"""The tables about the scores themselves: which module makes each, and from what."""

from __future__ import annotations

from dataclasses import dataclass, field

from prism.core.epsilon import EPSILON


@dataclass(frozen=True)
class StudyTable:
    """One table.

    Attributes:
        module: the module of `prism.stages.score_study` whose `study` makes it.
        title: what it shows.
        inputs: kinds of files that it is made from: ``scores``, ``norms``, ``variants`` (norms under variants of the
            probe), ``consensus``, ``facts``, ``pass_rates`` (as far as they were counted), ``memory`` or ``labels``
            (manifests of corpora with detours). Their paths say of which benchmark and backbone each is.
    """

    module: str
    title: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class StudySettings:
    """What a table is told besides its files.

    Attributes:
        changes: what each variant of the probe changes, by variant and benchmark: aspect, the run's own way, the
            variant's.
        epsilon: of the scores.
    """

    changes: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    epsilon: float = EPSILON


# kinds of files that a run need not have
STUDY_OPTIONAL = ("variants", "pass_rates")
STUDY_TABLES = {
    "score_correlates": StudyTable(
        "correlates", "What the scores go together with (section 4.2)", ("scores", "norms", "facts", "pass_rates")
    ),
    "routing_sensitivity": StudyTable("sensitivity", "What the routing depends on", ("norms", "variants")),
    "consensus": StudyTable("consensus", "Agreement of the three metrics (figure 5)", ("consensus",)),
    "appendix_b": StudyTable("behaviours", "Appendix B: what the two halves hold", ("scores", "facts")),
    "appendix_f": StudyTable("contrast", "Appendix F: contrast within groups of rollouts", ("scores", "pass_rates")),
    "memory": StudyTable("memory", "Peak memory of the probe (section 2.2)", ("memory",)),
    "detection": StudyTable(
        "detection", "The positive control: which scores find the detours", ("scores", "labels", "pass_rates")
    ),
}
