"""A probe as one page: distributions and split, what the scores go together with, every trajectory with its profile.

The page needs no other file, no network and no server. Numbers stand in it as typed arrays and texts compressed, so
that thousands of trajectories open at once; its table draws the rows in sight alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

import prism
from prism.core.csv_files import missing_column
from prism.core.files import write_text
from prism.core.progress import counted, say
from prism.core.splits import RL, SFT, Split, split_by_quantile
from prism.gradients.norm_files import FIXED_COLUMNS, NormFile, open_norms, read_shards
from prism.gradients.profiles import ProfileGrid
from prism.stages.page_templates import render_page
from prism.stages.scores import score_probe
from prism.tools.report.findings import FACTORS, SCORES, correlations, findings
from prism.tools.report.packing import packed_array, packed_texts
from prism.tools.report.texts import read_texts

# columns of the page's table, and what they are called
COLUMNS = {
    **SCORES,
    "l2": "L2",
    "effective_rank": "effective rank",
    "loss": "loss",
    "length": "tokens",
    "rows": "rows",
    "truncated": "cut rows",
}
# what of the metadata stands on the page, and what it is called
SHOWN_FACTS = {
    "model": "model",
    "model_sha256": "its hash",
    "data": "data",
    "data_sha256": "its hash",
    "prompt_format": "prompt",
    "dtype": "dtype",
    "device": "device",
    "trajectories_truncated": "trajectories cut at the context length",
    "response_tokens_cut": "response tokens cut",
    "version_torch": "torch",
    "version_transformers": "transformers",
}


def build_report(
    norms: Sequence[str | Path], by: str, rl_share: float, out: str | Path, data: str | Path | None, texts: bool
) -> None:
    """Write the page of a probe.

    Args:
        norms: all files of one probe.
        by: the score to route by, a column of the score table.
        rl_share: share of the trajectories for RL, between 0 and 1.
        data: the corpus that was probed, if it moved.
        texts: whether the trajectories' texts are in the page.

    Raises:
        BadInput: the files are not those of one probe, the score is unknown, or the corpus is not the one probed.
    """
    files = [open_norms(path) for path in norms]
    ids, scores = score_probe(files)
    if by not in scores:
        raise missing_column(files[0].path, by, list(scores))
    split = split_by_quantile(scores[by], 100 * rl_share)
    table = pd.DataFrame(scores, index=ids).join(_recorded(files))
    shown = COLUMNS if by in COLUMNS else {by: by, **COLUMNS}
    correlated = correlations(table)
    page = {
        "count": len(ids),
        "facts": _facts(files),
        "findings": findings(table, correlated),
        "split": _split_in_words(split, shown[by], rl_share),
        "pairs": [{"x": x, "y": y, "rho": _two_digits(rho)} for (y, x), rho in correlated.items()],
        "scores": SCORES,
        "factors": FACTORS,
        "drawn": list(dict.fromkeys([by, *SCORES, *FACTORS])),
        "version": prism.__version__,
        "numbers": _numbers(ids, table, list(shown), split, by),
        "columns": shown,
        "profiles": _profiles(files),
        "texts": packed_texts(read_texts(files[0], data, ids)) if texts else "",
    }
    write_text(out, render_page("report.html.jinja", page))
    say(f"{out}: {counted(len(ids), 'trajectory', 'trajectories')}")


def _recorded(files: Sequence[NormFile]) -> pd.DataFrame:
    """What the files record besides the norms, by id; what the score table has too is left to it."""
    columns = [name for name in FIXED_COLUMNS if name not in ("loss", "response_tokens")]
    parts = [pq.read_table(file.path, columns=columns).to_pandas() for file in files]
    return pd.concat(parts).set_index("id")


def _facts(files: Sequence[NormFile]) -> list[tuple[str, str]]:
    first, grid = files[0], ProfileGrid.of(files[0].names)
    kinds, weights = (
        f"{len(grid.matrices)} kinds in {len(grid.layers)} layers",
        f"{sum(first.parameter_counts):,} weights",
    )
    shape = f"{len(first.names)}, of {kinds}; {weights}"
    facts = [(name, first.facts[key]) for key, name in SHOWN_FACTS.items() if key in first.facts]
    return [*facts, ("matrices", shape), ("files", str(len(files)))]


def _two_digits(rho: float | None) -> str | None:
    """``0.12``; never ``-0.00``."""
    return None if rho is None else f"{round(rho, 2) + 0.0:.2f}"


def _split_in_words(split: Split, name: str, rl_share: float) -> str:
    ties = f" {split.ties} at the threshold go to SFT." if split.ties > 1 else ""
    sft, rl = (f"{split.count(regime)} trajectories go to {regime.upper()}" for regime in (SFT, RL))
    where = f"{sft} (at or below {split.threshold:.6g}) and {rl} (above)"
    return f"By {name}, {where}, for an RL share of {100 * rl_share:g}%.{ties}"


def _numbers(ids: Sequence[str], table: pd.DataFrame, columns: Sequence[str], split: Split, by: str) -> dict:
    """What the page's table is made of, as it stands there in JSON."""
    values = table[list(columns)].to_numpy(dtype=np.float64).T
    return {
        "ids": list(ids),
        "columns": list(columns),
        "values": packed_array(values, np.float64),
        "sides": packed_array(np.array(split.regimes) == RL, np.uint8),
        "by": by,
        "threshold": split.threshold,
    }


def _profiles(files: Sequence[NormFile]) -> dict:
    """Norms in 65,535 steps of the largest of each trajectory, which is finer than a picture or four digits show."""
    norms = read_shards([file.path for file in files])
    largest = norms.max(axis=1, keepdims=True)
    steps = np.rint(65535 * np.divide(norms, largest, out=np.zeros_like(norms), where=largest > 0))
    grid = ProfileGrid.of(files[0].names)
    return {
        "layers": grid.layers,
        "matrices": grid.matrices,
        "places": grid.places,
        "names": files[0].names,
        "largest": packed_array(largest, np.float64),
        "steps": packed_array(steps, np.uint16),
    }
