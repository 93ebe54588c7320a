"""From a process's episodes to the CPU sampler: what they ask for together goes in one call and becomes one batch.

verl asks its load balancer for a server and the server for a reply, by three messages for every step of every episode,
and a batch begins with whoever asked first. With a small model the messages take longer than the replies, and small
batches take nearly as long as large ones. Here a wave leaves when every episode that is being played waits for its
reply; who is in a batch no longer depends on timing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from verl.workers.rollout.replica import TokenOutput

# token ids of the prompt, and verl's sampling parameters with a seed
Request = tuple[list[int], dict[str, Any]]


class Waves:
    """Collects the requests of all episodes that are being played in this process.

    Args:
        ask: answers requests, in their order.
    """

    def __init__(self, ask: Callable[[Sequence[Request]], Awaitable[Sequence[TokenOutput]]]):
        self.ask = ask
        self.playing = 0
        self.waiting: list[tuple[Request, asyncio.Future]] = []
        self.under_way: set[asyncio.Task] = set()

    @contextmanager
    def episode(self) -> Iterator[None]:
        """An episode is being played: waves wait for its requests."""
        self.playing += 1
        try:
            yield
        finally:
            self.playing -= 1
            self._leave_if_complete()

    async def generate(self, prompt_ids: list[int], sampling_params: dict[str, Any]) -> TokenOutput:
        """One reply; waits for the wave that it is part of. An error of the sampler is raised in every episode."""
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append(((prompt_ids, sampling_params), answer))
        self._leave_if_complete()
        return await answer

    def _leave_if_complete(self) -> None:
        if self.waiting and len(self.waiting) >= self.playing:
            wave, self.waiting = self.waiting, []
            task = asyncio.get_running_loop().create_task(self._answer(wave))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def _answer(self, wave: list[tuple[Request, asyncio.Future]]) -> None:
        try:
            replies = await self.ask([request for request, _ in wave])
        except Exception as error:
            for _, answer in wave:
                answer.set_exception(error)
            return
        for (_, answer), reply in zip(wave, replies, strict=True):
            answer.set_result(reply)


@cache
def waves_to_the_sampler() -> Waves:
    """The process's way to the one sampler that a CPU run has."""
    import ray

    from prism.rl.in_verl.hf_rollout import server_name

    server = ray.get_actor(server_name(0))
    return Waves(lambda requests: server.generate_wave.remote(list(requests)))
