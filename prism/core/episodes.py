"""One episode as the agent lives it: shared by evaluation, pass rates and the RL agent loop.

The environment and the sampler stay outside: an `Episode` only turns what the environment said into the next prompt,
and a reply into the next action, and keeps the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from prism.core.prompts import Moment, PromptEncoder, PromptFormat, Reply, parse_reply, render_prompt


@dataclass(frozen=True)
class Feedback:
    """What an environment answers.

    Attributes:
        observation: text shown to the agent.
        admissible: actions the environment would accept now.
        done: the episode is over.
        success: the task is solved.
        score: task score in [0, 1]; equals `success` where the benchmark has no partial credit.
    """

    observation: str
    admissible: tuple[str, ...]
    done: bool = False
    success: bool = False
    score: float = 0.0


@dataclass
class Episode:
    """State of one episode in progress.

    Attributes:
        max_steps: environment steps after which the episode ends as it stands.
    """

    benchmark: str
    task_id: str
    task_type: str
    task: str
    max_steps: int
    feedback: Feedback
    past: list[tuple[str, str]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    error: str = ""

    @property
    def finished(self) -> bool:
        """True once the task is solved, the environment ended it, it broke, or the steps ran out."""
        return bool(self.error) or self.feedback.done or len(self.past) >= self.max_steps

    def prompt(self, form: PromptFormat) -> str:
        """The user message of the next step."""
        return render_prompt(self.moment(), form)

    def moment(self) -> Moment:
        """What the agent knows now."""
        feedback = self.feedback
        return Moment(self.benchmark, self.task, self.past, feedback.observation, feedback.admissible)

    def read(self, text: str) -> Reply:
        """Parse a reply and remember it; the caller sends ``reply.action`` to the environment."""
        reply = parse_reply(text, self.benchmark)
        self.replies.append(reply)
        return reply

    def advance(self, feedback: Feedback) -> None:
        """Take the environment's answer to the last reply."""
        self.past.append((self.feedback.observation, self.replies[-1].action))
        self.feedback = feedback

    def fail(self, error: str) -> None:
        """End the episode as failed because its environment broke; the run goes on."""
        self.error = error

    @property
    def success(self) -> bool:
        """Whether the task was solved."""
        return self.feedback.success and not self.error

    def record(self) -> dict:
        """The episode as JSON: one record of an evaluation or rollout file."""
        return {
            "task_id": self.task_id,
            "task_type": self.task_type,
            "success": self.success,
            "score": 0.0 if self.error else float(self.feedback.score),
            "steps": len(self.past),
            "invalid_actions": sum(not reply.valid for reply in self.replies),
            "actions": [reply.action for reply in self.replies],
            "error": self.error,
        }


def next_prompts(episodes: Sequence[Episode], encoder: PromptEncoder) -> list[list[int] | None]:
    """Prompt token ids of each episode's next step: the one limit of RL, evaluation and pass rates.

    A prompt may have `PromptFormat.context_length` tokens; the response comes on top. A prompt that is longer loses its
    history, the oldest entry first. Where the rest is still too long, the episode fails, and None stands in its place.
    """
    form = encoder.form
    whole = encoder.encode_prompts([episode.prompt(form) for episode in episodes])
    return [
        prompt if len(prompt) <= form.context_length else _shortened(episode, prompt, encoder)
        for episode, prompt in zip(episodes, whole, strict=True)
    ]


def _shortened(episode: Episode, prompt: list[int], encoder: PromptEncoder) -> list[int] | None:
    """A prompt with as much history as fits; None, and a failed episode, where it does not fit even without."""
    form = encoder.form
    for entries in reversed(range(form.entries_shown(episode.past))):
        [prompt] = encoder.encode_prompts([episode.prompt(form.with_history(entries))])
        if len(prompt) <= form.context_length:
            return prompt
    episode.fail(f"a prompt of {len(prompt)} tokens does not fit {form.context_length}, even without its history")
    return None
