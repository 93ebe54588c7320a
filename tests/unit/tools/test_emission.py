"""What was probed is what LLaMA-Factory trains on: its own parser and template give the same token ids and labels."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from chat_files import write
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from prism.core.chat_rows import ChatEncoder
from prism.core.chat_templates import ChatForm
from prism.core.chats import read_chats
from prism.core.csv_files import write_table
from prism.core.errors import BadInput
from prism.core.files import sha256_file
from prism.core.splits import read_split
from prism.core.tokenizers import load_tokenizer
from prism.gradients.corpus import chat_facts
from prism.tools.route import route

TEMPLATES = Path(__file__).parents[1] / "templates"
CONTEXT = 4000
SYSTEM, USER = {"role": "system", "content": "act"}, {"role": "user", "content": "go to desk 1"}
ANSWER = {"role": "assistant", "content": "take mug 1"}
TOOLS = [{"type": "function", "function": {"name": "look", "description": "look around", "parameters": {}}}]


def call(place, **fields):
    return {"type": "function", **fields, "function": {"name": "look", "arguments": json.dumps({"place": place})}}


def result(text, identifier="c1"):
    return {"role": "tool", "content": text, "tool_call_id": identifier}


CALLING = {**ANSWER, "content": "", "tool_calls": [call("desk 1", id="c1")]}
PARALLEL = {**CALLING, "tool_calls": [call("desk 1", id="c1"), call("bed 2", id="c2")]}
THINKING = {**ANSWER, "reasoning_content": "the mug is on it"}
CASES = {
    "plain": {"messages": [SYSTEM, USER, ANSWER, USER, ANSWER]},
    "tools": {"messages": [USER, CALLING, result("a mug"), ANSWER], "tools": TOOLS},
    "text beside a call": {"messages": [USER, {**CALLING, "content": "look"}, result("a mug"), ANSWER], "tools": TOOLS},
    "parallel calls": {"messages": [USER, PARALLEL, result("a mug"), result("a bed", "c2"), ANSWER], "tools": TOOLS},
    "thoughts": {"messages": [USER, THINKING]},
    "thoughts of two turns": {"messages": [USER, THINKING, USER, {**THINKING, "content": "go to bed 1"}]},
    "thoughts before a call": {"messages": [USER, {**CALLING, "reasoning_content": "hm"}, result("a mug"), THINKING]},
    "system in the middle": {"messages": [USER, ANSWER, {**SYSTEM, "content": "look"}, USER, ANSWER]},
    "two prompts": {"messages": [USER, USER, ANSWER]},
    "weights": {"messages": [USER, {**ANSWER, "weight": 0}, USER, ANSWER, USER, {**ANSWER, "loss": 0}, USER, ANSWER]},
    "no loss at the end": {"messages": [USER, ANSWER, USER, {**ANSWER, "train": False}]},
}  # fmt: skip
# what Llama-3.1's template refuses
SINGLE = {"parallel calls"}


@pytest.fixture(scope="module")
def llamafactory(root):
    """LLaMA-Factory's parser, converter and processor of training data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(root / "prism" / "shims")  # LLaMA-Factory imports torchaudio
        yield pytest.importorskip("llamafactory.data.processor.supervised")


@pytest.fixture(scope="module", params=["qwen3", "llama3.1"])
def model(request, tmp_path_factory):
    """A model folder with a published chat template, and a tokenizer for which every byte is a token."""
    marks = {"qwen3": ["<|im_end|>", "<|im_start|>"], "llama3.1": ["<|eot_id|>", "<|begin_of_text|>"]}[request.param]
    tokenizer = Tokenizer(models.BPE({letter: n for n, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=marks[0], bos_token=marks[1], pad_token="<pad>"
    )
    fast.chat_template = (TEMPLATES / f"{request.param}.jinja").read_text()
    folder = tmp_path_factory.mktemp("models") / request.param
    fast.save_pretrained(folder)
    (folder / "config.json").write_text("{}")
    return folder


def scored(folder, model, records, form=None, loss_on="response"):
    """A corpus, and scores of it as `prism score` writes them, that rise from record to record."""
    data = write(folder / "my.jsonl", *records)
    facts = chat_facts(load_tokenizer(model), form or ChatForm(), CONTEXT, loss_on)
    head = [f"model: {model} sha256 0", f"data: {data}", f"data_sha256: {sha256_file(data)}",
            f"probe: float32, prompt format {facts['prompt_sha256']}", f"chats: {facts['chats']}"]  # fmt: skip
    scores = folder / "scores.csv"
    write_table(scores, head, ["id", "gini"], [[record["id"], float(rank)] for rank, record in enumerate(records)])
    return scores


def emit(folder, scores, name, to_rl=1):
    """Route the last `to_rl` records to RL, and write a half."""
    count = len(read_chats(folder / "my.jsonl"))
    route(scores, "gini", 100 * (1 - (count - to_rl - 0.5) / (count - 1)), folder / "split.csv", [name])
    return folder / name


def what_llamafactory_makes(folder, model, settings):
    """Token ids and labels of every row, by LLaMA-Factory's own code from the files to the tensors."""
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.data.processor.supervised import SupervisedDatasetProcessor
    from llamafactory.data.template import get_template_and_fix_tokenizer
    from llamafactory.hparams import DataArguments

    arguments = DataArguments(dataset_dir=str(folder), **settings)
    (attributes,) = get_dataset_list(arguments.dataset, arguments.dataset_dir)
    convert = get_dataset_converter(attributes.formatting, attributes, arguments)
    examples = [convert(record) for record in json.loads((folder / attributes.dataset_name).read_text())]
    tokenizer = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(tokenizer, arguments)
    processor = SupervisedDatasetProcessor(template, tokenizer, None, arguments)
    made = processor.preprocess_dataset({key: [one[key] for one in examples] for key in examples[0]})
    assert len(made["input_ids"]) == len(examples)
    return tokenizer, list(zip(made["input_ids"], made["labels"], strict=True))


@pytest.mark.parametrize("loss_on", ["response", "all"])
def test_the_tokens_and_labels_that_were_probed(tmp_path, llamafactory, model, loss_on):
    cases = {name: case for name, case in CASES.items() if model.name == "qwen3" or name not in SINGLE}
    records = [{"id": name, **case} for name, case in [*cases.items(), ("last", CASES["plain"])]]
    folder = emit(tmp_path, scored(tmp_path, model, records, loss_on=loss_on), "llamafactory")
    settings = yaml.safe_load((folder / "prism_sft.yaml").read_text())
    assert settings["template"] == "empty"
    assert settings["cutoff_len"] == CONTEXT
    _, made = what_llamafactory_makes(folder, model, settings)
    encoder = ChatEncoder(load_tokenizer(model), CONTEXT, loss_on=loss_on)
    rows = {chat.id: encoder.encode(chat) for chat in read_chats(tmp_path / "my.jsonl") if chat.id != "last"}
    emitted = json.loads((folder / "prism_sft.json").read_text())
    assert {name: sum(one["id"] == name for one in emitted) for name in cases} == {
        name: len(encoded.rows) for name, encoded in rows.items()
    }
    probed = [row for name in cases for row in rows[name].rows]
    assert [ids for ids, _ in made] == [row.input_ids for row in probed]
    assert [[label != -100 for label in labels] for _, labels in made] == [
        [bool(carries) for carries in row.response_mask] for row in probed
    ]
    assert all(label in (-100, token) for ids, labels in made for token, label in zip(ids, labels, strict=True))


def test_another_rendering_is_emitted_as_it_was_probed(tmp_path, llamafactory, model):
    form = ChatForm("{% for m in messages %}{{ day }} {{ m.content }} {% endfor %}", {"day": "bed 1"}, "2026-01-02")
    records = [{"id": name, **CASES["plain"]} for name in "ab"]
    folder = emit(tmp_path, scored(tmp_path, model, records, form), "llamafactory")
    settings = yaml.safe_load((folder / "prism_sft.yaml").read_text())
    _, ((ids, _),) = what_llamafactory_makes(folder, model, settings)
    encoder = ChatEncoder(load_tokenizer(model), CONTEXT, form)
    assert [ids] == [row.input_ids for row in encoder.encode(read_chats(tmp_path / "my.jsonl")[0]).rows]


def test_the_halves_of_a_random_split_are_emitted_as_they_were_probed_too(tmp_path, model):
    scores = scored(tmp_path, model, [{"id": name, **CASES["plain"]} for name in "abcd"])
    route(scores, "random-seed0", 50, tmp_path / "split.csv", ["llamafactory"])
    emitted = json.loads((tmp_path / "llamafactory/prism_sft.json").read_text())
    to_sft = {name for name, side in read_split(tmp_path / "split.csv").items() if side == "sft"}
    assert {one["id"] for one in emitted} == to_sft
    assert len(to_sft) == 2


def test_another_template_than_was_probed_is_refused(tmp_path, model):
    records = [{"id": name, **CASES["plain"]} for name in "ab"]
    scores = scored(tmp_path, model, records)
    text = scores.read_text()
    scores.write_text(text.replace('"date": ""', '"date": "2026-01-01"'))
    with pytest.raises(BadInput, match="rendered with another chat template than the model has"):
        emit(tmp_path, scores, "llamafactory")
    scores.write_text("".join(line for line in text.splitlines(True) if not line.startswith("# chats")))
    with pytest.raises(BadInput, match="does not say how its chats were rendered; probe and score the chats again"):
        emit(tmp_path, scores, "llamafactory")
    scores.write_text(text)
    records[0]["messages"] = [{**USER, "content": "look {{idx}}"}, ANSWER]
    with pytest.raises(BadInput, match=r"'a' holds '\{\{idx\}\}', which LLaMA-Factory replaces"):
        emit(tmp_path, scored(tmp_path, model, records), "llamafactory")


def test_a_chat_that_is_cut_is_said_to_be(tmp_path, model, capsys):
    long = [{**USER, "content": "look " * CONTEXT}, ANSWER]
    records = [{"id": "a", "messages": [USER, ANSWER, *long]}, {"id": "b", **CASES["plain"]}]
    emit(tmp_path, scored(tmp_path, model, records), "llamafactory")
    assert f"1 chats are longer than {CONTEXT} tokens; LLaMA-Factory cuts them its own way" in capsys.readouterr().err


def test_messages_keep_text_thoughts_and_calls(tmp_path, llamafactory, model):
    """As messages: under LLaMA-Factory's Qwen template every part is there, once, with arguments that are objects."""
    if model.name != "qwen3":
        pytest.skip("one family's template is enough")
    turn = {**PARALLEL, "content": "I look", "reasoning_content": "the mug is on it"}
    records = [{"id": name, "messages": [SYSTEM, USER, turn, result("a mug"), result("a bed", "c2"), ANSWER],
                "tools": TOOLS} for name in "ab"]  # fmt: skip
    folder = emit(tmp_path, scored(tmp_path, model, records), "llamafactory-messages")
    settings = {"dataset": "prism_sft", "template": "qwen3_nothink", "cutoff_len": CONTEXT}
    tokenizer, ((ids, labels),) = what_llamafactory_makes(folder, model, settings)
    calls = "\n".join(
        f'<tool_call>\n{{"name": "look", "arguments": {{"place": "{place}"}}}}\n</tool_call>'
        for place in ("desk 1", "bed 2")
    )
    spoken = tokenizer.decode([label for label in labels if label != -100])
    assert spoken == (
        f"<think>\nthe mug is on it\n</think>\n\nI look\n{calls}<|im_end|>\n"
        # LLaMA-Factory trains on the newline that Qwen's template writes after an end of turn; the model never says it
        "take mug 1<|im_end|>\n"
    )
    heard = "<tool_response>\na mug\n</tool_response>\n<tool_response>\na bed\n</tool_response>"
    assert heard in tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ("system in the middle", "has a system message that is not the first one"),
        ("two prompts", "does not alternate"),
        ("weights", "has answers without loss"),
    ],
)
def test_messages_that_llamafactory_cannot_express_are_refused(tmp_path, model, case, problem):
    records = [{"id": "a", **CASES[case]}, {"id": "b", **CASES["plain"]}]
    with pytest.raises(BadInput, match=rf"my\.jsonl:1: 'a' {problem}.*emit llamafactory: it keeps what was probed"):
        emit(tmp_path, scored(tmp_path, model, records), "llamafactory-messages")
    records[0]["messages"] = [USER, {**CALLING, "tool_calls": [{"function": {"name": "f", "arguments": "x"}}]}]
    with pytest.raises(BadInput, match="has a tool call whose arguments are no object"):
        emit(tmp_path, scored(tmp_path, model, records), "llamafactory-messages")


def test_verls_dataset_class_loads_the_prompts_and_their_tools(tmp_path, model):
    rl_dataset = pytest.importorskip("verl.utils.dataset.rl_dataset")
    from omegaconf import OmegaConf

    silent = [{**USER, "content": "be brief"}, {**ANSWER, "content": "ok", "weight": 0}]
    calling = {"id": "z", "messages": [SYSTEM, *silent, USER, CALLING, result("a mug"), CALLING], "tools": TOOLS}
    records = [{"id": "a", **CASES["plain"]}, {"id": "b", **CASES["plain"]}, calling]
    parquet = emit(tmp_path, scored(tmp_path, model, records), "verl", to_rl=2) / "prism_rl.parquet"
    config = OmegaConf.create({"cache_dir": str(tmp_path / "cache"), "max_prompt_length": CONTEXT})
    made = rl_dataset.RLHFDataset(str(parquet), load_tokenizer(model), config)
    assert len(made) == 2
    plain, tooled = made[0], made[1]
    assert tooled["raw_prompt"] == [SYSTEM, silent[0], {"role": "assistant", "content": "ok"}, USER]
    assert json.loads(tooled["extra_info"]["tools"]) == TOOLS
    assert plain["extra_info"]["tools"] == ""
    assert plain["reward_model"]["ground_truth"] == "take mug 1"
    assert json.loads(tooled["reward_model"]["ground_truth"]) == [{"name": "look", "arguments": {"place": "desk 1"}}]
    whole = json.loads(tooled["extra_info"]["trajectory"])
    assert whole[4]["tool_calls"][0]["id"] == whole[5]["tool_call_id"] == "c1"
    assert pq.read_table(parquet).column("prompt").to_pylist()[0] == [SYSTEM, USER]


def test_prompts_that_verl_cannot_hold_are_refused(tmp_path, model):
    silent = [USER, {**CALLING, "weight": 0}, result("a mug"), {**ANSWER, "weight": 0}]
    records = [{"id": "a", **CASES["plain"]}, {"id": "b", "messages": [*silent, USER, ANSWER]}]
    with pytest.raises(BadInput, match="the prompt of 'b' holds tool calls or thoughts"):
        emit(tmp_path, scored(tmp_path, model, records), "verl")
