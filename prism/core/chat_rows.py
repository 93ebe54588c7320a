"""Token rows of people's own chats under a chat template, with an account of what the template leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from prism.core.chat_templates import ChatForm, ChatTemplate
from prism.core.chats import Chat
from prism.core.errors import BadInput
from prism.core.prompts import Encoded, Span, join_spans
from prism.core.rendered import check_said, lost_of_answer, lost_of_context
from prism.core.tokenizers import check_starts

# a text, and whether the loss falls on it
TextSpan = tuple[str, bool]


class ChatEncoder:
    """Turns chats into token rows, cut at the context length.

    Answers carry the loss. One row, where the chat template renders a turn the same with and without what follows it.
    Some templates do not (they drop the thoughts of earlier turns): then every answer is a row of its own, with the
    context in which the model would give it. A response starts after the generation prompt and ends with the
    end-of-turn token.

    Args:
        tokenizer: a Hugging Face tokenizer.
        context_length: tokens a row may have.
        form: how chats are rendered.
        loss_on: ``response``, the answers; ``all``, every token of every row.

    Raises:
        BadInput: there is no chat template, or the tokenizer begins every text anew.
    """

    def __init__(self, tokenizer: Any, context_length: int, form: ChatForm | None = None, loss_on: str = "response"):
        check_starts(tokenizer)
        self.settings = (tokenizer, context_length, loss_on)
        self.template = ChatTemplate(tokenizer, form)

    def encode(self, chat: Chat) -> Encoded:
        """Token rows of a chat; `Encoded.unrendered` counts what of it the template does not write.

        Raises:
            BadInput: the template refuses the chat or writes nothing of an answer.
        """
        return self.encode_with_texts(chat)[0]

    def encode_with_texts(self, chat: Chat) -> tuple[Encoded, list[list[TextSpan]]]:
        """As `encode`, with the rows as text, prompts and answers in turn; each text is tokenized by itself.

        Raises:
            BadInput: as `encode`.
        """
        tokenizer, context_length, loss_on = self.settings
        rows, unrendered = self._render(chat)
        spans = [[self._tokenize(span) for span in row] for row in rows]
        start = tokenizer.bos_token_id
        if any(row[:1] and row[0][0][:2] == [start, start] for row in spans):
            raise BadInput(chat.place, "its tokens begin with two beginning-of-text tokens",
                           "take the token out of the chat or the chat template")  # fmt: skip
        return join_spans(spans, context_length, loss_on, unrendered), rows

    def _tokenize(self, span: TextSpan) -> Span:
        text, is_response = span
        return (self.settings[0](text, add_special_tokens=False)["input_ids"] if text else [], is_response)

    def _render(self, chat: Chat) -> tuple[list[list[TextSpan]], Counter[str]]:
        answers, unrendered = [], Counter(f"{name!r} field" for name in chat.unread)
        for index, message in enumerate(chat.messages):
            if message["role"] == "assistant" and message.get("weight", 1):
                before, said, whole = self._around(chat, index)
                answers.append((before, (before + said).rstrip()))
                told = chat.messages[: index + 1]
                unrendered += lost_of_answer(self.template, told, chat, whole=whole, said=said)
        unrendered += lost_of_context(self.template, told, chat, whole)
        if all(later.startswith(earlier) for (_, earlier), (_, later) in pairwise(answers)):
            return [_spans(answers)], unrendered
        return [_spans([answer]) for answer in answers], unrendered

    def _around(self, chat: Chat, index: int) -> tuple[str, str, str]:
        """The text before an answer, up to its generation prompt; the answer's text; and that of the chat with it."""
        if not index:
            problem = "starts with an answer: there is no prompt before it"
            raise BadInput(chat.place, problem, "add the message that it answers, or give it weight 0")
        told = chat.messages[: index + 1]
        before = self.template.render(told[:-1], chat.place, chat.tools, add_generation_prompt=True)
        whole = self._written(chat, told)
        said = whole.removeprefix(before) if whole.startswith(before) else self._said_behind(chat, told, before, whole)
        if said is None:
            raise _misplaced(chat, index, before, whole)
        check_said(self.template, told, chat, whole=whole, said=said)
        return before, said, whole

    def _written(self, chat: Chat, told: Sequence[Mapping[str, Any]]) -> str:
        return self.template.render(told, chat.place, chat.tools, add_generation_prompt=False)

    def _said_behind(self, chat: Chat, told: Sequence[Mapping[str, Any]], before: str, whole: str) -> str | None:
        """The text of an answer whose template writes the context differently once the answer is there.

        gpt-oss' drops the thoughts before tool calls when the last answer follows. The answer begins behind the last
        generation prompt that stands after the message before it and before the first character that changes with it.
        """
        context = self._written(chat, told[:-1])
        prompt = before.removeprefix(context) if before.startswith(context) else ""
        if not prompt.strip():
            return None
        changes = _unlike(whole, self._written(chat, [*told[:-1], _altered(told[-1])]))
        earliest = _unlike(whole, self._written(chat, [*told[:-2], _altered(told[-2]), told[-1]]))
        place = whole.rfind(prompt, earliest, changes)
        return None if place < 0 else whole[place + len(prompt) :]


def _altered(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message of the same shape that begins with other words, whichever of its parts is written first."""
    altered = {key: f"@@{message[key]}" for key in ("content", "reasoning_content") if message.get(key)}
    if "tool_calls" in message:
        altered["tool_calls"] = [
            {**call, "function": {**call["function"], "name": f"@@{call['function']['name']}"}}
            for call in message["tool_calls"]
        ]
    return {**message, **altered}


def _unlike(text: str, other: str) -> int:
    """Place of the first character in which two texts differ."""
    pairs = enumerate(zip(text, other, strict=False))
    return next((place for place, (one, another) in pairs if one != another), min(len(text), len(other)))


def _misplaced(chat: Chat, index: int, before: str, after: str) -> BadInput:
    """The error of an answer that does not follow its generation prompt, with the likeliest cause."""
    problem = f"the chat template does not put answer {index + 1} after its generation prompt"
    if chat.messages[index - 1]["role"] == "assistant":
        return BadInput(chat.place, problem, "merge neighbouring answers into one")
    unlike = before[_unlike(before, after) :].strip()
    if "think" in unlike or "thought" in unlike:
        problem += f", which goes on with {unlike[-60:]!r}"
        remedy = """give --chat-template-kwargs '{"enable_thinking": true}', the answers their thoughts, or another"""
        return BadInput(chat.place, problem, f"{remedy} --chat-template")
    return BadInput(chat.place, problem, "give another --chat-template")


def _spans(answers: Sequence[tuple[str, str]]) -> list[TextSpan]:
    """Spans of the last text in `answers`; each pair is the text before and with an answer.

    Prompt and answer are tokenized apart, as they are at inference: no token straddles the two.
    """
    spans: list[TextSpan] = []
    done = 0
    for before, after in answers:
        spans += [(before[done:], False), (after[len(before) :], True)]
        done = len(after)
    return spans
