"""verl rollout backend ``hf``: a Ray actor that samples with Hugging Face transformers on CPU.

The agent loops of all running episodes ask for one response each; requests that arrive together become one batch.
Weights come from the trainer after each step as one dictionary of tensors.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import ray
import torch
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

# Requests are gathered for this long after the first one: long enough for the event loop of the agent loops to send
# what is ready, short beside a batch (tens of milliseconds and more).
GATHER_SECONDS = 0.005


@dataclass
class _Request:
    prompt_ids: list[int]
    sampling: dict[str, Any]
    answer: asyncio.Future


class HFServer:
    """Holds the sampling model and turns concurrent `generate` calls into batches.

    Args:
        config: verl's rollout config.
        model_config: verl's model config; its path gives architecture and first weights.
        replica_rank: number of this replica.
    """

    def __init__(self, config: Any, model_config: Any, replica_rank: int):
        from transformers import AutoModelForCausalLM

        from prism.generation.kv_cache import sampling_attention

        torch.set_num_threads(int(os.environ.get("PRISM_ROLLOUT_THREADS", "1")))
        self.model = AutoModelForCausalLM.from_pretrained(
            model_config["path"], dtype=torch.float32, attn_implementation=sampling_attention(), trust_remote_code=False
        ).eval()
        eos = self.model.generation_config.eos_token_id or self.model.config.eos_token_id
        self.stop_ids = list(eos) if isinstance(eos, (list, tuple)) else [eos]
        self.response_length = int(config["response_length"])
        self.max_batch = int(config["max_num_seqs"])
        self.weights_step: int | None = None
        self.waiting: asyncio.Queue[_Request] = asyncio.Queue()
        self.batching: asyncio.Task | None = None

    async def ready(self) -> bool:
        """Answers once the model is loaded."""
        return True

    async def generate(
        self, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> TokenOutput:
        """Sample one response; waits for the batch that it becomes part of."""
        if self.batching is None:
            self.batching = asyncio.create_task(self._serve_batches())
        answer = asyncio.get_running_loop().create_future()
        await self.waiting.put(_Request(list(prompt_ids), dict(sampling_params), answer))
        return await answer

    async def generate_wave(self, requests: list[tuple[list[int], dict[str, Any]]]) -> list[TokenOutput]:
        """Sample one response for each prompt and its sampling parameters (`prism.rl.in_verl.waves`)."""
        return await asyncio.gather(*(self.generate("", prompt, sampling) for prompt, sampling in requests))

    async def _serve_batches(self) -> None:
        while True:
            batch = [await self.waiting.get()]
            await asyncio.sleep(GATHER_SECONDS)
            while not self.waiting.empty() and len(batch) < self.max_batch:
                batch.append(self.waiting.get_nowait())
            try:
                outputs = await asyncio.to_thread(self._sample, batch)
            except Exception as error:
                for request in batch:
                    request.answer.set_exception(error)
                continue
            for request, output in zip(batch, outputs, strict=True):
                request.answer.set_result(output)

    def _sample(self, batch: list[_Request]) -> list[TokenOutput]:
        from prism.generation.hf import Decoding, sample_batch

        first = batch[0].sampling
        tokens, log_probs = sample_batch(
            self.model,
            [request.prompt_ids for request in batch],
            Decoding(float(first["temperature"]), float(first["top_p"]), self.stop_ids, self.stop_ids[0]),
            self.response_length,
            [torch.Generator().manual_seed(int(request.sampling["seed"])) for request in batch],
        )
        return [
            TokenOutput(
                token_ids=row,
                log_probs=row_log_probs,
                stop_reason="completed",
                num_preempted=0,
                extra_fields={
                    name: self.weights_step for name in ("global_steps", "min_global_steps", "max_global_steps")
                },
            )
            for row, row_log_probs in zip(tokens, log_probs, strict=True)
        ]

    async def load_weights(self, weights: dict[str, torch.Tensor], global_steps: int | None = None) -> None:
        """Take the trainer's weights.

        Raises:
            RuntimeError: a tensor has no place in the model, or a parameter got no tensor.
        """
        missing, unexpected = self.model.load_state_dict(weights, strict=False)
        self.model.tie_weights()
        tied = set(getattr(self.model, "_tied_weights_keys", None) or ())
        if unexpected or set(missing) - tied:
            raise RuntimeError(f"weights do not fit the sampler: missing {missing}, unexpected {unexpected}")
        self.weights_step = global_steps

    async def _nothing(self, *_: Any, **__: Any) -> None:
        return None

    # verl's memory and profiling controls: the CPU sampler keeps its weights and has no cache between requests
    wake_up = sleep = clear_kv_cache = release_kv_cache = resume_kv_cache = resume_generation = _nothing
    start_profile = stop_profile = _nothing

    async def abort_all_requests(self, *_: Any, **__: Any) -> dict[str, int]:
        """Synchronous training never aborts."""
        return {"aborted_count": 0}


def server_name(replica_rank: int) -> str:
    """Name of a replica's actor in Ray; every run has a Ray of its own."""
    return f"prism_hf_server_{replica_rank}"


class HFReplica(RolloutReplica):
    """Launches one `HFServer` a replica."""

    async def launch_servers(self) -> None:
        """Start the actor and wait for its model."""
        actor = ray.remote(num_cpus=0, max_concurrency=self.max_concurrency)(HFServer)
        server = actor.options(name=server_name(self.replica_rank)).remote(
            {"response_length": self.config.response_length, "max_num_seqs": self.config.max_num_seqs},
            {"path": self.model_config.path},
            self.replica_rank,
        )
        await server.ready.remote()
        self.servers = [server]
        self._server_handle = server
        self._server_address = server_name(self.replica_rank)


class HFAdapter(BaseRollout):
    """The trainer's side: sends the actor's weights to the server after each step."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, replica_rank: int = -1):
        super().__init__(config, model_config, device_mesh)
        self.replica_rank = int(os.environ.get("RANK", "0")) if replica_rank == -1 else replica_rank
        self.is_leader_rank = True

    async def resume(self, tags: list[str]) -> None:
        """The server never gave its memory back."""

    async def release(self) -> None:
        """The server keeps its memory."""

    async def update_weights(
        self,
        weights: Iterable[tuple[str, torch.Tensor]],
        wire_format: str = "named_tensors",
        global_steps: int | None = None,
        **_: Any,
    ) -> None:
        """Send all weights as one dictionary of float32 tensors."""
        named = [pair async for pair in weights] if hasattr(weights, "__aiter__") else list(weights)
        state = {name: tensor.detach().float().cpu().clone() for name, tensor in named}
        server = ray.get_actor(server_name(self.replica_rank))
        await server.load_weights.remote(state, global_steps)
