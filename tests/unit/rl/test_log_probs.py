"""Log-probabilities and entropies in chunks against verl's own functions: values, gradients, and what is kept."""

from __future__ import annotations

import importlib
import sys

import pytest

pytest.importorskip("verl")

import torch
import verl.utils.torch_functional as verl_functional


@pytest.fixture(scope="module")
def theirs():
    """verl's own functions: the module as it is before the plug-in replaces names in it."""
    spec = importlib.util.spec_from_file_location("untouched_torch_functional", verl_functional.__file__)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def ours():
    from prism.rl.in_verl import log_probs

    return log_probs


def sample(dtype: torch.dtype, tokens: int = 37, vocabulary: int = 211) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    # one distribution is nearly certain, one uniform
    logits = 4 * torch.randn(tokens, vocabulary, dtype=torch.float64)
    logits[0, 3], logits[1] = 90.0, 0.0
    return logits.to(dtype), torch.randint(vocabulary, (tokens,))


def with_gradient(function, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient, with another weight on each token."""
    leaf = logits.clone().requires_grad_()
    value = function(leaf)
    (value * torch.linspace(-1, 2, len(value))).sum().backward()
    return value.detach(), leaf.grad


# rounding of the type that the values, or the gradients, are kept in
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-6, torch.bfloat16: 2**-7}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_log_probs_are_verls_own(theirs, ours, monkeypatch, dtype):
    monkeypatch.setattr(ours, "CHUNK_TOKENS", 8)
    logits, labels = sample(dtype)
    expected = with_gradient(lambda x: theirs.logprobs_from_logits_v2(x, labels), logits)
    found = with_gradient(lambda x: ours.log_probs_of_labels(x, labels), logits)
    for want, got in zip(expected, found, strict=True):
        assert got.dtype == want.dtype
        torch.testing.assert_close(got, want, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_entropies_are_verls_own(theirs, ours, dtype):
    logits, _ = sample(dtype)
    # verl's chunked function rounds float64 to float32
    expected = with_gradient(theirs.entropy_from_logits, logits)
    found = with_gradient(lambda x: ours.entropy_of_logits(x, 8), logits)
    for want, got in zip(expected, found, strict=True):
        torch.testing.assert_close(got, want, rtol=10 * TOLERANCE[dtype], atol=10 * TOLERANCE[dtype])


def test_in_bfloat16_under_autocast_both_are_as_near_to_the_truth_as_verls(theirs, ours):
    """As GPUs run it: logits in bfloat16, the sums in float32; the gradient is rounded to bfloat16 once."""
    logits, labels = sample(torch.bfloat16)
    exact = logits.double()
    for mine, of_verl, truth in (
        (
            lambda x: ours.log_probs_of_labels(x, labels),
            lambda x: theirs.logprobs_from_logits_v2(x, labels),
            with_gradient(lambda x: theirs.logprobs_from_logits_v2(x, labels), exact),
        ),
        (
            lambda x: ours.entropy_of_logits(x, 8),
            theirs.entropy_from_logits_with_chunking,
            with_gradient(theirs.entropy_from_logits, exact),
        ),
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found, expected = with_gradient(mine, logits), with_gradient(of_verl, logits)
        assert found[0].dtype == torch.float32
        assert found[1].dtype == torch.bfloat16
        torch.testing.assert_close(found[0].double(), truth[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found[1].double(), truth[1], rtol=TOLERANCE[torch.bfloat16], atol=1e-6)
        for at in (0, 1):
            torch.testing.assert_close(found[at].double(), expected[at].double(), rtol=2**-6, atol=2**-6)
            assert (found[at] - truth[at]).abs().max() <= (expected[at] - truth[at]).abs().max() + 1e-6


@pytest.mark.parametrize("chunk", [1, 7, 37, 1000])
def test_chunks_change_nothing(ours, monkeypatch, chunk):
    logits, labels = sample(torch.float32)

    def both(tokens: int) -> list[torch.Tensor]:
        monkeypatch.setattr(ours, "CHUNK_TOKENS", tokens)
        log_probs = with_gradient(lambda x: ours.log_probs_of_labels(x, labels), logits)
        return [*log_probs, *with_gradient(lambda x: ours.entropy_of_logits(x, tokens), logits)]

    for got, want in zip(both(chunk), both(16), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-6)


def test_rows_of_sequences_are_taken_like_rows_of_tokens(ours):
    logits, labels = sample(torch.float32, tokens=36)
    flat = ours.log_probs_of_labels(logits, labels)
    assert torch.equal(ours.log_probs_of_labels(logits.view(4, 9, -1), labels.view(4, 9)), flat.view(4, 9))


def test_nothing_as_large_as_the_logits_is_kept_beside_them(theirs, ours):
    logits, labels = sample(torch.bfloat16, tokens=64, vocabulary=4096)
    leaf = logits.requires_grad_()

    def kept(function) -> int:
        """Bytes that autograd keeps besides the logits."""
        tensors: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.data_ptr() != leaf.data_ptr():
                tensors[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            function()
        return sum(tensors.values())

    mine = kept(lambda: (ours.log_probs_of_labels(leaf, labels), ours.entropy_of_logits(leaf)))
    assert mine <= 64 * (8 + 4 + 8)
    assert kept(lambda: theirs.entropy_from_logits_with_chunking(leaf)) > 2 * leaf.nbytes


def test_verl_calls_the_functions_of_this_project(ours):
    assert verl_functional.logprobs_from_logits_v2 is ours.log_probs_of_labels
    assert verl_functional.entropy_from_logits_with_chunking is ours.entropy_of_logits
    logits, labels = sample(torch.float32)
    # no flash-attn here, as in the locks
    assert torch.equal(verl_functional.logprobs_from_logits(logits, labels), ours.log_probs_of_labels(logits, labels))
