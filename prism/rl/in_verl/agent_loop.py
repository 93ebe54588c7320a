"""verl agent loop: one episode of a benchmark, one training row an environment step.

Prompts are rebuilt from scratch at every step by `prism.core.prompts`, so that the token ids are those of probing,
SFT and evaluation. The class is named in the agent-loop config file that `prism.stages.rl` writes; it must not carry
verl's ``@register`` decorator, which would overwrite that entry and lose its arguments.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput
from verl.workers.rollout.replica import TokenOutput

from prism.core.episodes import Episode, Feedback, next_prompts
from prism.core.errors import PrismError
from prism.core.prompts import PromptEncoder, PromptFormat
from prism.core.savings import active
from prism.core.seeds import seed_of
from prism.environments import load
from prism.environments.base import Environment
from prism.environments.pool import ProcessGames
from prism.rl.command import EpisodeSettings
from prism.rl.in_verl.waves import waves_to_the_sampler
from prism.rl.run_logs import RolloutLog

EXCERPT_CHARACTERS = 300


@dataclass(frozen=True)
class StepSample:
    """What the policy saw and said at one environment step; `anchor` is the environment's own text before it."""

    anchor: str
    prompt_ids: list[int]
    response_ids: list[int]
    log_probs: list[float] | None
    valid: bool
    extra: dict[str, Any]


@cache
def environment_threads(count: int) -> ThreadPoolExecutor:
    """The worker process's threads for environments, shared by its episodes."""
    return ThreadPoolExecutor(max_workers=count, thread_name_prefix="environment")


class ThreadGames:
    """The worker process's environments, stepped by its own threads: opened one at a time, used again later.

    Opening is guarded by a lock because planners and parsers under an engine keep state in globals; stepping is not.
    """

    clock = staticmethod(time.thread_time)

    def __init__(self, source: str, data_dir: str):
        self.source = load(source)(data_dir)
        self.spare: list[Environment] = []
        self.lock = threading.Lock()

    def start(self, game: str) -> tuple[Environment | None, Feedback, str]:
        """Load a game and start its episode; a broken game is an error text, not an exception."""
        with self.lock:
            try:
                environment = self.source.open(game, self.spare.pop() if self.spare else None)
                return environment, environment.reset(), ""
            except Exception as error:
                return None, Feedback("", ()), _excerpt(error)

    def finish(self, environment: Environment, broken: bool) -> None:
        """Keep an environment whose episode is over for the next one, unless it broke."""
        if not broken:
            with self.lock:
                self.spare.append(environment)


class RemoteGames:
    """The worker process's environments in processes of their own, which its threads wait for."""

    # the time that an episode waits: what its process takes, and those before it in the process
    clock = staticmethod(time.perf_counter)

    def __init__(self, source: str, data_dir: str, processes: int):
        self.source = ProcessGames(source, processes, {"data_dir": data_dir})

    def start(self, game: str) -> tuple[Environment | None, Feedback, str]:
        """Load a game and start its episode; a broken game is an error text, not an exception."""
        environment = self.source.open(game)
        try:
            return environment, environment.reset(), ""
        except PrismError as error:
            self.source.give_back(environment)
            return None, Feedback("", ()), _excerpt(error)

    def finish(self, environment: Environment, broken: bool) -> None:
        """The process keeps what can be used again."""
        self.source.give_back(environment)


@cache
def load_games(source: str, data_dir: str, processes: int) -> ThreadGames | RemoteGames:
    """The worker process's one set of games of a benchmark."""
    return RemoteGames(source, data_dir, processes) if processes else ThreadGames(source, data_dir)


def sampling_seed(seed: int, training_step: int, task_id: str, session: int, step: int) -> int:
    """Seed of one response: the same place in a run always draws the same random numbers."""
    return seed_of(json.dumps([seed, training_step, task_id, session, step]))


def timed_step(environment: Environment, action: str, clock: Callable[[], float]) -> tuple[Feedback | None, str, float]:
    """One environment step: feedback or error text, and the seconds it took by a clock."""
    started = clock()
    try:
        feedback, error = environment.step(action), ""
    except Exception as problem:
        feedback, error = None, _excerpt(problem)
    return feedback, error, clock() - started


class EpisodeAgentLoop(AgentLoopBase):
    """Plays one episode and returns one `AgentLoopOutput` an environment step.

    The trajectory's reward is ``success_reward`` or 0 and stands on every row, as verl wants it. What advantages are
    computed from (`prism.rl.in_verl.trainer`) travels beside it in ``extra_fields["prism"]``: the environment's
    reward of this step alone, the penalty of the row's own invalid action, and the observation before the step
    (GiGPO's anchor).

    Args:
        settings: fields of `EpisodeSettings`.
    """

    def __init__(self, *args: Any, settings: Mapping[str, Any], **kwargs: Any):
        # verl's builder of multi-turn token streams is not used here; the one for Qwen refuses small tokenizers
        super().__init__(*args, **{**kwargs, "hf_model_type": None})
        self.settings = EpisodeSettings(**settings)
        self.games = load_games(self.settings.source, self.settings.games_dir, self.settings.environment_processes)
        self.encoder = PromptEncoder(self.tokenizer, PromptFormat(**self.settings.prompt))
        self.log = RolloutLog(self.settings.rollout_folder)
        # the CPU sampler is this project's own; vLLM makes its batches itself
        own = self.rollout_config.get("name") == "hf" and active("whole_waves")
        self.waves = waves_to_the_sampler() if own else None

    async def run(self, sampling_params: dict[str, Any], **fields: Any) -> list[AgentLoopOutput]:
        """Play the episode of one dataset row.

        Args:
            sampling_params: verl's sampling parameters.
            fields: the dataset row (``extra_info``), ``global_steps`` and ``session_id``.
        """
        with self.waves.episode() if self.waves else nullcontext():
            return await self._play(sampling_params, fields)

    async def _play(self, sampling_params: dict[str, Any], fields: Mapping[str, Any]) -> list[AgentLoopOutput]:
        task = fields["extra_info"]
        training_step, session = int(fields["global_steps"]), int(fields["session_id"])
        samples: list[StepSample] = []
        environment_seconds = 0.0
        environment, feedback, error = await self._in_thread(self.games.start, task["game"])
        episode = Episode(
            self.settings.benchmark,
            task["task_id"],
            task["task_type"],
            environment.task if environment else "",
            self.settings.max_steps,
            feedback,
        )
        if error:
            episode.fail(error)
        while not episode.finished:
            anchor = episode.feedback.observation
            [prompt_ids] = next_prompts([episode], self.encoder)
            if prompt_ids is None:
                break
            seed = sampling_seed(self.settings.seed, training_step, task["task_id"], session, len(samples))
            output = await self._reply(
                f"{training_step}-{task['task_id']}-{session}", prompt_ids, {**sampling_params, "seed": seed}
            )
            response_ids = list(output.token_ids)[: self.rollout_config.response_length]
            reply = episode.read(self.tokenizer.decode(response_ids, skip_special_tokens=True))
            log_probs = output.log_probs[: len(response_ids)] if output.log_probs else None
            samples.append(
                StepSample(anchor, prompt_ids, response_ids, log_probs, reply.valid, dict(output.extra_fields))
            )
            feedback, error, seconds = await self._in_thread(timed_step, environment, reply.action, self.games.clock)
            environment_seconds += seconds
            episode.advance(feedback or Feedback("", ()))
            if error:
                episode.fail(error)
        if environment:
            self.games.finish(environment, broken=bool(error))
        if not samples:
            # verl counts a group's trajectories by their rows: a game that does not open still gives one, without loss
            end = [self.tokenizer.eos_token_id]
            samples.append(StepSample("", end, end, [0.0], True, {}))
        reward = self.settings.success_reward if episode.success else 0.0
        self._record(episode, training_step, session, reward, environment_seconds)
        last = len(samples) - 1
        return [
            self._row(sample, index, session, reward, reward if index == last else 0.0, not episode.replies)
            for index, sample in enumerate(samples)
        ]

    async def _reply(self, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any]) -> TokenOutput:
        if self.waves:
            return await self.waves.generate(prompt_ids, sampling_params)
        return await self.server_manager.generate(
            request_id=request_id, prompt_ids=prompt_ids, sampling_params=sampling_params
        )

    async def _in_thread(self, function: Any, *args: Any) -> Any:
        executor = environment_threads(self.settings.environment_threads)
        return await asyncio.get_running_loop().run_in_executor(executor, function, *args)

    def _row(
        self, sample: StepSample, index: int, session: int, reward: float, step_reward: float, masked: bool
    ) -> AgentLoopOutput:
        penalty = 0.0 if sample.valid else self.settings.invalid_action_penalty
        extra = {
            # weights the response was sampled with; verl's off-policy metrics read them
            "min_global_steps": sample.extra.get("min_global_steps", 0),
            "max_global_steps": sample.extra.get("max_global_steps", 0),
            "turn_scores": [],
            "tool_rewards": [],
            "reward_extra_info": {"success": float(reward > 0)},
            "prism": {
                "trajectory": session,
                "step": index,
                "step_reward": step_reward,
                "penalty": penalty,
                "anchor": sample.anchor,
            },
        }
        return AgentLoopOutput(
            prompt_ids=sample.prompt_ids,
            response_ids=sample.response_ids,
            response_mask=[0 if masked else 1] * len(sample.response_ids),
            response_logprobs=sample.log_probs,
            reward_score=reward,
            num_turns=index + 1,
            metrics={},
            extra_fields=extra,
        )

    def _record(
        self, episode: Episode, training_step: int, session: int, reward: float, environment_seconds: float
    ) -> None:
        record = episode.record()
        invalid = record["invalid_actions"]
        self.log.write(
            {
                "training_step": training_step,
                "session": session,
                **record,
                "reward": reward - self.settings.invalid_action_penalty * invalid,
                "environment_seconds": round(environment_seconds, 4),
            }
        )


def _excerpt(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:EXCERPT_CHARACTERS]
