"""A process's episodes ask the sampler together: whole waves, each reply to who asked, errors for all."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("verl")

from prism.rl.in_verl.waves import Waves


async def play(waves: Waves, name: int, steps: int, pause: float = 0.0) -> list[str]:
    """An episode of so many steps, whose environment takes a while for each."""
    with waves.episode():
        replies = []
        for step in range(steps):
            await asyncio.sleep(pause)
            replies.append(await waves.generate([name, step], {"seed": name}))
        return replies


def test_a_wave_leaves_when_every_episode_waits_and_episodes_that_end_are_not_waited_for():
    sizes = []

    async def ask(requests):
        sizes.append(len(requests))
        return [f"{prompt} {sampling['seed']}" for prompt, sampling in requests]

    async def all_of_them():
        waves = Waves(ask)
        # some environments are slow: the others' requests wait for theirs
        return await asyncio.gather(*(play(waves, name, 1 + name, 0.002 * name) for name in range(4)))

    replies = asyncio.run(all_of_them())
    assert sizes == [4, 3, 2, 1]
    assert replies == [[f"[{name}, {step}] {name}" for step in range(1 + name)] for name in range(4)]


def test_an_error_of_the_sampler_reaches_every_episode_of_the_wave():
    async def ask(requests):
        raise RuntimeError("no weights")

    async def all_of_them():
        waves = Waves(ask)
        return await asyncio.gather(*(play(waves, name, 2) for name in range(3)), return_exceptions=True)

    assert [str(error) for error in asyncio.run(all_of_them())] == ["no weights"] * 3


def test_an_episode_that_breaks_between_two_requests_holds_nobody_up():
    async def ask(requests):
        return ["reply"] * len(requests)

    async def broken(waves):
        with waves.episode():
            await asyncio.sleep(0.01)
            raise ValueError("the engine fell over")

    async def both():
        waves = Waves(ask)
        return await asyncio.gather(play(waves, 0, 2), broken(waves), return_exceptions=True)

    replies, error = asyncio.run(asyncio.wait_for(both(), 5))
    assert replies == ["reply"] * 2
    assert isinstance(error, ValueError)
