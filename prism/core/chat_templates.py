"""Rendering a chat template: a small program that comes with a model, run with bounds on time and memory."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, TemplateError, TemplateSyntaxError, Undefined, UndefinedError
from jinja2.sandbox import SecurityError

from prism.core.errors import BadInput, first_line

# a chat of 100,000 tokens renders in milliseconds and a few megabytes
RENDER_SECONDS = 10.0
RENDER_BYTES = 1 << 30
MEND = "mend the chat template or use another model's"
# the day of templates that print today's date and know no other: the fallback of those that do, Llama 3.x's
FALLBACK_DATE = "2024-07-26"
_CLOCK = "strftime_now"
# what templates call an answer's thoughts, ours first; the others are gpt-oss' and OpenRouter's
_THOUGHTS = ("reasoning_content", "thinking", "reasoning")
_TAKEN = {"messages", "conversation", "tools", "tokenize", "add_generation_prompt", "chat_template", _CLOCK}


class _OutOfTime(Exception):
    """The template computes for longer than `RENDER_SECONDS`."""


@dataclass(frozen=True)
class ChatForm:
    """How a person's chats are rendered, beside what the model's tokenizer says.

    Attributes:
        template: text of a chat template that takes the place of the tokenizer's.
        variables: what the template gets beside the chat, such as ``enable_thinking``.
        date: the day (YYYY-MM-DD) that templates which print today's date print; without one the template's own
            fallback, or `FALLBACK_DATE` where it has none: the same chat is the same tokens on every day.
    """

    template: str = ""
    variables: dict[str, Any] = field(default_factory=dict)
    date: str = ""

    def __post_init__(self) -> None:
        if taken := self.variables.keys() & _TAKEN:
            problem = f"{min(taken)!r} cannot be set"
            raise BadInput("--chat-template-kwargs", problem, "it is what prism itself gives the template")
        if self.date:
            _parse_date(self.date)


def read_form(template: Path | None, variables: str, date: str) -> ChatForm:
    """How chats are rendered, from a command line.

    Args:
        template: file with a chat template.
        variables: those of the template, as a JSON object.
        date: a day, or nothing.

    Raises:
        BadInput: the file cannot be read, or a value cannot be used.
    """
    try:
        given = json.loads(variables)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        problem = f"{variables!r} is not a JSON object"
        raise BadInput("--chat-template-kwargs", problem, """write it as in '{"enable_thinking": false}'""")
    try:
        text = template.read_text(encoding="utf-8-sig") if template else ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(template, f"cannot be read ({first_line(error)})", "give a file with a chat template") from error
    if template and not text.strip():
        raise BadInput(template, "is empty", "give a file with a chat template")
    return ChatForm(text, given, date)


def _parse_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadInput("--date", f"{text!r} is no day", f"write it as in {FALLBACK_DATE}") from error


class ChatTemplate:
    """A chat template, ready to render.

    Args:
        tokenizer: its template is used, unless `form` has one.
        form: how chats are rendered.

    Raises:
        BadInput: there is no template, or it computes powers.
    """

    def __init__(self, tokenizer: Any, form: ChatForm | None = None):
        self.form = form or ChatForm()
        self.name = getattr(tokenizer, "name_or_path", "") or "tokenizer"
        self.template: Any = self.form.template or getattr(tokenizer, "chat_template", None)
        if not self.template:
            raise BadInput(self.name, "the tokenizer has no chat template", "use an instruct model's tokenizer")
        # a tokenizer may have several templates, by name
        text = "\n".join(self.template.values()) if isinstance(self.template, dict) else str(self.template)
        if _raises_to_powers(text):
            raise BadInput(self.name, "its chat template raises numbers to powers, which no clock can stop", MEND)
        self._tokenizer = tokenizer
        self._variables = _dated(text, self.form) | self.form.variables
        self._thoughts = next((key for key in _THOUGHTS if re.search(rf"[.'\"]{key}\b", text)), _THOUGHTS[0])
        self._calls_as_text = False

    def facts(self) -> dict[str, Any]:
        """What the rendered text depends on beside the chat."""
        return {"chat_template": self.template, "variables": self.form.variables, "date": self.form.date}

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        place: str,
        tools: Sequence[Mapping] | None = None,
        *,
        add_generation_prompt: bool,
    ) -> str:
        """The text of a chat.

        The thoughts of an answer go under the name that the template reads. The arguments of tool calls are objects;
        where the template refuses those, or prints them as Python does, it gets them as texts of JSON.

        Args:
            messages: as `prism.core.messages` has them.
            place: where the chat comes from, for errors.
            tools: tool schemas for the template.

        Raises:
            BadInput: the template is broken, takes too much time or memory, or refuses the chat.
        """
        wanted = {"tools": tools, "add_generation_prompt": add_generation_prompt}
        shaped = [self._shape(message) for message in messages]
        spelt = [_with_calls_as_text(message) for message in shaped]
        if self._calls_as_text or spelt == shaped:
            return self._render(spelt, place, wanted)
        try:
            text = self._render(shaped, place, wanted)
        except BadInput as refusal:
            try:
                text = self._render(spelt, place, wanted)
            except BadInput:
                raise refusal from None
            self._calls_as_text = True
            return text
        printed = [str(arguments) for message in shaped for arguments in _arguments(message) if arguments]
        if not any(arguments in text for arguments in printed):
            return text
        # a message may hold them too, as Python prints them: what it says stands in both texts
        as_text = self._render(spelt, place, wanted)
        if all(as_text.count(arguments) >= text.count(arguments) for arguments in printed):
            return text
        self._calls_as_text = True
        return as_text

    def _shape(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return {self._thoughts if key == _THOUGHTS[0] else key: value
                for key, value in message.items() if key != "weight"}  # fmt: skip

    def _render(self, messages: list[dict[str, Any]], place: str, wanted: Mapping[str, Any]) -> str:
        try:
            with _bounded():
                return self._apply(messages, wanted)
        except (TemplateSyntaxError, SecurityError) as error:
            raise BadInput(self.name, f"its chat template is broken ({first_line(error)})", MEND) from error
        except (MemoryError, OverflowError, RecursionError) as error:
            raise BadInput(self.name, "its chat template asks for too much memory", MEND) from error
        except _OutOfTime as error:
            problem = f"its chat template takes more than {RENDER_SECONDS:g} s for one chat"
            raise BadInput(self.name, problem, MEND) from error
        except (TemplateError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
            problem = f"the chat template refuses the chat ({first_line(error)})"
            raise BadInput(place, problem, "mend the order of roles, or use another chat template") from error

    def _apply(self, messages: list[dict[str, Any]], wanted: Mapping[str, Any]) -> str:
        """What transformers makes of it; a template that calls the clock without looking for one gets one."""
        given = {"tokenize": False, **wanted} | ({"chat_template": self.form.template} if self.form.template else {})
        try:
            return self._tokenizer.apply_chat_template(messages, **given, **self._variables)
        except UndefinedError as error:
            if _CLOCK not in str(error):
                raise
        self._variables[_CLOCK] = _parse_date(FALLBACK_DATE).strftime
        return self._tokenizer.apply_chat_template(messages, **given, **self._variables)


def _dated(template: str, form: ChatForm) -> dict[str, Any]:
    """The variables that stand for today's date in a template."""
    if not form.date:
        return {_CLOCK: Undefined(name=_CLOCK)} if _CLOCK in template else {}
    day = _parse_date(form.date)
    named = {"date_string": day.strftime("%d %b %Y")} if "date_string" in template else {}
    return {_CLOCK: day.strftime, **named}


def _arguments(message: Mapping[str, Any]) -> list[Any]:
    """Arguments of a message's tool calls, those that are objects."""
    found = [call["function"]["arguments"] for call in message.get("tool_calls", ())]
    return [arguments for arguments in found if isinstance(arguments, dict)]


def _with_calls_as_text(message: dict[str, Any]) -> dict[str, Any]:
    if not _arguments(message):
        return message
    calls = []
    for call in message["tool_calls"]:
        arguments = call["function"]["arguments"]
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        calls.append({**call, "function": {**call["function"], "arguments": text}})
    return {**message, "tool_calls": calls}


@lru_cache(maxsize=8)
def _raises_to_powers(template: str) -> bool:
    """Whether a template computes powers: one such operation may take hours, and cannot be interrupted."""
    try:
        return any(kind == "operator" and text == "**" for _, kind, text in Environment().lex(template))
    except TemplateSyntaxError:
        return False  # rendering says what is wrong


@contextmanager
def _bounded() -> Iterator[None]:
    """End what runs in the block when it computes for too long or takes too much memory; in the main thread only.

    Raises:
        MemoryError: more than `RENDER_BYTES` were asked for (Linux).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise _OutOfTime

    limits = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGVTALRM, end)
    try:
        _limit_memory(limits)
        signal.setitimer(signal.ITIMER_VIRTUAL, RENDER_SECONDS)
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _limit_memory(limits: tuple[int, int]) -> None:
    """Leave this process `RENDER_BYTES` more than it has."""
    try:
        # once a rendering, so without buffers and text layers
        statm = os.open("/proc/self/statm", os.O_RDONLY)
    except OSError:
        return
    try:
        pages = int(os.read(statm, 64).split(maxsplit=1)[0])
    finally:
        os.close(statm)
    allowed = pages * resource.getpagesize() + RENDER_BYTES
    for limit in limits:
        if limit != resource.RLIM_INFINITY:
            allowed = min(allowed, limit)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, limits[1]))
