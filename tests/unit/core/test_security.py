"""What the code must never do, read off its syntax trees; hostile names in commands; a run without a network."""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("prism", "scripts", "benchmarks")
# modules that unpickle, or run what they read
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
UNSAFE_CALLS = {
    "eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all",
    "pd.read_pickle", "pandas.read_pickle", "torch.load", "tempfile.mktemp",
}  # fmt: skip
EXTRACTORS = {"extractall", "unpack_archive"}
NETWORK_MODULES = {"requests", "httpx", "aiohttp", "huggingface_hub", "ftplib"}
# what downloads, and only when it is asked to: the fetch rules' stages and `prism probe --model ID --data ID`
NETWORK_FILES = {
    "prism/stages/fetch.py",
    "prism/stages/backbone.py",
    "prism/gradients/models.py",
    "prism/core/data_source.py",
}


def trees(root: Path) -> Iterator[tuple[str, ast.AST]]:
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def violations(place: str, tree: ast.AST) -> list[str]:
    """Everything in one file that must not be there."""
    found = [f"{place}: imports {name}" for name in imported(tree) if name in UNSAFE_MODULES]
    for name, call in calls(tree):
        where = f"{place}:{call.lineno}: {name}"
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in UNSAFE_CALLS and not (name == "torch.load" and keywords.get("weights_only") == "True"):
            found.append(where)
        if name.split(".")[-1] in EXTRACTORS:
            found.append(where)
        if keywords.get("trust_remote_code", "False") != "False":
            found.append(f"{where} trusts remote code")
        if keywords.get("shell", "False") != "False":
            found.append(f"{where} starts a shell")
        if keywords.get("allow_pickle", "False") != "False":
            found.append(f"{where} allows pickles")
        # jinja2's Environment, whatever it is imported as: escaping is off unless it is asked for
        if name in ("Environment", "Templates", "jinja2.Environment", "Template") and "loader" in keywords:
            found += [] if "autoescape" in keywords else [f"{where} does not escape"]
    return found


def test_nothing_unsafe_in_the_tree(root):
    files = list(trees(root))
    assert len(files) > 80
    assert [violation for place, tree in files for violation in violations(place, tree)] == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load('x')",
        "import yaml\nyaml.load(text)",
        "AutoModel.from_pretrained('x', trust_remote_code=True)",
        "subprocess.run('ls ' + name, shell=True)",
        "archive.extractall(folder)",
        "np.load('x', allow_pickle=True)",
        "Environment(loader=loader)",
        "eval(text)",
    ],
)
def test_the_check_sees_each_of_them(code):
    assert violations("x.py", ast.parse(code))


def test_only_the_fetching_stages_know_a_network(root):
    knowing = {
        place for place, tree in trees(root) if place.startswith("prism/") and NETWORK_MODULES & set(imported(tree))
    }
    assert knowing <= NETWORK_FILES


def test_templates_do_not_switch_escaping_off(root):
    for path in (root / "prism").rglob("*.jinja"):
        text = path.read_text()
        assert "autoescape false" not in text, path


HOSTILE = "mine $(touch pwned); touch pwned 'a\" & b.jsonl"


def test_no_path_reaches_the_shell_unquoted(root, tmp_path):
    """Every command of a plan is read as a shell would: a hostile path is one word, and nothing follows from it."""
    record = {
        "id": "a", "benchmark": "alfworld", "game": "train/a/game.tw-pddl", "task": "t", "task_type": "pick",
        "expert": "e", "success": True,
        "steps": [{"observation": "o", "admissible": [], "thought": "", "action": "look"}],
    }  # fmt: skip
    corpus, data, model = (tmp_path / f"{name} {HOSTILE}" for name in ("corpus", "data", "model"))
    corpus.write_text(json.dumps(record) + "\n")
    data.mkdir()
    model.mkdir()
    override = tmp_path / "hostile.yaml"
    override.write_text(
        json.dumps(
            {
                "results": "results/hostile",
                "benchmarks": {
                    "alfworld": {"source": "dataset", "data_dir": str(data), "trajectories_file": str(corpus)}
                },
                "backbones": {"tiny-qwen3": {"location": str(model)}},
            }
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "-p", "--nolock", "--cores", "1", "--configfile", override, "--",
         "results/hostile/tables/table1.csv"],
        cwd=root, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    commands = [line for line in (done.stdout + done.stderr).splitlines() if "python -m prism" in line]
    assert len(commands) > 10
    words = [word for command in commands for word in split_as_shell(command)]
    for path in (corpus, data, model):
        assert str(path) in words, path
    assert [word for word in words if "pwned" in word and word not in map(str, (corpus, data, model))] == []


def split_as_shell(command: str) -> list[str]:
    """Words and operators of a command line."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


NO_NETWORK = """
import os, socket
def refuse(*arguments, **keywords):
    with open(os.environ["NETWORK_LOG"], "a") as log:
        log.write(repr(arguments) + "\\n")
    raise OSError(101, "the network is denied")
connect = socket.socket.connect
def connect_locally(self, address):
    return connect(self, address) if self.family == socket.AF_UNIX else refuse(address)
socket.socket.connect = connect_locally
socket.getaddrinfo = refuse
"""


def test_the_stages_run_without_a_network(root, tmp_path):
    """Import, probe, score, route, audit: nobody asks for an address. No offline switch is set."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_NETWORK)
    log = tmp_path / "network.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    environment |= {"PYTHONPATH": str(tmp_path / "site"), "NETWORK_LOG": str(log)}
    chats = tmp_path / "chats.jsonl"
    sizes = (("a", 1), ("b", 2))
    turns = [{"role": "user", "content": "now"}, {"role": "assistant", "content": "look"}]
    chats.write_text("".join(json.dumps({"id": name, "messages": turns * count}) + "\n" for name, count in sizes))
    chain = [
        ["probe", "--model", "resources/backbones/tiny-qwen3", "--data", chats, "--out", tmp_path / "n.parquet"],
        ["score", tmp_path / "n.parquet", "--out", tmp_path / "scores.csv"],
        ["route", tmp_path / "scores.csv", "--out", tmp_path / "split.csv", "--emit", "llamafactory,verl"],
    ]
    for command in chain:
        done = subprocess.run(
            [sys.executable, "-m", "prism", *map(str, command)],
            cwd=root, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "split.csv").exists()
    assert not log.exists(), log.read_text()


def test_the_denied_network_is_really_denied(tmp_path):
    """The guard of the test above catches an attempt."""
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    log = tmp_path / "network.log"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NETWORK_LOG": str(log)}
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert log.exists()
