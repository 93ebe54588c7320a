"""Every command that the documentation, a file's head or a message prints works as it stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from snakemake.cli import get_argument_parser
from snakemake_plan import run_snakemake
from typer.main import get_command

from prism.cli import app

ROOT = Path(__file__).parents[2]
# what stands for something of the reader's own
STAND_INS = {
    "TARGET": "results/demo/tables/table1.csv",
    "/repo/Snakefile": str(ROOT / "Snakefile"),
    # the figure that CONTRIBUTING adds; tests/rules/test_contributing.py draws it
    "results/demo/figures/magnitude.svg": "results/demo/figures/figure1.svg",
    "results/records/figures/magnitude.svg": "results/records/figures/figure1.svg",
}
# what the text around the commands puts into overlays of the reader's own
OVERLAYS = {
    "smallest.yaml": "results: results/gpu-smallest\ntables: {table1: {backbones: [Qwen3-0.6B]}}\n",
    "fresh.yaml": "results: results/fresh\n",
    "mine.yaml": "methods: {mine: {sft: cv-low70, rl: cv-high30, algorithm: grpo}}\n",
}
# these do not plan, or need a folder, images or conda environments; their options are parsed
NOT_PLANNED = {"--unlock", "--report", "--archive", "--touch", "--lint", "--directory", "--sdm"}


def printed() -> Iterator[tuple[str, str]]:
    """Commands with the file that prints them: code of Markdown files, heads of other files, words of messages."""
    for path in sorted(ROOT.glob("**/*.md")):
        if path.relative_to(ROOT).parts[0] in (".venv", "results", "site", ".snakemake", "node_modules"):
            continue
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
        spans = re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        for line in [*lines, *(" ".join(span.split()) for span in spans)]:
            yield from ((str(path.relative_to(ROOT)), command) for command in commands_of(line))
    for pattern in ("Snakefile", "*.smk", "rules/**/*.smk", "config/*.yaml", "slurm/*", "profiles/*/*.yaml"):
        for path in sorted(ROOT.glob(pattern)):
            for line in re.findall(r"^# +((?:snakemake|prism) .*)", path.read_text(encoding="utf-8"), re.MULTILINE):
                # in a sentence the command ends where a colon or a wide gap does
                command = re.split(r"  +|: |:$", line)[0]
                yield from ((str(path.relative_to(ROOT)), found) for found in commands_of(command))
    for path in sorted((ROOT / "prism").rglob("*.py")):
        for span in re.findall(r"`([^`\n]+)`|build it: ([^\"]+)\"", path.read_text(encoding="utf-8")):
            yield from ((str(path.relative_to(ROOT)), command) for command in commands_of("".join(span)))


def commands_of(line: str) -> list[str]:
    """The commands of ours in a line of a shell."""
    parts = re.split(r" && |; | \| ", line.split(" # ")[0].split("  #")[0].strip().removeprefix("$ "))
    found = [re.fullmatch(r"(?:\w+=\S+ )*(?:\.venv/bin/)?((?:snakemake|prism) .+)", part.strip()) for part in parts]
    return [match[1] for match in found if match]


COMMANDS = sorted({(command, place) for place, command in printed() if "{" not in command and "…" not in command})
# a number of cores and the wish for a plan make no other plan
SNAKEMAKE = {
    re.sub(r" --cores 2\b| -n\b", "", command): place for command, place in COMMANDS if command.startswith("snakemake ")
}
PRISM = {command: place for command, place in COMMANDS if command.startswith("prism ")}


def test_the_commands_are_found():
    places = {place for _, place in COMMANDS}
    assert places >= {"README.md", "config/README.md", "docs/cluster.md", "docs/containers.md", "Snakefile"}
    assert len(SNAKEMAKE) > 10
    assert len(PRISM) > 20


@pytest.mark.parametrize("command", SNAKEMAKE)
def test_a_printed_command_of_snakemake_can_be_planned(root, tmp_path, command):
    words = [STAND_INS.get(word, word) for word in shlex.split(command)[1:]]
    for number, word in enumerate(words):
        # an overlay of the reader's own
        if word.endswith(".yaml") and "=" not in word and not (root / word).exists():
            (tmp_path / Path(word).name).write_text(OVERLAYS.get(word, "{}\n"))
            words[number] = str(tmp_path / Path(word).name)
    get_argument_parser().parse_args(words)
    if NOT_PLANNED & {word.split("=")[0] for word in words}:
        return
    result = run_snakemake(root, "--dry-run", "--quiet", "rules", "--nolock", *words)
    assert result.returncode == 0, f"{SNAKEMAKE[command]}: {result.stderr[-1500:]}"


@pytest.mark.parametrize("command", PRISM)
def test_a_printed_command_of_prism_has_these_options(command):
    words = shlex.split(command)[1:]
    found = get_command(app)
    while words and hasattr(found, "commands"):
        name = words.pop(0)
        if name.startswith("-") or name.endswith("..."):
            return
        assert name in found.commands, f"{PRISM[command]}: prism has no command {name!r}"
        found = found.commands[name]
    known = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "-h"}
    options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert options <= known, f"{PRISM[command]}: {sorted(options - known)} are no options of it"
