"""What is said of a log that another program writes."""

from __future__ import annotations

import json
import time

from prism.core import progress


def test_a_line_that_an_attempt_before_left_is_no_progress(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 150}\n')
    with progress.following(log, lambda record: f"step {record['step']}" if record else None):
        time.sleep(0.1)
        assert capsys.readouterr().err == ""
        log.write_text(json.dumps({"step": 1}) + "\n")
        deadline = time.monotonic() + 30
        said = ""
        while "step 1\n" not in said and time.monotonic() < deadline:
            time.sleep(0.01)
            said += capsys.readouterr().err
    assert "step 1\n" in said
    assert "150" not in said
