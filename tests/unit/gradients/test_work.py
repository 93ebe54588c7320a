"""What a probe will take: its floating-point operations, counted by hand, and the time of a first small pass."""

from __future__ import annotations

import random
import time
from math import isclose

import pytest
import torch
from probe_models import random_model, random_row, random_samples

from prism.core.prompts import Row
from prism.gradients.forecast import Estimate, forecast
from prism.gradients.memory_plan import MemoryPlan, Need, largest_pass
from prism.gradients.packs import Sample, plan_packs
from prism.gradients.prober import GradientProber
from prism.gradients.projections import find_projections, parameter_counts
from prism.gradients.row_by_row import RowByRowProber
from prism.gradients.work import MEASURED_TOKENS, Work, beginning, measure_pace

# two rows of 10 and 20 input tokens that count, three of them with loss
TWO_ROWS = Sample("a", (Row([1] * 11, [0] * 10 + [1]), Row([1] * 25, [0] * 19 + [1, 1] + [0] * 4)))


def test_the_floor_counted_by_hand():
    work = Work(weights=1000, attention=64, head=500)
    assert TWO_ROWS.tokens == 30
    # 4 a weight and token; 6 T^2 d row by row, never across rows; 4 a weight of the head and token with loss
    assert work.floor(TWO_ROWS) == 4 * 1000 * 30 + 6 * 64 * (10**2 + 20**2) + 4 * 500 * 3


def test_norms_cost_a_product_or_less_where_a_trajectory_is_short():
    floor = Work(1000, 64, 500).floor(TWO_ROWS)
    assert Work(1000, 64, 500, measured=1000).whole(TWO_ROWS) == floor + 2 * 1000 * 30
    assert Work(1000, 64, 500, measured=1000, gram_tokens=60).whole(TWO_ROWS) == floor + 2 * 1000 * 30 / 2
    assert Work(1000, 64, 500, measured=1000, gram_tokens=10).whole(TWO_ROWS) == floor + 2 * 1000 * 30


def test_shares_are_those_of_the_work():
    work = Work(1000, 0, 0)
    twice = Sample("b", TWO_ROWS.rows * 2)
    assert work.shares([TWO_ROWS, twice]) == pytest.approx({"a": 1 / 3, "b": 2 / 3})
    assert work.seconds([TWO_ROWS, twice], 1e-3) == pytest.approx(3 * 4 * 1000 * 30e-3)


def test_the_work_of_a_model():
    model = random_model("qwen3")
    counts = parameter_counts(find_projections(model))
    work = Work.of(model, counts, gram=False)
    a_layer = 32 * (2 * 32 + 2 * 16) + 3 * 32 * 80
    assert (work.weights, work.attention, work.head) == (3 * a_layer, 3 * 4 * 8, 97 * 32)
    assert work.gram_tokens == 0
    assert isclose(Work.of(model, counts, gram=True).gram_tokens ** 2, a_layer / 7)


@pytest.fixture
def one_thread():
    """Torch with one thread: several spin while they wait for each other, which counts as their time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_estimate_of_a_real_probe(monkeypatch, one_thread):
    """In CPU seconds, which a busy machine hardly changes."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    shape = {"hidden_size": 256, "intermediate_size": 768, "num_attention_heads": 8, "head_dim": 32}
    model = random_model("qwen3", dtype=torch.float32, **shape)
    projections = find_projections(model)
    samples = [Sample(str(n), (random_row(random.Random(n), 500 + 100 * n),)) for n in range(8)]
    prober = GradientProber(model, projections=projections)
    work = Work.of(model, parameter_counts(projections), gram=True)
    estimated = work.seconds(samples, measure_pace(prober, work, samples, 4096))
    started = time.process_time()
    assert len([one for pack in prober.probe(plan_packs(samples, 4096)) for one in pack]) == 8
    assert 1 / 4 < estimated / (time.process_time() - started) < 4


def test_a_model_that_is_probed_row_by_row_has_a_pace_and_norms_that_cannot_be_used_are_no_matter():
    model = random_model("llama", num_hidden_layers=2)
    projections = find_projections(model)
    work = Work.of(model, parameter_counts(projections), gram=False)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    assert measure_pace(RowByRowProber(model, False, projections), work, random_samples(2), 300) > 0


def test_the_beginning_is_small_and_has_loss_everywhere():
    small = beginning([Sample("long", (Row([1] * 5, [0] * 5), random_row(random.Random(0), 5000)))])
    assert (small.id, small.tokens, small.response_tokens) == ("long", MEASURED_TOKENS, MEASURED_TOKENS)


NEED = Need(kept=1000.0, hidden=10, layers=10, fixed=5000, sums=70_000)


def test_the_memory_of_the_largest_pass():
    long = Sample("b", TWO_ROWS.rows * 10)
    # packs of 100 tokens hold three of 30; a longer trajectory is a pack of its own, or parts with summed gradients
    assert largest_pass(NEED, MemoryPlan(100), [TWO_ROWS] * 4) == NEED.of(90, False)
    assert largest_pass(NEED, MemoryPlan(100, True), [TWO_ROWS, long]) == NEED.of(300, True)
    assert largest_pass(NEED, MemoryPlan(100, False, False, 100), [TWO_ROWS, long]) == NEED.of(100, False) + 70_000


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (20, "less than a minute, 3.2 GB of memory"),
        (80, "about 1 minute, 3.2 GB of memory"),
        (3600, "about 60 minutes, 3.2 GB of memory"),
        (20_000, "about 5.6 hours, 3.2 GB of memory"),
        (None, "how long it takes is said after the first pack, 3.2 GB of memory"),
    ],
)
def test_the_estimate_ends_the_one_line(seconds, said):
    line = forecast([TWO_ROWS], 4096, Estimate(seconds, 3.2e9))
    assert line == f"1 trajectory -> 2 rows, 36 tokens (3 with loss), 0 cut at the context of 4096 tokens; {said}"
