"""An optimizer step of verl's engine with what it leaves out and without: the same gradient, loss and metrics."""

from __future__ import annotations

import os
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

pytest.importorskip("verl")

import torch
import verl.utils.seqlen_balancing as seqlen_balancing
import verl.utils.torch_functional as verl_functional
import verl.workers.engine.fsdp.transformer_impl as fsdp
from toy_corpus import save_toy_model
from transformers import AutoModelForCausalLM
from verl.utils import tensordict_utils
from verl.workers.config import ActorConfig

from prism.core.savings import SAVINGS, VARIABLE
from prism.rl.command import PACKED_ATTENTION
from prism.rl.in_verl import log_probs, packed_attention, passes  # noqa: F401 - they register themselves
from prism.rl.in_verl.trainer import AT_THE_SAMPLING_POLICY, NO_GRADIENT_WITHOUT_ADVANTAGE, PROBABILITY_GAP

# rows: tokens of prompt and response, advantage; the last one fills the mini-batch up, as verl does
ROWS = [(9, 5, 1.0), (12, 3, 0.0), (4, 7, -0.7), (15, 6, 0.0), (1, 2, 0.4), (8, 4, -1.2), (6, 1, 0.0)]
# rows that other trajectories of the group have as well: number in ROWS, advantage; row 2's sum to 0, row 0's to 0.5
EQUAL = [(0, -1.0), (2, 0.9), (0, 0.5), (2, -0.2), (4, 0.0), (3, 0.0)]
TOKENS = 40


class OneProcessEngine(fsdp.FSDPEngineWithLMHead):
    """verl's engine around a plain module in one process: no group to agree with."""

    def __init__(self, module: torch.nn.Module):
        self.module = module
        self.pad_to_length = self.use_ulysses_sp = False
        self.ulysses_sequence_parallel_size = 1
        self._autocast_dtype = torch.float32
        self.engine_config = SimpleNamespace(entropy_checkpointing=False, entropy_from_logits_with_chunking=False)
        self.compute_entropy_from_logits = verl_functional.entropy_from_logits

    def get_data_parallel_group(self):
        return None

    def get_data_parallel_size(self):
        return 1

    def _gradient_sync_context(self, **_):
        return nullcontext()


@pytest.fixture(scope="module", params=["qwen3", "llama3"])
def engine(request, tmp_path_factory):
    folder = save_toy_model(tmp_path_factory.mktemp(request.param) / "toy", request.param, seed=3)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=PACKED_ATTENTION)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return OneProcessEngine(model)


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch):
    for module in (fsdp, seqlen_balancing):
        monkeypatch.setattr(module, "get_device_name", lambda: "cpu")
    monkeypatch.setattr(fsdp, "get_device_id", lambda: "cpu")
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda *_, **__: None)


def mini_batch(equal=(), **settings):
    """What verl's trainer sends to an update, without the old policy's log-probabilities.

    Args:
        equal: rows that come again, as in `EQUAL`.
    """
    draw = torch.Generator().manual_seed(0)
    fields = []
    for number, (prompt, response, advantage) in enumerate(ROWS):
        tokens = torch.randint(5, 100, (prompt + response,), generator=draw)
        mask = torch.full((response,), int(number < len(ROWS) - 1))
        fields.append(
            {
                "prompts": tokens[:prompt],
                "responses": tokens[prompt:],
                "input_ids": tokens,
                "position_ids": torch.arange(len(tokens)),
                "response_mask": mask,
                "loss_mask": mask,
                "advantages": advantage * mask.float(),
                "rollout_log_probs": -torch.rand(response, generator=draw),
            }
        )
    fields += [
        fields[number] | {"advantages": torch.full((ROWS[number][1],), advantage)} for number, advantage in equal
    ]
    batch = tensordict_utils.list_of_dict_to_tensordict(fields)
    shape = {"temperature": 0.6, "global_batch_size": 8, "use_dynamic_bsz": True, "max_token_len_per_gpu": TOKENS}
    tensordict_utils.assign_non_tensor(batch, **shape, **settings)
    return batch


def update(engine, config: ActorConfig, batch):
    """Gradients, and verl's metrics and losses of the micro-batches."""
    engine.module.zero_grad()
    output = engine.forward_backward_batch(batch, lambda **given: passes.ppo_loss(config, **given))
    return [parameter.grad.clone() for parameter in engine.module.parameters()], output


def old_log_probs(engine):
    """The pass that verl makes before an update."""
    batch = mini_batch(calculate_entropy=True)
    found = engine.forward_backward_batch(batch, None, forward_only=True)["model_output"]
    return {
        name: [row[-response - 1 : -1] for row, (_, response, _) in zip(found[name].unbind(), ROWS, strict=True)]
        for name in ("log_probs", "entropy")
    }


def counted_tokens(engine, monkeypatch) -> list[int]:
    """A list that gets the tokens of every pass through the model from now on."""
    tokens, forward = [], engine.module.forward
    monkeypatch.setattr(
        engine.module, "forward", lambda **given: tokens.append(given["input_ids"].shape[1]) or forward(**given)
    )
    return tokens


def ragged(rows):
    return torch.nested.as_nested_tensor([row.clone() for row in rows], layout=torch.jagged)


def close(found, wanted) -> bool:
    return torch.allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean", "seq-mean-token-sum"])
def test_an_update_with_all_savings_has_the_gradient_of_one_without(engine, monkeypatch, aggregation):
    config = ActorConfig(strategy="fsdp2", loss_agg_mode=aggregation, use_dynamic_bsz=True, rollout_n=1)
    monkeypatch.setenv(VARIABLE, "all")
    batch = mini_batch()
    batch["old_log_probs"] = ragged(old_log_probs(engine)["log_probs"])
    wanted, without = update(engine, config, batch)
    monkeypatch.delenv(VARIABLE)
    tokens = counted_tokens(engine, monkeypatch)
    found, with_all = update(engine, config, mini_batch(**{NO_GRADIENT_WITHOUT_ADVANTAGE: True}))
    # rows without advantage, the one that fills the mini-batch up among them, did not pass through the model
    assert sum(tokens) == sum(prompt + response for prompt, response, advantage in ROWS if advantage)
    assert max(float(gradient.abs().max()) for gradient in wanted) > 1e-3
    for ours, theirs in zip(found, wanted, strict=True):
        assert close(ours, theirs)
    assert abs(sum(with_all["loss"]) - sum(without["loss"])) < 1e-5
    for name in ("actor/pg_clipfrac", "actor/ppo_kl"):
        assert with_all["metrics"][name].aggregate() == 0
    assert with_all["metrics"][PROBABILITY_GAP].aggregate() > 0


@pytest.mark.parametrize("aggregation", ["token-mean", "seq-mean-token-mean"])
def test_equal_rows_pass_once_and_have_the_gradient_of_all_of_them(engine, monkeypatch, aggregation):
    config = ActorConfig(strategy="fsdp2", loss_agg_mode=aggregation, use_dynamic_bsz=True, rollout_n=1)
    settings = {NO_GRADIENT_WITHOUT_ADVANTAGE: True, AT_THE_SAMPLING_POLICY: True}
    monkeypatch.setenv(VARIABLE, "equal_rows")
    wanted, without = update(engine, config, mini_batch(EQUAL, **settings))
    monkeypatch.delenv(VARIABLE)
    tokens = counted_tokens(engine, monkeypatch)
    batch = mini_batch(EQUAL, **settings)
    before = batch["advantages"].values().clone()
    found, with_all = update(engine, config, batch)
    # row 2's advantages sum to 0, rows 1 and 3 never had one
    assert sum(tokens) == sum(sum(ROWS[number][:2]) for number in (0, 4, 5))
    assert torch.equal(batch["advantages"].values(), before)
    assert max(float(gradient.abs().max()) for gradient in wanted) > 1e-3
    for ours, theirs in zip(found, wanted, strict=True):
        assert close(ours, theirs)
    assert abs(sum(with_all["loss"]) - sum(without["loss"])) < 1e-5


def test_away_from_the_sampling_policy_equal_rows_all_pass(engine, monkeypatch):
    # the clipped loss of an advantage of 1 and one of -1 is not the loss of an advantage of 0
    config = ActorConfig(strategy="fsdp2", use_dynamic_bsz=True, rollout_n=1)
    tokens = counted_tokens(engine, monkeypatch)
    batch = mini_batch(EQUAL, **{NO_GRADIENT_WITHOUT_ADVANTAGE: True})
    update(engine, config, batch)
    wanted = [*ROWS, *((*ROWS[number][:2], advantage) for number, advantage in EQUAL)]
    assert sum(tokens) == sum(prompt + response for prompt, response, advantage in wanted if advantage)


def test_rows_are_equal_by_prompt_response_and_mask():
    def ragged_of(*rows):
        return ragged([torch.tensor(row) for row in rows])

    tokens = ragged_of([1, 2, 3], [1, 2], [1, 2, 3], [1, 2, 3], [1, 2, 3])
    # the fourth has another response, the last another mask
    masks = ragged_of([1, 1], [1], [1, 1], [1], [1, 0])
    assert passes.first_of_equals({"input_ids": tokens, "response_mask": masks}).tolist() == [0, 1, 0, 3, 4]


def test_without_any_advantage_the_gradient_is_zero_and_not_missing(engine, monkeypatch):
    config = ActorConfig(strategy="fsdp2", use_dynamic_bsz=True, rollout_n=1)
    batch = mini_batch(**{NO_GRADIENT_WITHOUT_ADVANTAGE: True})
    batch["advantages"] = ragged([row * 0 for row in batch["advantages"].unbind()])
    gradients, _ = update(engine, config, batch)
    assert not any(gradient.any() for gradient in gradients)


def test_logits_of_responses_give_the_log_probs_and_entropies_of_whole_rows(engine, monkeypatch):
    found = old_log_probs(engine)
    monkeypatch.setenv(VARIABLE, "response_logits")
    wanted = old_log_probs(engine)
    for name, rows in wanted.items():
        assert all(close(*pair) for pair in zip(found[name], rows, strict=True))


def test_positions_that_predict_responses():
    ends, responses = torch.tensor([5, 7, 12]), torch.tensor([2, 1, 3])
    assert passes.predicting_positions(ends, responses).tolist() == [2, 3, 5, 8, 9, 10]


def test_each_saving_can_be_switched_off_and_another_name_is_refused(monkeypatch):
    from prism.core.savings import active

    monkeypatch.setenv(VARIABLE, "old_log_probs,response_logits")
    assert [name for name in SAVINGS if not active(name)] == ["response_logits", "old_log_probs"]
    with pytest.raises(KeyError):
        active("old_log_prob")
    assert os.environ[VARIABLE]
