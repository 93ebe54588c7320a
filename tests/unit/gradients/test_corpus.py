"""The corpus to probe: chats and tokens are read record by record, and the tokens of a chat are that chat."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from chat_files import OPENAI, write
from toy_corpus import save_toy_model

from prism.core.chat_formats.tokens import token_rows
from prism.core.errors import BadInput
from prism.core.prompts import PromptFormat
from prism.core.tokenizers import load_tokenizer
from prism.gradients.corpus import load_corpus
from prism.gradients.packs import Sample

FORM = PromptFormat("full", "pairs:2", 64)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(save_toy_model(tmp_path_factory.mktemp("model")))


def samples(path, tokenizer, ids=None, form=FORM, loss_on="response"):
    corpus = load_corpus(path)
    return corpus.samples(ids or corpus.ids, tokenizer, form, "steps", loss_on)


def plain(sample):
    """Rows of a sample as lists."""
    return [(list(row.input_ids), list(row.response_mask)) for row in sample.rows]


def tokens_of(sample):
    """A chat's tokens as a record that somebody would bring."""
    ((ids, mask),) = plain(sample)
    labels = [token if carries else -100 for token, carries in zip(ids, mask, strict=True)]
    return {"id": sample.id, "input_ids": ids, "labels": labels}


def test_the_tokens_of_a_chat_are_that_chat(tmp_path, tokenizer):
    chats = write(tmp_path / "chats.jsonl", *({"id": name, "messages": OPENAI} for name in "ab"))
    asked = samples(chats, tokenizer, ids=["b", "a"])
    assert [sample.id for sample in asked] == ["b", "a"]
    written = write(tmp_path / "tokens.jsonl", *map(tokens_of, asked))
    for loss_on in ("response", "all"):
        given = samples(written, tokenizer, loss_on=loss_on)
        assert list(map(plain, given)) == list(map(plain, samples(chats, tokenizer, loss_on=loss_on)))
    assert load_corpus(written).place("a") == f"{written}:2"
    # neither template nor tokenizer is asked, but the context holds
    cut = samples(written, None, form=PromptFormat("full", "pairs:2", 16))
    short = samples(chats, tokenizer, form=PromptFormat("full", "pairs:2", 16))
    assert [(plain(one), one.truncated, one.response_tokens_cut) for one in cut] == [
        (plain(one), one.truncated, one.response_tokens_cut) for one in short
    ]
    facts = [load_corpus(path).prompt_facts(tokenizer, FORM, "steps", "response") for path in (chats, written)]
    assert facts[0]["prompt_sha256"] != facts[1]["prompt_sha256"]


@pytest.mark.parametrize(
    ("record", "rows"),
    [
        ({"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, [([5, 6, 7], [0, 1, 1])]),
        ({"input_ids": [5, 6, 7], "completion_mask": [0, 0, 1]}, [([5, 6, 7], [0, 0, 1])]),
        ({"input_ids": [5, 6, 7], "assistant_masks": [False, True, False]}, [([5, 6, 7], [0, 1, 0])]),
        ({"input_ids": [0, 5, 6, 0], "labels": [-100, -100, 6, -100], "attention_mask": [0, 1, 1, 0]},
         [([5, 6], [0, 1])]),
        ({"input_ids": [[5, 6], [7, 8]], "labels": [[-100, 6], [-100, 8]], "id": None},
         [([5, 6], [0, 1]), ([7, 8], [0, 1])]),
        ({"input_ids": [5, 6], "labels": [-100, 6], "position_ids": [0, 1], "token_type_ids": [0, 0]},
         [([5, 6], [0, 1])]),
    ],
)  # fmt: skip
def test_which_tokens_carry_loss(record, rows):
    assert token_rows(record, "f:1") == rows


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"input_ids": [1, 2]}, "f:1: has 'input_ids' and no 'labels': no token is known to carry loss"),
        ({"input_ids": [1, 2], "labels": [-100]}, "f:1 row 1: has 2 'input_ids' and 1 of 'labels'"),
        ({"input_ids": [1, 2, 3], "labels": [2, 3, -100]}, "f:1 row 1: label 2 is neither -100 nor its token 1"),
        ({"input_ids": [1, 2], "labels": [-100, -100]}, "f:1 row 1: has no token with loss"),
        ({"input_ids": [1, 2], "labels": [1, -100]}, "f:1 row 1: has no token with loss"),
        ({"input_ids": [1, -2], "labels": [-100, -2]}, "f:1 row 1: its tokens are not whole numbers from 0"),
        ({"input_ids": [1, 1 << 31], "labels": [-100, 1 << 31]}, "f:1 row 1: its tokens are not whole numbers from 0"),
        ({"input_ids": [1, 2.5], "labels": [-100, 2.5]}, "f:1 row 1: its tokens are not whole numbers from 0"),
        ({"input_ids": [1, 2], "labels": [[-100, 2]]}, "f:1 row 1: has 2 'input_ids' and 1 of 'labels'"),
        ({"input_ids": [[1, 2]], "labels": [-100, 2]}, "f:1: 'input_ids' and 'labels' have other lengths"),
        ({"input_ids": [1, 2, 3], "labels": [-100, 2, 3], "position_ids": [0, 1, 0]}, "f:1: is several rows packed"),
        ({"input_ids": [1, 2], "labels": [-100, 2], "seq_lengths": [1, 1]}, "f:1: is several rows packed"),
        ({"input_ids": "text", "labels": [-100]}, "f:1"),
    ],
)
def test_tokens_that_cannot_be_probed_are_refused(record, problem):
    with pytest.raises(BadInput) as caught:
        token_rows(record, "f:1")
    assert str(caught.value).startswith(problem)


def test_tokens_and_chats_do_not_mix(tmp_path, tokenizer):
    tokens, chat = {"input_ids": [1, 2], "labels": [-100, 2]}, {"messages": OPENAI}
    with pytest.raises(BadInput, match=r"a:2: holds no 'input_ids', as the records before do"):
        load_corpus(write(tmp_path / "a", tokens, chat))
    with pytest.raises(BadInput, match=r"b:2: holds tokens, among chats"):
        load_corpus(write(tmp_path / "b", chat, tokens))
    with pytest.raises(BadInput, match=r"c:2: repeats id 'x' of line 1"):
        load_corpus(write(tmp_path / "c", *[{"id": "x", **tokens}] * 2))


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path, tokenizer):
    path = write(tmp_path / "a", {"id": "a", "messages": OPENAI})
    corpus = load_corpus(path)
    write(path, {"id": "b", "messages": OPENAI})
    with pytest.raises(BadInput, match="has changed while it was read"):
        corpus.samples(["a"], tokenizer, FORM, "steps", "response")


@pytest.mark.slow
def test_two_hundred_thousand_chats_in_one_file(tmp_path, tokenizer):
    """Ids and places alone are kept of what is not asked for: less than 300 bytes a chat, of files of any size."""
    path, count = tmp_path / "many.jsonl", 200_000
    text = json.dumps({"messages": [{"role": "user", "content": "x " * 500}, {"role": "assistant", "content": "look"}]})
    with path.open("w") as out:
        out.writelines(f"{text}\n" for _ in range(count))
    tracemalloc.start()
    try:
        corpus = load_corpus(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(corpus.ids) == count
    assert peak < 300 * count < path.stat().st_size / 3


def test_a_sample_of_a_chat_takes_five_bytes_a_token(tmp_path, tokenizer):
    (sample,) = samples(write(tmp_path / "a", {"messages": OPENAI}), tokenizer)
    (row,) = sample.rows
    assert (row.input_ids.itemsize, type(row.response_mask)) == (4, bytes)
    assert Sample("1", sample.rows).response_tokens == sample.response_tokens > 1
