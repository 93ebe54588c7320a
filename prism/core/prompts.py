"""The one prompt builder: probe, SFT, RL and evaluation take their token streams from here.

In RL and evaluation every environment step is its own single-turn prompt, rebuilt from scratch (the protocol of
verl-agent): task, some history, the current observation, the admissible actions. The response is a thought and an
action in tags. Probe and SFT take these steps as rows, or the whole trajectory as one row (``conversation``); the
tokens of an answer are the same in both, and the same as the agent gives them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from prism.core.benchmarks import BENCHMARKS
from prism.core.chat_templates import ChatTemplate
from prism.core.errors import BadInput
from prism.core.files import sha256_json
from prism.core.recipes import setting
from prism.core.tokenizers import check_starts
from prism.core.trajectories import Trajectory

# Raised whenever the same inputs give another token stream: heavy stages depend on it.
PROMPT_VERSION = 1

THINK, END_THINK, ACTION, END_ACTION = "<think>", "</think>", "<action>", "</action>"
# stand for a user's message, the answer to it and the next user's message while a chat template is taken apart
_USER, _ANSWER, _NEXT_USER = "@@PRISM-USER@@", "@@PRISM-ANSWER@@", "@@PRISM-NEXT-USER@@"
LAYOUTS = ("steps", "conversation")
LOSSES = ("response", "all")
_HISTORY = re.compile(r"(pairs|actions):(\d+)")


@dataclass(frozen=True)
class PromptFormat:
    """How a step becomes text."""

    style: str = setting(
        "`full`: role and instructions in sentences; `compact`: a few words, for tiny vocabularies",
        choices=("compact", "full"),
    )
    history: str = setting(
        "`pairs:N`: the last N observations and actions (V: `pairs:2`); `actions:N`: the last N actions",
        schema={"type": "string", "pattern": "^(pairs|actions):[0-9]+$"},
    )
    context_length: int = setting(
        "tokens a row of probe and SFT may have, prompt and response, longer ones are truncated and counted; and "
        "tokens a prompt of RL and evaluation may have, with the response on top, longer ones lose their history (P: "
        "2048 and 4096)",
        at_least=64,
    )

    def __post_init__(self) -> None:
        if self.style not in _RENDERERS:
            raise BadInput("prompt.style", f"unknown style {self.style!r}", f"use one of {sorted(_RENDERERS)}")
        if not _HISTORY.fullmatch(self.history):
            raise BadInput("prompt.history", f"cannot read {self.history!r}", "write pairs:N or actions:N")

    def sha256(self, **sample: str) -> str:
        """Hash of the format and the builder's version, recorded with every result.

        Args:
            sample: what else shapes a stage's rows: its layout, the tokens that carry loss.
        """
        return sha256_json({**asdict(self), **sample, "version": PROMPT_VERSION})

    def with_history(self, entries: int) -> PromptFormat:
        """The same format, showing no more than the last `entries` pairs or actions."""
        return replace(self, history=f"{self.history.partition(':')[0]}:{entries}")

    def entries_shown(self, past: Sequence[tuple[str, str]]) -> int:
        """Pairs or actions of `past` that a prompt shows."""
        return len(_shown_history(past, self.history)[1])


@dataclass(frozen=True)
class Row:
    """One row of tokens: a step's prompt and response, or a whole chat. `response_mask` is 1 where the loss falls."""

    input_ids: Sequence[int]
    response_mask: Sequence[int]

    @property
    def response_tokens(self) -> int:
        """Number of tokens that carry loss."""
        return sum(self.response_mask)


@dataclass(frozen=True)
class Encoded:
    """The token rows of one trajectory, and what the context length cut off.

    Attributes:
        rows: those that have a token with loss.
        truncated: rows that were cut, or dropped because no token with loss was left.
        response_tokens_cut: tokens with loss that were cut off.
        unrendered: of a person's chat: number of tool calls, thoughts, ... that the chat template does not write.
    """

    rows: list[Row]
    truncated: int
    response_tokens_cut: int
    unrendered: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Moment:
    """What the agent knows when it must act: task, past (observation, action) pairs, observation, choices."""

    benchmark: str
    task: str
    past: Sequence[tuple[str, str]]
    observation: str
    admissible: Sequence[str]


def render_prompt(moment: Moment, form: PromptFormat) -> str:
    """The user message of one step, as plain text."""
    return _RENDERERS[form.style](moment, form.history)


def render_response(thought: str, action: str) -> str:
    """The assistant message of one step, as plain text."""
    return f"{THINK}{thought}{END_THINK}{ACTION}{action}{END_ACTION}"


def _shown_history(past: Sequence[tuple[str, str]], history: str) -> tuple[str, Sequence[tuple[str, str]]]:
    kind, count = _HISTORY.fullmatch(history).groups()
    return kind, past[max(0, len(past) - int(count)) :] if int(count) else ()


def _choices(moment: Moment) -> list[str]:
    return [action for action in moment.admissible if action != "help"]


def _render_compact(moment: Moment, history: str) -> str:
    kind, shown = _shown_history(moment.past, history)
    lines = [f"task : {moment.task}"]
    if shown:
        past = [action if kind == "actions" else f"{observation} > {action}" for observation, action in shown]
        lines.append("past : " + " , ".join(past))
    return "\n".join([*lines, *_situation_compact(moment)])


def _situation_compact(moment: Moment) -> list[str]:
    # a store's page comes in quoted parts; one mark between them says as much
    observation = moment.observation.replace("' [SEP] '", " ; ")
    return [f"now : {observation}", "actions : " + " , ".join(_choices(moment))]


def _render_full(moment: Moment, history: str) -> str:
    kind, shown = _shown_history(moment.past, history)
    lines = [BENCHMARKS[moment.benchmark].role, f"Your task: {moment.task}", f"Steps taken so far: {len(moment.past)}."]
    if shown:
        lines.append(f"The last {len(shown)} of them:")
        first = len(moment.past) - len(shown) + 1
        for number, (observation, action) in enumerate(shown, first):
            seen = "" if kind == "actions" else f"Observation {number}: {observation}\n"
            lines.append(f"{seen}Action {number}: {action}")
    lines += _situation_full(moment)
    lines.append(
        f"Reason step by step about the situation inside {THINK} {END_THINK}, then choose one admissible action and "
        f"write it inside {ACTION} {END_ACTION}."
    )
    return "\n".join(lines)


def _situation_full(moment: Moment) -> list[str]:
    actions = ", ".join(f"'{action}'" for action in _choices(moment))
    return [f"Current observation: {moment.observation}", f"Admissible actions: [{actions}]"]


_RENDERERS: dict[str, Callable[[Moment, str], str]] = {"compact": _render_compact, "full": _render_full}
_SITUATIONS: dict[str, Callable[[Moment], list[str]]] = {"compact": _situation_compact, "full": _situation_full}


def conversation_messages(trajectory: Trajectory, style: str) -> list[dict[str, Any]]:
    """A whole trajectory as one chat: the layout ``conversation``.

    The first user message is the prompt of the first step; later ones hold the observation alone, as in the chats of
    ETO and other public trajectories: the turns before them are the history, and with the admissible actions of every
    step a trajectory in ALFWorld's real rooms would be three times as long and mostly not fit its context. A step that
    is not demonstrated gets ``"weight": 0``: no loss.
    """
    messages: list[dict[str, Any]] = []
    for step in trajectory.steps:
        moment = Moment(trajectory.benchmark, trajectory.task, (), step.observation, step.admissible)
        content = _SITUATIONS[style](moment)[0] if messages else _RENDERERS[style](moment, "actions:0")
        messages.append({"role": "user", "content": content})
        answer = {"role": "assistant", "content": render_response(step.thought, step.action)}
        messages.append(answer if step.demonstrated else {**answer, "weight": 0})
    return messages


@dataclass(frozen=True)
class Reply:
    """A parsed response: the text sent to the environment, and whether the format was kept."""

    action: str
    valid: bool


_CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_ACTION_SPAN = re.compile(re.escape(ACTION) + r"(.*?)" + re.escape(END_ACTION), re.DOTALL)


def parse_reply(text: str, benchmark: str = "alfworld") -> Reply:
    """Read a response as verl-agent does.

    Valid means: an action span, both think tags, no CJK character. Whether the action is admissible is the
    environment's business. Without an action span the end of the text is sent, and the reply is invalid.
    """
    lowered = text.lower()
    span = _ACTION_SPAN.search(lowered)
    if span is None:
        return Reply(" ".join(lowered[-BENCHMARKS[benchmark].fallback_characters :].split()), False)
    thought = THINK in lowered and END_THINK in lowered
    return Reply(" ".join(span.group(1).split()), thought and not _CJK.search(text))


class PromptEncoder:
    """Turns moments and trajectories into token ids with a model's tokenizer and chat template.

    The chat template is rendered once around a sentinel and split: rendering it per step costs minutes on a corpus.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template and an end-of-turn token as `eos_token`.
        form: the prompt format.

    Raises:
        BadInput: the tokenizer has no chat template or no end-of-turn token.
    """

    def __init__(self, tokenizer: Any, form: PromptFormat):
        name = getattr(tokenizer, "name_or_path", "tokenizer")
        if tokenizer.eos_token_id is None:
            raise BadInput(name, "the tokenizer has no end-of-turn token", "set eos_token in tokenizer_config.json")
        check_starts(tokenizer)
        self.tokenizer, self.form = tokenizer, form
        self._template = ChatTemplate(tokenizer)
        around = self._render([{"role": "user", "content": _USER}]).split(_USER)
        if len(around) != 2:
            raise BadInput(name, "its chat template does not write a user message once", "use another chat template")
        self._before, self._after = around

    def _render(self, messages: list[dict[str, str]]) -> str:
        return self._template.render(messages, self._template.name, add_generation_prompt=True)

    @cached_property
    def _between(self) -> str:
        """What the chat template writes between an answer's end-of-turn token and the next user message.

        Raises:
            BadInput: the template does not write a turn the same wherever it stands in the chat.
        """
        chat = [("user", _USER), ("assistant", _ANSWER), ("user", _NEXT_USER)]
        rendered = self._render([{"role": role, "content": content} for role, content in chat])
        parts = re.split("|".join((_USER, _ANSWER, _NEXT_USER)), rendered)
        end = self.tokenizer.eos_token
        if len(parts) != 4 or (parts[0], parts[1], parts[3]) != (self._before, self._after, self._after):
            problem = "its chat template writes a turn differently where others follow it"
        elif not parts[2].startswith(end):
            problem = f"its chat template does not end an answer with {end!r}"
        else:
            return parts[2].removeprefix(end)
        name = getattr(self.tokenizer, "name_or_path", "tokenizer")
        raise BadInput(name, f"{problem}: a trajectory is no single conversation", "use layout: steps")

    def encode_prompts(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of user messages, chat template and generation prompt included."""
        texts = [self._before + prompt + self._after for prompt in prompts]
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

    def encode_responses(self, responses: Sequence[str]) -> list[list[int]]:
        """Token ids of assistant messages, closed by the end-of-turn token."""
        if not responses:
            return []
        ids = self.tokenizer(list(responses), add_special_tokens=False)["input_ids"]
        return [[*row, self.tokenizer.eos_token_id] for row in ids]

    def encode_trajectory(self, trajectory: Trajectory, layout: str = "steps", loss_on: str = "response") -> Encoded:
        """Rows of a trajectory, cut at the context length.

        Args:
            layout: ``steps``, a row an environment step; ``conversation``, one row for the whole trajectory: the turns
                of `conversation_messages` as the chat template writes them, every answer as the agent gives it.
                Thoughts are kept in all turns, also where the template would drop them from earlier ones.
            loss_on: ``response``, the answers with their end-of-turn tokens; ``all``, every token.
                Steps that are not demonstrated carry no loss as answers.
        """
        rows = self._conversation(trajectory) if layout == "conversation" else self._steps(trajectory)
        return join_spans(rows, self.form.context_length, loss_on)

    def _steps(self, trajectory: Trajectory) -> list[list[Span]]:
        prompts, responses, past = [], [], []
        for step in trajectory.steps:
            if step.demonstrated:
                moment = Moment(trajectory.benchmark, trajectory.task, past, step.observation, step.admissible)
                prompts.append(render_prompt(moment, self.form))
                responses.append(render_response(step.thought, step.action))
            past.append((step.observation, step.action))
        encoded = zip(self.encode_prompts(prompts), self.encode_responses(responses), strict=True)
        return [[(prompt, False), (response, True)] for prompt, response in encoded]

    def _conversation(self, trajectory: Trajectory) -> list[list[Span]]:
        messages = conversation_messages(trajectory, self.form.style)
        contents = [message["content"] for message in messages]
        prompts = [
            (self._between if index else self._before) + content + self._after
            for index, content in enumerate(contents[::2])
        ]
        asked = self.tokenizer(prompts, add_special_tokens=False)["input_ids"]
        answered = self.encode_responses(contents[1::2])
        spans: list[Span] = []
        for step, prompt, answer in zip(trajectory.steps, asked, answered, strict=True):
            spans += [(prompt, False), (answer, step.demonstrated)]
        return [spans]


# token ids, and whether the loss falls on them
Span = tuple[list[int], bool]


def join_spans(
    rows: Sequence[Sequence[Span]], context_length: int, loss_on: str, unrendered: Mapping[str, int] | None = None
) -> Encoded:
    """Join the spans of each row, cut at the context length; a row without a token that carries loss is dropped."""
    kept, truncated, lost = [], 0, 0
    for spans in rows:
        ids = [token for tokens, _ in spans for token in tokens]
        mask = [int(carries or loss_on == "all") for tokens, carries in spans for _ in tokens]
        row = Row(ids[:context_length], mask[:context_length])
        if row.response_tokens:
            kept.append(row)
        truncated += len(ids) > context_length
        lost += sum(mask) - row.response_tokens
    return Encoded(kept, truncated, lost, unrendered or {})
