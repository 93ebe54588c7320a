"""The search index against BM25 written out."""

import json
import math
import random
from collections import Counter

import numpy as np
import pytest

from prism.core.errors import BadInput
from prism.environments.webshop import search
from prism.environments.webshop.analysis import term_of, terms
from prism.environments.webshop.search import SearchIndex, build_index, quantize_length

WORDS = [f"{letter}{vowel}x{end}" for letter in "bcdfgk" for vowel in "aeiou" for end in ("", "t", "ing", "s")]


def documents(count, seed=0):
    rng = random.Random(seed)
    weights = [1 / (rank + 1) for rank in range(len(WORDS))]
    return [
        (f"B{rng.randrange(10**6):06d}{number}", " ".join(rng.choices(WORDS, weights, k=rng.randint(0, 60))))
        for number in range(count)
    ]


def plain_bm25(docs, query):
    """Scores in double precision, from the formula."""
    counts = [Counter(terms(text)) for _, text in docs]
    used = [count for count in counts if count]
    average = sum(sum(count.values()) for count in used) / len(used)
    scores = Counter()
    for term, times in Counter(terms(query)).items():
        frequency = sum(term in count for count in counts)
        idf = math.log(1 + (len(used) - frequency + 0.5) / (frequency + 0.5))
        for (identifier, _), count in zip(docs, counts, strict=True):
            if term in count:
                norm = 0.9 * (0.6 + 0.4 * quantize_length(sum(count.values())) / average)
                scores[identifier] += times * idf * (1 - 1 / (1 + count[term] / norm))
    return scores


@pytest.fixture(params=[4_000_000, 100], ids=["one block", "many blocks"])
def index(request, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "BLOCK_TOKENS", request.param)
    docs = documents(300)
    build_index(docs, tmp_path)
    assert not list(tmp_path.glob("block-*"))
    return docs, SearchIndex(tmp_path)


def test_scores_and_order(index):
    docs, built = index
    for query in ["baxt cexs", "the baxting of baxting and dux", "kuxs gox fexting dix box", "nothing here"]:
        expected, found = plain_bm25(docs, query), built.search(query, 50)
        assert len(found) == min(50, len(expected))
        for position, score in found:
            assert score == pytest.approx(expected[docs[position][0]], rel=1e-5)
        assert sorted(found, key=lambda hit: (-hit[1], docs[hit[0]][0])) == found
        worst = min((score for _, score in found), default=0)
        assert sum(score > worst * (1 + 1e-5) for score in expected.values()) <= len(found)


def test_ties_go_by_id(tmp_path):
    build_index([("b", "red mug"), ("B", "red mug"), ("a", "red mug"), ("é", "red mug")], tmp_path)
    assert [position for position, _ in SearchIndex(tmp_path).search("mug", 3)] == [1, 2, 0]


def test_lengths_as_lucene_keeps_them():
    # from Lucene's SmallFloat: exact to 39, then four significant bits above 24
    assert [quantize_length(length) for length in (0, 23, 24, 39, 40, 41, 42, 55, 56, 59, 100, 1000)] == [
        0, 23, 24, 39, 40, 40, 42, 54, 56, 56, 96, 984,
    ]  # fmt: skip


def test_index_is_mapped_not_read(index):
    _, built = index
    assert isinstance(built._postings.base, np.memmap)


def test_words_only_lucene_leaves(tmp_path):
    build_index([("a", "the of and"), ("b", "")], tmp_path)
    assert SearchIndex(tmp_path).search("the mug", 5) == []


def test_index_of_another_version_is_refused(index, tmp_path):
    meta = tmp_path / "index.json"
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "analysis_version": 0}))
    with pytest.raises(BadInput, match="another version"):
        SearchIndex(tmp_path)
    meta.unlink()
    with pytest.raises(BadInput, match="not a search index"):
        SearchIndex(tmp_path)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("caresses", "caress"), ("ponies", "poni"), ("cats", "cat"), ("agreed", "agre"), ("plastered", "plaster"),
        ("hopping", "hop"), ("falling", "fall"), ("filing", "file"), ("happy", "happi"), ("sky", "sky"),
        ("relational", "relat"), ("possibly", "possibl"), ("technologi", "technolog"), ("hopefulness", "hope"),
        ("adoption", "adopt"), ("controll", "control"), ("rate", "rate"), ("us", "us"), ("as", None),
    ],
)  # fmt: skip
def test_terms_are_porter_stems(word, expected):
    assert term_of(word) == expected
