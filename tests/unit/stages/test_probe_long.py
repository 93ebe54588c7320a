"""A chat of many thousand tokens in one row: nothing that the probe holds grows with the square of its length."""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from chat_files import write
from toy_corpus import save_toy_model

# the scores of one head, were they held, take 1.5 times as much in float32
LIMIT = 1 << 30
TURNS, WORDS_A_TURN = 50, 194
WORDS = ("go", "to", "desk", "mug", "look", "bed", "shelf")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds anonymous memory on Linux")
def test_a_chat_of_20000_tokens_is_probed_in_one_gigabyte(root, tmp_path):
    model = save_toy_model(tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 32768}))
    draw = random.Random(0)
    messages = [
        {"role": role, "content": " ".join(draw.choices(WORDS, k=WORDS_A_TURN))}
        for role in ("user", "assistant") * TURNS
    ]
    data, out = write(tmp_path / "c.jsonl", {"id": "long", "messages": messages}), tmp_path / "n.parquet"
    command = [sys.executable, "-m", "prism", "probe", "--model", model, "--data", data, "--out", out]
    run = subprocess.run(
        [*command, "--context-length", "32768", "--strict"],
        cwd=root,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT)),
    )
    assert run.returncode == 0, run.stderr
    (row,) = pq.read_table(out).to_pylist()
    assert (row["rows"], row["truncated"]) == (1, 0)
    assert row["response_tokens"] > TURNS * WORDS_A_TURN
    tokens = int(run.stderr.partition(" row, ")[2].partition(" tokens")[0].replace(",", ""))
    assert 19_500 < tokens < 21_000
    assert 4 * tokens**2 > 1.4 * LIMIT
