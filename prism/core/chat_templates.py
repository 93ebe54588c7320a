"""Rendering a chat template: a small program that comes with a model, run with bounds on time and memory."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from jinja2 import Environment, TemplateError, TemplateSyntaxError
from jinja2.sandbox import SecurityError

from prism.core.errors import BadInput, first_line

# a chat of 100,000 tokens renders in milliseconds and a few megabytes
RENDER_SECONDS = 10.0
RENDER_BYTES = 1 << 30
MEND = "mend the chat template or use another model's"


class _OutOfTime(Exception):
    """The template computes for longer than `RENDER_SECONDS`."""


def render_chat(
    tokenizer: Any,
    messages: Sequence[Mapping[str, Any]],
    place: str,
    tools: Sequence[Mapping] | None = None,
    *,
    add_generation_prompt: bool,
) -> str:
    """The text of a chat under a tokenizer's chat template.

    Args:
        place: where the chat comes from, for errors.
        tools: tool schemas for the template.

    Raises:
        BadInput: there is no template, it is broken, takes too much time or memory, or refuses the chat.
    """
    name = getattr(tokenizer, "name_or_path", "") or "tokenizer"
    template = getattr(tokenizer, "chat_template", None)
    if not template:
        raise BadInput(name, "the tokenizer has no chat template", "use an instruct model's tokenizer")
    if isinstance(template, str) and _raises_to_powers(template):
        raise BadInput(name, "its chat template raises numbers to powers, which no clock can stop", MEND)
    try:
        with _bounded():
            return tokenizer.apply_chat_template(
                list(messages), tools=tools, tokenize=False, add_generation_prompt=add_generation_prompt
            )
    except (TemplateSyntaxError, SecurityError) as error:
        raise BadInput(name, f"its chat template is broken ({first_line(error)})", MEND) from error
    except (MemoryError, OverflowError, RecursionError) as error:
        raise BadInput(name, "its chat template asks for too much memory", MEND) from error
    except _OutOfTime as error:
        raise BadInput(name, f"its chat template takes more than {RENDER_SECONDS:g} s for one chat", MEND) from error
    except (TemplateError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        problem = f"the chat template refuses the chat ({first_line(error)})"
        raise BadInput(place, problem, "mend the order of roles, or use another chat template") from error


def check_shown(
    tokenizer: Any,
    messages: Sequence[Mapping[str, Any]],
    place: str,
    tools: Sequence[Mapping] | None,
    *,
    whole: str,
    said: str,
) -> None:
    """Refuse an answer of which the chat template writes nothing: its end-of-turn token alone would be probed.

    Args:
        messages: the chat up to the answer.
        whole: what the template writes for the chat.
        said: what it writes for the answer.
    """
    answer = messages[-1]
    if answer.get("tool_calls"):
        what, silent = "tool calls", {key: value for key, value in answer.items() if key != "tool_calls"}
    elif answer["content"].strip() and answer["content"].strip() in said:
        return
    else:
        what, silent = "text", {**answer, "content": ""}
    try:
        without = render_chat(tokenizer, [*messages[:-1], silent], place, tools, add_generation_prompt=False)
    except BadInput:
        return
    if without == whole:
        raise BadInput(place, f"the chat template writes nothing of the {what} of message {len(messages)}",
                       "use a chat template that does, or remove the chat")  # fmt: skip


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
