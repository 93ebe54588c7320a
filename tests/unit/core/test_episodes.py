"""Episodes: bookkeeping of what evaluation and RL share."""

from dataclasses import replace

import pytest

from prism.core.episodes import Episode, Feedback, next_prompts
from prism.core.prompts import PromptEncoder, PromptFormat


def episode(max_steps=2):
    return Episode("alfworld", "t", "pick", "find it", max_steps, Feedback("room", ("look",)))


def test_an_episode_ends_by_success_by_steps_or_by_error():
    solved, slow, broken = episode(), episode(), episode()
    assert not solved.finished
    solved.read("<think>a</think><action>look</action>")
    solved.advance(Feedback("done", (), done=True, success=True, score=1.0))
    assert solved.finished
    assert solved.success
    for _ in range(2):
        assert not slow.finished
        slow.read("nonsense")
        slow.advance(Feedback("Nothing happens.", ("look",)))
    assert slow.finished
    assert not slow.success
    broken.fail("engine gone")
    assert broken.finished
    assert broken.record()["error"] == "engine gone"


def test_record_counts_invalid_replies():
    run = episode()
    run.read("<think>a</think><action>look</action>")
    run.advance(Feedback("a", ()))
    run.read("no tags")
    run.advance(Feedback("b", ()))
    assert run.record() == {
        "task_id": "t", "task_type": "pick", "success": False, "score": 0.0, "steps": 2, "invalid_actions": 1,
        "actions": ["look", "no tags"], "error": "",
    }  # fmt: skip


def test_the_prompt_shows_what_happened():
    run = episode()
    run.read("<think>a</think><action>look</action>")
    run.advance(Feedback("a desk", ("go to desk 1",)))
    text = run.prompt(PromptFormat("compact", "pairs:1", 100))
    assert text == "task : find it\npast : room > look\nnow : a desk\nactions : go to desk 1"


@pytest.fixture(scope="module")
def tokenizer(root):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(root / "resources" / "backbones" / "tiny-qwen3")


@pytest.mark.parametrize("kind", ["pairs", "actions"])
@pytest.mark.parametrize("style", ["compact", "full"])
def test_a_prompt_may_fill_the_context_then_loses_its_oldest_history_and_only_then_fails(tokenizer, style, kind):
    run = episode(max_steps=9)
    for place in ("desk 1", "bed 2", "shelf 3"):
        run.read(f"<think>a</think><action>go to {place}</action>")
        run.advance(Feedback(f"on the {place} , you see nothing .", ("look",)))
    # five entries are wanted, three there are
    form = PromptFormat(style, f"{kind}:5", 1000)

    def encoded(entries: int) -> list[int]:
        shown = replace(form, history=f"{kind}:{entries}")
        return PromptEncoder(tokenizer, form).encode_prompts([run.prompt(shown)])[0]

    def next_prompt(context_length: int) -> list[int] | None:
        return next_prompts([run], PromptEncoder(tokenizer, replace(form, context_length=context_length)))[0]

    sizes = [len(encoded(entries)) for entries in range(4)]
    assert sizes == sorted(set(sizes))
    for entries, size in enumerate(sizes):
        assert next_prompt(size) == encoded(entries)
    assert not run.error
    assert next_prompt(sizes[0] - 1) is None
    assert run.error == f"a prompt of {sizes[0]} tokens does not fit {sizes[0] - 1}, even without its history"
    assert run.finished


def test_a_prompt_that_does_not_fit_fails_its_own_episode_alone(tokenizer):
    short, long = episode(), replace(episode(), task="find it " * 200)
    prompts = next_prompts([long, short], PromptEncoder(tokenizer, PromptFormat("compact", "pairs:1", 100)))
    assert prompts[0] is None
    assert len(prompts[1]) <= 100
    assert (bool(long.error), bool(short.error)) == (True, False)
