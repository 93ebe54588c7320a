"""Stages: a generated WebShop catalog, and any catalog compiled for use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prism.core.errors import BadInput
from prism.core.progress import say
from prism.environments.webshop.generator import CatalogRecipe, generate_catalog
from prism.environments.webshop.goals import MODES
from prism.environments.webshop.products import CatalogFiles
from prism.environments.webshop.store import TAGGED_TITLES, compile_store


@dataclass(frozen=True)
class StoreRecipe:
    """How a catalog is compiled.

    Attributes:
        seed: of prices drawn from ranges and of price limits in instructions.
        goals: goal lists to make, ``human``, ``synthetic`` or both.
        rows: use this many rows of the product file; 0 uses all.
        tagged_titles: tag the titles of a catalog with at most this many products now, for the rewards; titles of
            larger ones are tagged when they are first bought.
    """

    seed: int
    goals: tuple[str, ...] = ("human",)
    rows: int = 0
    tagged_titles: int = TAGGED_TITLES

    def __post_init__(self) -> None:
        if not self.goals or set(self.goals) - set(MODES):
            raise BadInput("goals", f"cannot make {list(self.goals)}", f"choose from {', '.join(MODES)}")
        for name in ("rows", "tagged_titles"):
            if getattr(self, name) < 0:
                raise BadInput(name, f"{getattr(self, name)} is negative", "give 0 or more")


def make_catalog(out_dir: Path, recipe: CatalogRecipe) -> None:
    """Generate a catalog in the original file formats; equal recipes give equal bytes."""
    generate_catalog(out_dir, recipe)
    say(f"catalog: {recipe.products} products generated")


def compile_catalog(catalog_dir: Path, out_dir: Path, recipe: StoreRecipe) -> None:
    """Compile a catalog in the original file formats: products, prices, goals and search index on disk.

    Raises:
        BadInput: a file is missing, broken off, or a row cannot be used.
    """
    compile_store(
        CatalogFiles.in_folder(catalog_dir),
        out_dir,
        recipe.seed,
        recipe.goals,
        recipe.rows or None,
        recipe.tagged_titles,
    )
