"""What a result was made from, as one hash: settings, versions, data and weights, back to where everything begins.

Two results with the same origin were made by the same experiment, on whatever machine. It is read off the config alone:
nothing has to be there. What makes no difference to a result (settings of the machine, tables that are asked for) is
left out, so that a record of an earlier run counts for a config that asks for more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from prism.core.detours import DETOUR
from prism.core.errors import BadInput
from prism.core.files import sha256_file
from prism.core.methods import BASE, COUNTED, build_methods, column_and_variant, parse_slice
from prism.core.recipes import json_text, result_settings
from prism.core.results import FILE_ENDINGS, Results
from prism.core.splits import RANDOM
from prism.core.versions import STAGE_VERSIONS
from prism.data_inputs import FILE, backbone_content, corpus_source
from prism.settings import ETO, StageRecipes

# what a benchmark's data are made with beside settings
DATA_STAGES = ("fetch", "games", "trajectories")

Origin = Mapping[str, Any]


class Origins:
    """Origins of the results that a config asks for.

    Args:
        config: the whole config.
    """

    def __init__(self, config: Mapping[str, Any]):
        self.config, self.recipes = config, StageRecipes(config)
        self.methods = build_methods(config["methods"])
        # paths of other results are asked for as they lie below the folder of results
        self._results = Results("")
        # a training is part of many origins, and every job of a run asks for most of them
        self._found: dict[PurePath, Origin] = {}

    def of(self, relative: str | PurePath) -> str | None:
        """The origin of a result, as SHA-256; None where it has none.

        Args:
            relative: the path below the folder of results; of a training, its folder.
        """
        made = self.made_from(relative)
        return None if made is None else hashlib.sha256(json_text(made).encode()).hexdigest()

    def made_from(self, relative: str | PurePath) -> Origin | None:
        """What the origin is the hash of; ``recipe`` holds the settings of the last stage.

        None for what is made in no time, and for names that the config does not know.
        """
        try:
            return self._of_path(PurePath(relative))
        except (BadInput, KeyError, TypeError, ValueError):
            # a name that the config does not know, or a path of another form
            return None

    def _of_path(self, path: PurePath) -> Origin:
        if path not in self._found:
            kinds = {
                "backbones": self._backbone,
                "eval": self._evaluation,
                "gradnorms": self._norms,
                "gradnorms_variants": self._variant_norms,
                "passrates": self._pass_rates,
                "sft": self._sft,
                "rl": self._rl,
            }
            first, *parts = path.parts
            self._found[path] = kinds[first](*map(_without_ending, parts))
        return self._found[path]

    def _made(self, stage: str, recipe: Any, **inputs: Any) -> Origin:
        return {"stage": stage, "version": STAGE_VERSIONS[stage], "recipe": result_settings(recipe), **inputs}

    def _data(self, benchmark: str) -> Origin:
        own = self.config["benchmarks"][benchmark]
        source, games = corpus_source(own), self.recipes.games(benchmark)
        played = {FILE: None, ETO: self.recipes.eto}.get(source, self.recipes.expert)
        return {
            "benchmark": benchmark,
            "games": [own["source"], own.get("collection", ""), games and result_settings(games)],
            "catalog": result_settings(self.recipes.catalog(benchmark)) if "catalog" in own else None,
            "corpus": source,
            "played": result_settings(played(benchmark)) if played else sha256_file(own["trajectories_file"]),
            "versions": {stage: STAGE_VERSIONS[stage] for stage in DATA_STAGES},
        }

    def _backbone(self, name: str) -> Origin:
        own = self.config["backbones"][name]
        place = {} if own["source"] == "local" else {key: own.get(key) for key in ("location", "revision", "file")}
        content = {"source": own["source"], "content": backbone_content(own), "template": own["template"]}
        return {**place, **content, "version": STAGE_VERSIONS["backbone"]}

    def _probe(self, benchmark: str, backbone: str, variant: str) -> Origin:
        after = self.config["probe"]["variants"][variant].get("after") if variant else None
        place = benchmark, backbone, self.config["seeds"][0]
        model = self._checkpoint(after, *place) if after else self._initial(BASE, *place)
        return self._made("probe", self.recipes.probe(benchmark, variant), model=model, data=self._data(benchmark))

    def _norms(self, benchmark: str, backbone: str, shard: str) -> Origin:
        return {"shard": shard, **self._probe(benchmark, backbone, "")}

    def _variant_norms(self, variant: str, benchmark: str, backbone: str, shard: str) -> Origin:
        return {"shard": shard, **self._probe(benchmark, backbone, variant)}

    def _rollouts(self, benchmark: str, backbone: str) -> Origin:
        recipe = self.recipes.pass_rates(benchmark)
        model = self._of_path(self._results.backbone(backbone))
        return self._made("pass_rates", recipe, model=model, data=self._data(benchmark))

    def _pass_rates(self, benchmark: str, backbone: str, shard: str) -> Origin:
        return {"shard": shard, **self._rollouts(benchmark, backbone)}

    def _subset(self, subset: str, benchmark: str, backbone: str) -> Origin:
        """A side of a split, and what its score is made from."""
        part = parse_slice(subset)
        if part is None or part.score == DETOUR or part.score.startswith(f"{RANDOM}-"):
            return {"subset": subset}
        if part.score in COUNTED:
            return {"subset": subset, "rollouts": self._rollouts(benchmark, backbone)}
        probe = self._probe(benchmark, backbone, column_and_variant(part.score)[1])
        return {"subset": subset, "scores": result_settings(self.recipes.scores()), "probe": probe}

    def _initial(self, init: str, benchmark: str, backbone: str, seed: int) -> Origin:
        return self._of_path(self._results.initial(init, benchmark, backbone, seed))

    def _checkpoint(self, method: str, benchmark: str, backbone: str, seed: int) -> Origin:
        return self._of_path(self._results.checkpoint(self.methods[method], benchmark, backbone, seed))

    def _sft(self, benchmark: str, backbone: str, subset: str, seed: str) -> Origin:
        return self._made(
            "sft",
            self.recipes.sft(benchmark, backbone),
            model=self._of_path(self._results.backbone(backbone)),
            subset=self._subset(subset, benchmark, backbone),
            data=self._data(benchmark),
            seed=_number(seed),
        )

    def _rl(self, benchmark: str, backbone: str, run: str, seed: str) -> Origin:
        init, algorithm, subset = run.split("--")
        return self._made(
            "rl",
            self.recipes.rl(benchmark, algorithm),
            model=self._initial(init, benchmark, backbone, _number(seed)),
            subset=self._subset(subset, benchmark, backbone),
            data=self._data(benchmark),
            seed=_number(seed),
        )

    def _evaluation(self, benchmark: str, backbone: str, method: str, seed: str, panel: str) -> Origin:
        number = _number(seed)
        return self._made(
            "evaluate",
            self.recipes.evaluation(benchmark),
            model=self._checkpoint(method, benchmark, backbone, number),
            panel=[panel, result_settings(self.recipes.panel(benchmark, panel))],
            data=self._data(benchmark),
            seed=number,
        )


def _without_ending(name: str) -> str:
    """A file's name without what says its kind; a folder's may hold points too."""
    return name.removesuffix(next((ending for ending in FILE_ENDINGS if name.endswith(ending)), ""))


def _number(seed: str) -> int:
    return int(seed.removeprefix("seed"))
