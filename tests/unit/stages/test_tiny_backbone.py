from __future__ import annotations

import dataclasses
import os
import random
from pathlib import Path
from string import ascii_lowercase

import pytest
from toy_corpus import FORM, SHAPE, toy_corpus, toy_trajectory

from prism.core.errors import BadInput
from prism.core.files import read_json, sha256_file
from prism.core.prompts import PromptEncoder, parse_reply, render_response
from prism.core.tiny import CONTEXT_LENGTH, FAMILIES, build_tokenizer, find_family
from prism.core.trajectories import read_trajectories, write_trajectories
from prism.environments import load_data
from prism.environments.webshop import rewards
from prism.environments.webshop.data import StoreRecipe, WebshopTrajectoriesRecipe, WebshopTranscriptsRecipe
from prism.environments.webshop.environment import GoalSplit
from prism.environments.webshop.generator import CatalogRecipe
from prism.stages import tiny_backbone as backbones
from prism.stages.games import make_catalog, make_games
from prism.stages.trajectories import CorpusFiles, collect_trajectories, collect_transcripts

SHIPPED = Path(__file__).parents[3] / "resources" / "backbones"
RECIPE = backbones.BackboneRecipe(
    prompts={"alfworld": FORM},
    shape=SHAPE,
    epochs=2,
    batch_tokens=512,
    learning_rate=1e-2,
    warmup_ratio=0.1,
    weight_decay=0.01,
    prompt_weight=0.3,
    max_grad_norm=1.0,
    seed=0,
    threads=1,
)


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def family(request):
    return find_family(request.param)


@pytest.fixture(scope="module")
def tokenizer(family):
    return backbones.build_benchmark_tokenizer(family)


def test_chat_tokens_are_the_familys_own(family, tokenizer):
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "look"}], add_generation_prompt=True, tokenize=False
    )
    expected = {
        "qwen3": "<|im_start|>user\nlook<|im_end|>\n<|im_start|>assistant\n",
        "llama3": (
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nlook<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n"
        ),
    }
    assert text == expected[family.name]
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    chat_ids = set(tokenizer.convert_tokens_to_ids(list(family.chat_tokens)))
    assert sum(token in chat_ids for token in ids) == text.count("<|")


def test_a_reply_is_read_back_as_it_was_written(family, tokenizer):
    response = render_response("Mug 1 is here, take it.", "take mug 1 from desk 2")
    (ids,) = PromptEncoder(tokenizer, FORM).encode_responses([response])
    # one token a word, a number, a punctuation mark, a tag; and the end of the turn
    assert len(ids) == 8 + 4 + 6 + 1
    assert ids[-1] == tokenizer.convert_tokens_to_ids(family.eos)
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert text == "<think> mug 1 is here , take it . </think> <action> take mug 1 from desk 2 </action>"


def test_vocabulary_is_small_and_the_same_every_time(family, tokenizer):
    words = load_data("alfworld").words() | load_data("webshop").words()
    again = build_tokenizer(family, sorted(words, reverse=True))
    assert again.get_vocab() == tokenizer.get_vocab()
    assert len(tokenizer) < 900


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("click[x-large]", ["click", "[", "x", "-", "large", "]"]),
        ("click[8 ounce (pack of 1)]", ["click", "[", "8", "ounce", "(", "pack", "of", "1", ")", "]"]),
        ("click[b000004217]", ["click", "[", "b0000042", "##17", "]"]),
        ("click[< prev]", ["click", "[", "<", "prev", "]"]),
        ("search[salt & vinegar chips]", ["search", "[", "salt", "&", "vinegar", "chips", "]"]),
        # a word that the vocabulary lacks is spelled, and comes back whole
        ("search[zither]", ["search", "[", "z", "##i", "##t", "##h", "##e", "##r", "]"]),
    ],
)
def test_actions_of_the_store_are_read_back_as_they_are_written(tokenizer, text, tokens):
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == tokens
    assert tokenizer.decode(ids) == text


def test_vocabulary_covers_the_generated_store(tokenizer, tmp_path, monkeypatch):
    """Every page, instruction and thought of random and expert play in a catalog with all kinds of products."""
    pytest.importorskip("thefuzz")
    monkeypatch.setattr(rewards, "nouns", lambda title: tuple(title.lower().split()))
    make_catalog("webshop", tmp_path / "catalog", CatalogRecipe(products=200, seed=7))
    make_games("webshop", tmp_path / "catalog", tmp_path / "store", StoreRecipe(seed=7))
    split = GoalSplit(test=10, dev=0)
    collect_transcripts(
        "webshop", tmp_path / "store", tmp_path / "random.jsonl", WebshopTranscriptsRecipe("human", 100, 1, 8, 0, split)
    )
    collect_trajectories(
        "webshop",
        tmp_path / "store", CorpusFiles(tmp_path / "expert.jsonl", tmp_path / "m.json"),
        WebshopTrajectoriesRecipe("human", 8, 0, 100, split),
    )  # fmt: skip
    form = dataclasses.replace(FORM, context_length=512)
    for name in ("random", "expert"):
        corpus = read_trajectories(tmp_path / f"{name}.jsonl")
        assert backbones.unknown_words(corpus, tokenizer) == []
        assert backbones.encode_corpus(corpus, tokenizer, form, name)
    replies = [render_response(step.thought, step.action) for trajectory in corpus for step in trajectory.steps]
    read_back = [parse_reply(tokenizer.decode(tokenizer(reply)["input_ids"])).action for reply in replies]
    assert read_back == [step.action for trajectory in corpus for step in trajectory.steps]


def test_vocabulary_covers_what_alfworld_says(tokenizer):
    """Every object, receptacle and goal template of the package, and the engine's grammar."""
    from alfworld.gen import constants
    from alfworld.gen.goal_library import gdict

    texts = [template for goal in gdict.values() for template in goal["templates"]]
    texts = [template.format(obj="mug", recep="desk", toggle="desklamp", mrecep="bowl") for template in texts]
    texts += sorted(constants.OBJECTS_SET | set(constants.RECEPTACLES))
    texts += ["You are carrying: a mug 1.", "There's nothing special about mug 1.", "Nothing happens."]
    # "put all mugs" is a goal that neither ALFRED nor ALFWorld asks for
    texts = [text for text in texts if "mugs" not in text]
    spelled = {tokenizer.unk_token_id, *tokenizer.convert_tokens_to_ids([f"##{letter}" for letter in ascii_lowercase])}
    assert not [text for text in texts if spelled & set(tokenizer(text)["input_ids"])]


@pytest.mark.demo
def test_vocabulary_covers_the_demo_corpus(tokenizer):
    """PRISM_CORPUS names another corpus than the demo's."""
    built = Path(__file__).parents[3] / "results" / "demo" / "data" / "alfworld" / "trajectories.jsonl"
    path = Path(os.environ.get("PRISM_CORPUS", built))
    if not path.exists():
        pytest.skip(f"{path} was not built")
    assert backbones.unknown_words(read_trajectories(path), tokenizer) == []


def test_unknown_words_are_named(tokenizer, tmp_path):
    first, *others = toy_corpus(3)
    strange = dataclasses.replace(first, task="put a theremin in desk.")
    assert backbones.unknown_words([strange, *others], tokenizer) == ["theremin"]
    with pytest.raises(BadInput, match="theremin"):
        backbones.encode_corpus([strange], tokenizer, FORM, "corpus.jsonl")


def test_a_corpus_that_does_not_fit_the_context_is_refused(tokenizer):
    short = dataclasses.replace(FORM, context_length=40)
    with pytest.raises(BadInput, match="does not fit the context"):
        backbones.encode_corpus(toy_corpus(1), tokenizer, short, "corpus.jsonl")


def test_conversations_are_read_whole_up_to_the_models_positions(tokenizer):
    corpus = [toy_trajectory(1, 3), toy_trajectory(2, 60)]
    short, long = backbones.encode_corpus(corpus, tokenizer, FORM, "toy", "conversation")
    assert short == PromptEncoder(tokenizer, FORM).encode_trajectory(corpus[0], "conversation").rows[0]
    assert len(long.input_ids) == CONTEXT_LENGTH


def test_both_layouts_are_trained_on(tmp_path):
    corpus = toy_corpus(6)
    write_trajectories(tmp_path / "corpus.jsonl", corpus)
    recipe = dataclasses.replace(RECIPE, epochs=1, layouts=("steps", "conversation"))
    backbones.train_tiny_backbone(recipe, "llama3", [tmp_path / "corpus.jsonl"], tmp_path / "out")
    rows = read_json(tmp_path / "out" / "provenance.json")["corpus_rows"]
    assert rows == sum(len(trajectory.steps) for trajectory in corpus) + len(corpus)


def test_a_benchmark_without_a_prompt_format_is_refused(tmp_path):
    corpus = [dataclasses.replace(trajectory, benchmark="webshop") for trajectory in toy_corpus(1)]
    write_trajectories(tmp_path / "corpus.jsonl", corpus)
    with pytest.raises(BadInput, match="has no format for webshop"):
        backbones.train_tiny_backbone(RECIPE, "qwen3", [tmp_path / "corpus.jsonl"], tmp_path / "out")


def test_games_of_the_panels_are_refused(tmp_path):
    corpus = [dataclasses.replace(trajectory, game="seen/1") for trajectory in toy_corpus(1)]
    write_trajectories(tmp_path / "corpus.jsonl", corpus)
    with pytest.raises(BadInput, match="seen/1 is not a training game"):
        backbones.train_tiny_backbone(RECIPE, "qwen3", [tmp_path / "corpus.jsonl"], tmp_path / "out")


def test_batches_hold_every_row_once_within_the_budget():
    tokenizer = build_tokenizer(find_family("qwen3"), load_data("alfworld").words())
    rows = backbones.encode_corpus(toy_corpus(30), tokenizer, FORM, "toy")
    batches = backbones.make_batches(rows, 300, random.Random(1))
    assert sorted(index for batch in batches for index in batch) == list(range(len(rows)))
    for batch in batches:
        lengths = [len(rows[index].input_ids) for index in batch]
        assert len(batch) == 1 or max(lengths) * len(batch) <= 300
    assert batches != backbones.make_batches(rows, 300, random.Random(2))


def test_pretraining_learns_and_repeats_byte_for_byte(tmp_path, capsys):
    write_trajectories(tmp_path / "corpus.jsonl", toy_corpus(20))
    for name in ("a", "b"):
        backbones.train_tiny_backbone(RECIPE, "llama3", [tmp_path / "corpus.jsonl"], tmp_path / name)
    weights = [sha256_file(tmp_path / name / "model.safetensors") for name in ("a", "b")]
    assert weights[0] == weights[1]
    provenance = read_json(tmp_path / "a" / "provenance.json")
    assert provenance["weights_sha256"] == weights[0]
    assert provenance["corpus_sha256"] == [sha256_file(tmp_path / "corpus.jsonl")]
    assert list(backbones.check_shipped_backbone(tmp_path / "a")) == []
    (last, _) = [line for line in capsys.readouterr().err.splitlines() if "response loss" in line]
    # the mean over the run; a random model starts at ln(865) = 6.8
    assert float(last.rsplit(" ", 1)[1]) < 5.9


def test_a_changed_backbone_does_not_pass_its_check(tmp_path):
    write_trajectories(tmp_path / "corpus.jsonl", toy_corpus(4))
    recipe = dataclasses.replace(RECIPE, epochs=1)
    backbones.train_tiny_backbone(recipe, "qwen3", [tmp_path / "corpus.jsonl"], tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"intermediate_size": 48', '"intermediate_size": 64'))
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert {"config key intermediate_size", "weights"} <= set(backbones.check_shipped_backbone(tmp_path / "model"))


@pytest.mark.parametrize("name", ["tiny-qwen3", "tiny-llama"])
def test_shipped_backbones_are_what_their_recipe_says(name):
    """Config, vocabulary, hash of the weights; `make backbones` trains them again."""
    folder = SHIPPED / name
    assert list(backbones.check_shipped_backbone(folder)) == []
    provenance = read_json(folder / "provenance.json")
    assert [len(digest) for digest in provenance["corpus_sha256"]] == [64, 64]
    assert (folder / "model.safetensors").stat().st_size < 2_000_000
