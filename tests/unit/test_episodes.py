"""Episodes: bookkeeping of what evaluation and RL share."""

from prism.core.episodes import Episode, Feedback
from prism.core.prompts import PromptFormat


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
