"""Sampling with vLLM: the generator of evaluation on GPUs.

The same interface, stop tokens and token ids as `prism.generation.hf.HFGenerator`. Greedy replies are equal where
the arithmetic is; sampled ones follow the same distribution with other random numbers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput
from prism.core.files import read_json
from prism.core.tokenizers import load_tokenizer
from prism.generation.base import Sampling, request_seed


class VllmGenerator:
    """A `Generator` over a vLLM engine.

    Args:
        engine: `vllm.LLM`.
        tokenizer: gives the end-of-turn token.
        sampling: temperature, nucleus, length and seed.
    """

    def __init__(self, engine: Any, tokenizer: Any, sampling: Sampling):
        self.engine, self.tokenizer, self.sampling = engine, tokenizer, sampling
        self.stop_ids = [tokenizer.eos_token_id]
        self._requests = 0

    @classmethod
    def load(
        cls,
        model_dir: str | Path,
        sampling: Sampling,
        *,
        batch_size: int,
        context_tokens: int,
        gpu_memory_utilization: float = 0.9,
    ) -> VllmGenerator:
        """Start an engine in this process, with the weights in the dtype that they are stored in.

        Args:
            batch_size: sequences that advance together.
            context_tokens: longest prompt and reply together; lowered to what the model has positions for.
            gpu_memory_utilization: share of a GPU's memory; without meaning on a CPU.

        Raises:
            BadInput: vLLM is not installed here.
        """
        # scheduling in this process repeats exactly; a second process would batch as requests happen to arrive
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        # it leaves requests with seeds of their own to torch anyway, and would be compiled here at its first use
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
        try:
            from vllm import LLM
        except ImportError as error:
            raise BadInput(
                "evaluation.generator", f"vLLM cannot be imported ({error})", "install envs/rl.lock or use hf"
            ) from error
        import torch

        config = read_json(Path(model_dir) / "config.json")
        engine = LLM(
            model=str(model_dir),
            # "auto" would turn float32 weights into half precision
            dtype=config.get("dtype") or config.get("torch_dtype") or "auto",
            # prompts and replies are token ids
            skip_tokenizer_init=True,
            # the model folder's own sampling defaults (top_k and others) must not leak in
            generation_config="vllm",
            max_model_len=min(context_tokens, config.get("max_position_embeddings", context_tokens)),
            max_num_seqs=batch_size,
            gpu_memory_utilization=gpu_memory_utilization,
            # a cached prefix was computed in another batch and differs in the last bits
            enable_prefix_caching=False,
            # graphs and compilation pay off on a GPU alone
            enforce_eager=not torch.cuda.is_available(),
            # a prompt that is read in parts draws a token too many, which a seeded generator on a CPU cannot take back
            enable_chunked_prefill=torch.cuda.is_available(),
            seed=sampling.seed,
        )
        return cls(engine, load_tokenizer(model_dir), sampling)

    def generate(self, prompts: list[list[int]], seeds: Sequence[int] | None = None) -> list[list[int]]:
        """Response token ids per prompt, end-of-turn token included where one was produced; `Generator` says more."""
        if not prompts:
            return []
        parameters = [self._parameters(seed) for seed in seeds or self._next_seeds(len(prompts))]
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        outputs = self.engine.generate(requests, parameters, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs]

    def _next_seeds(self, requests: int) -> list[int]:
        """Seeds of the next requests of this run."""
        first, self._requests = self._requests, self._requests + requests
        return [request_seed(self.sampling.seed, number) for number in range(first, self._requests)]

    def _parameters(self, seed: int) -> Any:
        """vLLM's sampling parameters of a request with a seed of its own."""
        from vllm import SamplingParams

        return SamplingParams(
            temperature=self.sampling.temperature,
            top_p=self.sampling.top_p,
            top_k=0,
            max_tokens=self.sampling.max_new_tokens,
            # vLLM's idea of the end (every end token of generation_config) replaced by the one the HF generator knows
            ignore_eos=True,
            stop_token_ids=self.stop_ids,
            seed=seed if self.sampling.temperature else None,
            detokenize=False,
        )
