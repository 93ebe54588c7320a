"""How far two runs agree: each kind of result by what an honest rerun preserves of it."""

import numpy as np
import pytest

from prism.core.agreement import Agreement, same_losses, same_norms, same_ranks, same_sides

NORMS = np.array([[1.0, 2.0, 4.0], [3.0, 1.0, 0.5]])


@pytest.mark.parametrize(
    ("mine", "expected"),
    [
        (NORMS, Agreement.equal),
        (NORMS * (1 + 5e-6), Agreement.tolerance),
        (NORMS * 1.01, Agreement.differs),
        (NORMS[:1], Agreement.differs),
        # an error counts beside the largest norm of the trajectory
        (NORMS + np.array([[0, 0, 0], [0, 0, 1e-4]]), Agreement.tolerance),
        (NORMS + np.array([[0, 0, 0], [0, 0, 1e-3]]), Agreement.differs),
    ],
)
def test_norms(mine, expected):
    assert same_norms(mine, NORMS).agreement == expected


def test_ranks():
    scores = np.arange(100.0)
    swapped = scores.copy()
    swapped[[3, 4]] = swapped[[4, 3]]
    assert same_ranks(scores, scores).agreement == Agreement.equal
    assert same_ranks(swapped, scores).agreement == Agreement.tolerance
    assert same_ranks(scores[::-1], scores).agreement == Agreement.differs


@pytest.mark.parametrize(("changed", "expected"), [(0, "equal"), (2, "tolerance"), (3, "differs")])
def test_sides(changed, expected):
    recorded = {f"t{number}": "sft" if number % 2 else "rl" for number in range(100)}
    mine = {name: "sft" if int(name[1:]) < changed and side == "rl" else side for name, side in recorded.items()}
    flipped = sum(mine[name] != recorded[name] for name in recorded)
    mine |= {f"t{number}": "rl" for number in range(1, 2 * (changed - flipped), 2)}
    assert sum(mine[name] != recorded[name] for name in recorded) == changed
    assert same_sides(mine, recorded).agreement == Agreement[expected]
    del mine["t0"]
    assert same_sides(mine, recorded).agreement == Agreement.differs


def test_losses():
    """What moves single values up and down is noise; what moves the curve is not."""
    recorded = np.geomspace(2.0, 0.05, 20)
    noisy = recorded * np.exp(np.random.default_rng(0).normal(0, 0.05, 20))
    assert same_losses(recorded, recorded).agreement == Agreement.equal
    assert same_losses(noisy, recorded).agreement == Agreement.noise
    assert same_losses(recorded * 1.09, recorded).agreement == Agreement.differs
    assert same_losses(recorded[:-1], recorded).agreement == Agreement.differs
