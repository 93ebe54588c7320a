"""The recipe of every stage, from the config: what a plan checks, and what the rules hand to the commands.

Nothing here needs torch: it is imported wherever Snakemake plans.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from prism.core.benchmarks import BENCHMARKS
from prism.core.config import check_values
from prism.core.decisions import Check, Question
from prism.core.errors import BadInput
from prism.core.figures import FIGURES
from prism.core.methods import ALGORITHMS
from prism.core.prompts import PromptFormat
from prism.core.recipes import build_recipe, schema_of
from prism.core.study_tables import STUDY_TABLES
from prism.environments import load_data
from prism.gradients.recipe import ProbeRecipe
from prism.rl.recipe import RlRecipe
from prism.stages.evaluate import EvaluationRecipe
from prism.stages.pass_rates import PassRatesRecipe
from prism.stages.scores import ScoresRecipe
from prism.stages.sft import SftRecipe

# the published expert trajectories that the paper trains on
ETO = "eto"
# sections of the config that are a stage's settings: the recipe, and what of it comes from elsewhere in the config
STAGES: dict[str, tuple[type, tuple[str, ...]]] = {
    "probe": (ProbeRecipe, ("prompt",)),
    "scores": (ScoresRecipe, ()),
    "pass_rates": (
        PassRatesRecipe,
        ("prompt", "max_steps", "top_p", "max_new_tokens", "batch_size", "workers", "threads", "generator"),
    ),
    "sft": (SftRecipe, ("prompt", "template")),
    "rl": (RlRecipe, ("prompt", "algorithm", "max_steps")),
    "evaluation": (EvaluationRecipe, ("prompt", "max_steps")),
}
# what a benchmark may lay its own settings over, and what an RL algorithm may
OVERLAID = ("sft", "rl", "evaluation")
# what a variant of the probe looks at; all else in it is settings
PROBED_PART = ("backbones", "one_in", "after")


def read_schema(path: str | Path) -> dict[str, Any]:
    """The schema of the whole config: that of the file, the registries' entries, and the stages' recipes."""
    schema = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    properties, definitions = schema["properties"], schema["$defs"]
    for name, (kind, elsewhere) in STAGES.items():
        made = schema_of(kind, elsewhere)
        stated = properties.get(name, {"properties": {}, "required": []})
        made["properties"] |= stated["properties"]
        made["required"] += stated["required"]
        properties[name] = made
    definitions["prompt"] = schema_of(PromptFormat)
    definitions |= {"question": schema_of(Question), "check": schema_of(Check)}
    definitions["prompt_overlay"] = {**definitions["prompt"], "required": []}
    variant = properties["probe"]["properties"]["variants"]["additionalProperties"]
    variant["properties"] |= schema_of(*STAGES["probe"])["properties"]
    _add_registered(schema)
    return schema


def _add_registered(schema: dict[str, Any]) -> None:
    """What a config may say of the benchmarks, figures and tables that the registries know."""
    properties, definitions = schema["properties"], schema["$defs"]
    properties["benchmarks"]["properties"] = {
        name: _refer(name) if name in definitions else {"type": "object"} for name in BENCHMARKS
    }
    sections = {name: _refer(figure.section) for name, figure in FIGURES.items() if figure.section}
    properties["figures"] = {
        **{"type": "object", "additionalProperties": False},
        **{"required": [*sections], "properties": sections},
    }
    targets = {"type": "array", "uniqueItems": True, "items": {"enum": [*FIGURES]}}
    properties["targets"]["properties"]["figures"] = targets
    properties["targets"]["properties"]["tables"]["items"]["enum"] += [*STUDY_TABLES]


def _refer(definition: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{definition}"}


class StageRecipes:
    """The recipe of each stage, for the benchmarks, backbones and algorithms of a config.

    Each is built and checked when it is asked for.

    Raises:
        BadInput: no job could use the settings; names the config key.
    """

    def __init__(self, config: Mapping[str, Any]):
        self.config = config
        self._benchmarks = config["benchmarks"]

    def _laid_over(self, stage: str, benchmark: str, **more: Any) -> dict[str, Any]:
        """A stage's settings with the benchmark's own over them, and its prompt."""
        own = self._benchmarks[benchmark]
        settings = {key: value for key, value in self.config[stage].items() if key != "algorithms"}
        return {**settings, **own.get(stage, {}), **more, "prompt": own["prompt"]}

    def prompt(self, benchmark: str) -> PromptFormat:
        """Of what a benchmark's agent is told."""
        return _build(PromptFormat, self._benchmarks[benchmark]["prompt"], f"benchmarks.{benchmark}.prompt")

    def probe(self, benchmark: str, variant: str = "") -> ProbeRecipe:
        """Of the gradient norms; of a variant, whose settings are laid over the stage's and the benchmark's prompt."""
        settings = self._laid_over("probe", benchmark)
        del settings["shards"]
        own = dict(settings.pop("variants").get(variant, {}))
        settings["prompt"] = {**settings["prompt"], **own.pop("prompt", {})}
        settings |= {key: value for key, value in own.items() if key not in PROBED_PART}
        return _build(ProbeRecipe, settings, f"probe.variants.{variant}" if variant else "probe")

    def scores(self) -> ScoresRecipe:
        """Of the concentration scores."""
        return _build(ScoresRecipe, self.config["scores"], "scores")

    def sft(self, benchmark: str, backbone: str) -> SftRecipe:
        """Of supervised fine-tuning."""
        template = self.config["backbones"][backbone]["template"]
        return _build(SftRecipe, self._laid_over("sft", benchmark, template=template), "sft")

    def rl(self, benchmark: str, algorithm: str) -> RlRecipe:
        """Of reinforcement learning with one algorithm, whose own settings are laid over the stage's."""
        own = self.config["rl"].get("algorithms", {}).get(algorithm, {})
        limits = {"algorithm": algorithm, "max_steps": self._benchmarks[benchmark]["max_steps"]}
        recipe = _build(RlRecipe, self._laid_over("rl", benchmark, **own, **limits), "rl")
        with _named("rl"):
            recipe.check_batches()
        return recipe

    def evaluation(self, benchmark: str) -> EvaluationRecipe:
        """Of playing a panel once."""
        steps = self._benchmarks[benchmark]["max_steps"]
        return _build(EvaluationRecipe, self._laid_over("evaluation", benchmark, max_steps=steps), "evaluation")

    def pass_rates(self, benchmark: str) -> PassRatesRecipe:
        """Of the rollouts that are counted: an evaluation's, and its own."""
        own = {key: value for key, value in self.config["pass_rates"].items() if key != "shards"}
        steps = self._benchmarks[benchmark]["max_steps"]
        return _build(PassRatesRecipe, self._laid_over("evaluation", benchmark, **own, max_steps=steps), "pass_rates")

    def games(self, benchmark: str) -> Any:
        """Of a benchmark's games; None where they are the released ones as they are."""
        data, own = load_data(benchmark), self._benchmarks[benchmark]
        settings = data.games_settings(own)
        section = f"benchmarks.{benchmark}" + (".games" if "games" in own else "")
        return None if settings is None else _build(data.recipes["games"], settings, section)

    def catalog(self, benchmark: str) -> Any:
        """Of the generated files that a benchmark's games are made from."""
        own = self._benchmarks[benchmark]
        return _build(load_data(benchmark).recipes["catalog"], own["catalog"], f"benchmarks.{benchmark}.catalog")

    def _played(self, benchmark: str, command: str, settings: Mapping[str, Any], section: str) -> Any:
        """Of what plays a benchmark's tasks or lists them: its goal list and parts count too, where it has them."""
        own = self._benchmarks[benchmark]
        goals = {key: own[key] for key in ("goals", "split") if key in own}
        return _build(load_data(benchmark).recipes[command], {**settings, **goals}, f"benchmarks.{benchmark}.{section}")

    def expert(self, benchmark: str) -> Any:
        """Of a benchmark's own expert."""
        return self._played(benchmark, "trajectories", self._benchmarks[benchmark]["expert"], "expert")

    def eto(self, benchmark: str) -> Any:
        """Of ETO's expert, played again."""
        steps = {"max_steps": self._benchmarks[benchmark]["expert"]["max_steps"]}
        return self._played(benchmark, "eto-trajectories", steps, "expert")

    def panel(self, benchmark: str, panel: str) -> Any:
        """Of a fixed list of tasks; the training panel is every task that has a trajectory."""
        size = self._benchmarks[benchmark]["panels"].get(panel, 0)
        return self._played(benchmark, "panel", {"size": size, "seed": 0}, f"panels.{panel}")

    def all_of_them(self) -> Iterator[Callable[[], Any]]:
        """Every recipe that a job of this config may get, to be built one by one."""
        yield self.scores
        for name, own in self._benchmarks.items():
            builds = [self.probe, self.evaluation, self.pass_rates, self.expert, self.games]
            builds += [self.catalog] if "catalog" in own else []
            builds += [self.eto] if BENCHMARKS[name].eto_file else []
            for build in builds:
                yield lambda build=build, name=name: build(name)
            for variant in self.config["probe"]["variants"]:
                yield lambda name=name, variant=variant: self.probe(name, variant)
            for algorithm in ALGORITHMS:
                yield lambda name=name, algorithm=algorithm: self.rl(name, algorithm)
            for backbone in self.config["backbones"]:
                yield lambda name=name, backbone=backbone: self.sft(name, backbone)
            for panel in own["panels"]:
                yield lambda name=name, panel=panel: self.panel(name, panel)


def check_config(config: Mapping[str, Any], schema_path: str | Path, commanded: Sequence[str] = ()) -> None:
    """Check a config, and build every recipe that a job may get of it; nothing is changed.

    Args:
        commanded: keys that ``--config`` set.

    Raises:
        BadInput: one line with the key, what is wrong with it and what to do.
    """
    check_values(config, read_schema(schema_path), OVERLAID, commanded)
    for build in StageRecipes(config).all_of_them():
        build()


def _build(kind: type, settings: Mapping[str, Any], section: str) -> Any:
    """A recipe of a section of the config."""
    with _named(section):
        return build_recipe(kind, settings, f"config {section}")


@contextmanager
def _named(section: str) -> Iterator[None]:
    """Let errors name a key of the config: a recipe knows the setting's own name, or that of its stage too."""
    try:
        yield
    except BadInput as error:
        place = error.place.removeprefix("config ")
        if place.split(".")[0] not in (section.split(".")[0], "prompt"):
            place = f"{section}.{place}"
        raise BadInput(f"config {place}", error.problem, error.remedy) from error
