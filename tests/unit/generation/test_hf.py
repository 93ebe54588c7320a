from __future__ import annotations

import pytest
import torch
from toy_corpus import save_toy_model

from prism.generation.base import Sampling
from prism.generation.hf import Decoding, HFGenerator, sample_batch

PROMPTS = [[5, 9, 11], [7], [30, 31, 32, 33, 34, 35, 36, 37], [40, 41, 42, 43]] * 3


@pytest.fixture(scope="module", params=["qwen3", "llama3"])
def generator(request, tmp_path_factory):
    folder = save_toy_model(tmp_path_factory.mktemp(request.param), request.param, seed=3)
    generator = HFGenerator.load(folder, Sampling(0.0, 1.0, 12, 0), 64)
    # large weights: a distribution with something to choose from, and stop tokens that do occur
    with torch.no_grad():
        for parameter in generator.model.parameters():
            parameter.mul_(3.0)
    return generator


def sample(generator, prompts=PROMPTS, seed=0, max_new_tokens=12, **changes):
    settings = {"temperature": 1.0, "top_p": 1.0, "stop_ids": generator.stop_ids, "pad_id": generator.pad_id}
    random = torch.Generator().manual_seed(seed)
    return sample_batch(generator.model, prompts, Decoding(**(settings | changes)), max_new_tokens, random)


def test_greedy_equals_generate(generator):
    for prompt, response in zip(PROMPTS, generator.generate(PROMPTS), strict=True):
        reference = generator.model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=generator.stop_ids,
            pad_token_id=generator.pad_id,
        )
        assert response == reference[0, len(prompt) :].tolist()


def test_logprobs_are_those_of_a_full_forward_pass(generator):
    tokens, logprobs = sample(generator, temperature=0.7, stop_ids=range(100, 160))
    assert len({len(row) for row in tokens}) > 1, "rows should end at different steps, so that the batch is repacked"
    for prompt, row, recorded in zip(PROMPTS, tokens, logprobs, strict=True):
        with torch.inference_mode():
            logits = generator.model(input_ids=torch.tensor([prompt + row])).logits[0, len(prompt) - 1 : -1]
        expected = (logits / 0.7).log_softmax(-1).gather(-1, torch.tensor(row)[:, None])[:, 0]
        assert torch.allclose(torch.tensor(recorded), expected, atol=1e-4)


def test_a_row_stops_at_a_stop_token_or_its_limit(generator):
    limits = list(range(1, len(PROMPTS) + 1))
    tokens, _ = sample(generator, max_new_tokens=limits, stop_ids=[])
    assert [len(row) for row in tokens] == limits
    stops = set(range(100, 160))
    tokens, _ = sample(generator, stop_ids=sorted(stops))
    for row in tokens:
        assert not stops & set(row[:-1])
        assert row[-1] in stops or len(row) == 12


def test_seed_decides(generator):
    assert sample(generator, seed=1) == sample(generator, seed=1)
    assert sample(generator, seed=1)[0] != sample(generator, seed=2)[0]


def test_frequencies_follow_the_distribution_and_the_nucleus(generator):
    prompt = [7, 8, 9]
    with torch.inference_mode():
        probabilities = generator.model(input_ids=torch.tensor([prompt])).logits[0, -1].softmax(-1)
    count = 4000
    drawn = torch.tensor(sample(generator, [prompt] * count, max_new_tokens=1)[0])[:, 0]
    frequencies = torch.bincount(drawn, minlength=len(probabilities)) / count
    assert (frequencies - probabilities).abs().max() < 4 * (0.25 / count) ** 0.5
    ordered, order = probabilities.sort(descending=True)
    kept = set(order[: int((ordered.cumsum(0) < 0.5).sum()) + 1].tolist())
    draws = 500
    drawn = {row[0] for row in sample(generator, [prompt] * draws, max_new_tokens=1, top_p=0.5)[0]}
    assert drawn <= kept
    # all that is expected ten times or more: to miss one of them has probability e^-10
    inside = sum(float(probabilities[token]) for token in kept)
    assert {token for token in kept if probabilities[token] / inside * draws >= 10} <= drawn


def test_generate_keeps_the_order_of_prompts_across_batches(generator):
    small = HFGenerator(generator.model, _Tokens(generator), Sampling(0.0, 1.0, 6, 0), 2)
    large = HFGenerator(generator.model, _Tokens(generator), Sampling(0.0, 1.0, 6, 0), 64)
    assert small.generate(PROMPTS) == large.generate(PROMPTS)
    assert small.generate([]) == []


class _Tokens:
    def __init__(self, generator):
        self.eos_token_id, self.pad_token_id = generator.stop_ids[0], generator.pad_id


def test_the_size_of_a_batch_changes_no_reply(generator):
    """It is a setting of the machine: nothing runs again because of it."""
    told = Sampling(1.0, 0.95, 12, 7)
    samplers = [HFGenerator(generator.model, generator.tokenizer, told, size) for size in (1, 5, 64)]
    alone, some, together = [[sampler.generate(PROMPTS), sampler.generate(PROMPTS[:5])] for sampler in samplers]
    assert alone == some == together
    assert alone[0][:5] != alone[1], "later requests draw other numbers"
