"""The plan of memory: what a pass takes is measured, and the fastest plan that fits is chosen."""

from __future__ import annotations

import copy
import random
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from probe_models import random_model, random_row, random_samples, reference_norms

from prism.core.errors import BadInput
from prism.gradients import memory_plan
from prism.gradients import prober as in_packs
from prism.gradients.memory_plan import MemoryPlan, Need, checkpoint_layers, measure_need, must_stream, plan_memory
from prism.gradients.packs import Sample, plan_packs
from prism.gradients.prober import GradientProber
from prism.gradients.projections import find_projections
from prism.gradients.row_by_row import RowByRowProber

GB = 10**9
OPEN = MemoryPlan(0, settled=False)
# a model of 135M weights: 30 layers of 46 kB a token
NEED = Need(kept=1.4e6, hidden=2304, layers=30, fixed=GB // 2, sums=GB // 2)
# one trajectory of eleven rows of 336 tokens, one of a single row of 3,700
ROWS = [Sample("rows", tuple(random_row(random.Random(index), 337) for index in range(11)))]
LONG = [Sample("long", (random_row(random.Random(0), 3701),))]


@pytest.mark.parametrize(
    ("samples", "wanted", "room", "device", "expected"),
    [
        # a CPU takes parts of rows, which cost nothing, before it takes more memory
        (ROWS, OPEN, 100 * GB, "cpu", MemoryPlan(974, False, False, 974)),
        (ROWS, OPEN, 2 * GB, "cpu", MemoryPlan(389, False, False, 389)),
        (LONG, OPEN, 100 * GB, "cpu", MemoryPlan(974)),
        (LONG, OPEN, 4 * GB, "cpu", MemoryPlan(4096, True)),
        (LONG, OPEN, 100 * GB, "cuda", MemoryPlan(8192)),
        (ROWS, OPEN, 100 * GB, "cuda", MemoryPlan(8192)),
        (ROWS, OPEN, 3 * GB, "cuda", MemoryPlan(8192, True)),
        (ROWS, OPEN, int(1.4 * GB), "cuda", MemoryPlan(470, True, False, 470)),
        # what is settled stays
        (ROWS, replace(OPEN, tokens_per_pack=5000), 100 * GB, "cpu", MemoryPlan(5000)),
        (ROWS, replace(OPEN, gradient_checkpointing=True), 100 * GB, "cuda", MemoryPlan(8192, True)),
        (LONG, replace(OPEN, streaming=True), 100 * GB, "cuda", MemoryPlan(8192, True, True)),
    ],
)  # fmt: skip
def test_the_fastest_plan_that_fits(samples, wanted, room, device, expected):
    found = plan_memory(NEED, samples, wanted, room, device)
    assert (found.gradient_checkpointing, found.streaming) == (expected.gradient_checkpointing, expected.streaming)
    assert found.tokens_per_pack == pytest.approx(expected.tokens_per_pack, rel=0.1)
    assert found.tokens_per_pass == pytest.approx(expected.tokens_per_pass, rel=0.1)
    assert found.settled
    largest = found.tokens_per_pass or max(found.tokens_per_pack, samples[0].tokens)
    assert NEED.of(largest, found.gradient_checkpointing) <= 0.8 * room


def test_what_does_not_fit_is_refused_with_what_it_needs():
    with pytest.raises(
        BadInput, match=r"'long': its 3,462 tokens in rows.* need about 1\.7 GB, 1\.0 GB are free.*--stream"
    ):
        plan_memory(NEED, LONG, OPEN, GB, "cpu")


def test_a_plan_is_recorded_and_a_usual_one_as_ever():
    assert MemoryPlan(4096).facts() == {"tokens_per_pack": "4096", "gradient_checkpointing": "false"}
    for plan in (MemoryPlan(4096), MemoryPlan(512, True, True, 700), MemoryPlan(512, True, tokens_kept=300)):
        assert MemoryPlan.recorded(plan.facts()) == plan


@pytest.mark.parametrize(("tokens", "recomputed"), [(30, []), (31, [0]), (60, [0, 1]), (90, [0, 1]), (91, [0, 1, 2])])
def test_only_layers_beyond_the_tokens_kept_are_recomputed(tokens, recomputed):
    """Three layers keep what 30 tokens take: all of 30 tokens, two of up to 45, the last one of up to 90."""
    model = random_model("llama")
    runs = [0] * 3
    for number, layer in enumerate(model.model.layers):
        layer.mlp.register_forward_pre_hook(lambda *_, number=number: runs.__setitem__(number, runs[number] + 1))
    checkpoint_layers(model, tokens_kept=30)
    model(torch.zeros(1, tokens, dtype=torch.long), use_cache=False).logits.sum().backward()
    assert [number for number, times in enumerate(runs) if times == 2] == recomputed


def test_weights_that_leave_no_room_are_streamed(monkeypatch):
    monkeypatch.setattr(memory_plan, "free_host_memory", lambda: 10 * GB)
    assert [must_stream(size * GB, size * GB, torch.device("cpu")) for size in (6, 8)] == [False, True]


def test_need_grows_with_the_layers_and_checkpointing_lowers_it():
    samples = random_samples(2)
    needs = [
        measure_need(GradientProber(random_model("qwen3", num_hidden_layers=layers)), samples, 10) for layers in (2, 4)
    ]
    assert needs[1].kept == pytest.approx(2 * needs[0].kept, rel=0.1)
    assert needs[1].a_token(True) < needs[1].a_token(False)
    # at the least: input and output of attention and MLP, queries, keys, values, three of the MLP's width, in float64
    assert needs[0].kept > 2 * 8 * (4 * 32 + 32 + 2 * 16 + 3 * 80)


def test_a_row_by_itself_needs_room_for_all_its_logits(monkeypatch):
    """In packs they are formed a part at a time."""
    monkeypatch.setattr(in_packs, "LOGITS_AT_ONCE", 5 * 97)
    samples = random_samples(3, rows=(2,))
    packs, rows = (random_model("llama", num_hidden_layers=2) for _ in range(2))
    fixed = [
        measure_need(kind(model, False, find_projections(model)), samples, 10).fixed
        for kind, model in ((GradientProber, packs), (RowByRowProber, rows))
    ]
    responses = max(sum(row.response_mask[1:]) for sample in samples for row in sample.rows)
    assert fixed[1] - fixed[0] == 4 * 4 * 97 * (responses - 5) > 0


def test_measuring_leaves_the_prober_as_it_was():
    model = random_model("llama")
    samples = random_samples(3)
    prober = GradientProber(copy.deepcopy(model))
    measure_need(prober, samples, 10)
    (pack,) = prober.probe(plan_packs(samples, 10_000))
    for one in pack:
        assert one.norms == pytest.approx(reference_norms(model, one.sample)[0], rel=1e-12)


def test_a_trajectory_in_parts_has_the_norms_of_the_whole():
    model = random_model("qwen3", num_hidden_layers=2)
    samples = random_samples(3, rows=(4,)) + random_samples(2, seed=9)
    prober = GradientProber(copy.deepcopy(model))
    prober.tokens_per_pass = 60
    passes = []
    whole = prober._backward
    prober._backward = lambda pack: (passes.append(pack.input_ids.shape[1]), whole(pack))[1]
    for one in (one for pack in prober.probe(plan_packs(samples, 60)) for one in pack):
        norms, loss = reference_norms(model, one.sample)
        assert one.norms == pytest.approx(norms, rel=1e-12)
        assert one.loss == pytest.approx(loss, rel=1e-12)
    assert max(passes) <= 60 < max(sample.tokens for sample in samples)


PASS = """
import random, sys, torch
sys.path.insert(0, "tests/helpers")
from probe_models import random_model, random_row
from prism.gradients.memory import peak_memory
from prism.gradients.memory_plan import checkpoint_layers, measure_need
from prism.gradients.packs import Sample
from prism.gradients.prober import GradientProber

shape = dict(hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=8, head_dim=32)
prober = GradientProber(random_model("qwen3", dtype=torch.float32, **shape))
samples = [Sample("long", (random_row(random.Random(0), 2000),))]
need = measure_need(prober, samples, 0)
if sys.argv[1] == "checkpointing":
    checkpoint_layers(prober.model)
with peak_memory(torch.device("cpu")) as measured:
    list(prober.probe([samples]))
print(need.of(samples[0].tokens, sys.argv[1] == "checkpointing") / measured.size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("how", ["whole", "checkpointing"])
def test_the_need_is_what_the_process_takes(root, how):
    run = subprocess.run([sys.executable, "-c", PASS, how], cwd=root, capture_output=True, text=True, check=True)
    assert 0.8 < float(run.stdout) < 2
