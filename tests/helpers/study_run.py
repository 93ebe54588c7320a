"""A made-up run of probe and scores whose answers are known."""

import numpy as np
import pandas as pd
from norm_files import NAMES, fake_norms

from prism.core.results import Results
from prism.core.trajectories import Step, Trajectory, write_trajectories
from prism.stages.consensus import compute_consensus
from prism.stages.score_study.facts import count_facts
from prism.stages.scores import ScoresRecipe, compute_scores

COUNT = 40
PLACE = "alfworld/tiny"


def shaped(factors):
    """Norms whose concentration grows with `factors`: all matrices 1, the first one larger."""
    values = np.ones((len(factors), len(NAMES)))
    values[:, 0] += factors
    return values


def write_probe(root, values, folder=f"gradnorms/{PLACE}"):
    path = root / folder / "shard-0-of-1.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    return fake_norms(path, range(len(values)), values=values)


def write_consensus(root, norms, place=PLACE, epsilon=1e-8):
    path = Results(root).consensus(*place.split("/"))
    path.parent.mkdir(parents=True, exist_ok=True)
    compute_consensus(norms, ScoresRecipe(epsilon), path)
    return path


def trajectory(number, failed):
    """Two searches and a repeated one; where it failed before, the last step is a recovery."""
    look = Step("You are in a room.", ("look",), "look", "go to desk 1")
    seen = "Nothing happens." if failed else "A desk."
    last = Step(seen, ("look",), "look", "take mug 1 from desk 1")
    kind = "pick" if failed else "look"
    return Trajectory(f"t-{number:03d}", "alfworld", "g", "find it", kind, "x", True, (look, look, last))


def build_run(root):
    """40 trajectories: the concentrated half has recoveries, the task type `pick`, and contrast in its rollouts.

    Returns:
        Files by kind, as the tables about the scores take them.
    """
    factors = np.arange(1.0, COUNT + 1)
    norms = write_probe(root, shaped(factors))
    scores = root / f"scores/{PLACE}.csv"
    scores.parent.mkdir(parents=True)
    compute_scores([norms], None, scores, ScoresRecipe())
    corpus, facts = root / "data/alfworld/trajectories.jsonl", root / "data/alfworld/facts.csv"
    corpus.parent.mkdir(parents=True)
    write_trajectories(corpus, [trajectory(number, number >= COUNT // 2) for number in range(COUNT)])
    count_facts(corpus, facts)
    rates = root / f"passrates/{PLACE}.csv"
    rates.parent.mkdir(parents=True)
    solved = [0 if number < COUNT // 2 else 4 for number in range(COUNT)]
    ids = [f"t-{number:03d}" for number in range(COUNT)]
    pd.DataFrame({"id": ids, "pass_rate": [k / 8 for k in solved], "solved": solved, "rollouts": 8}).to_csv(
        rates, index=False
    )
    counted = {"facts": [facts], "pass_rates": [rates]}
    return {"scores": [scores], "norms": [norms], "consensus": [write_consensus(root, [norms])], **counted}
