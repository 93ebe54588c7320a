"""`prism check-plan`: every command of a plan, checked before anything is submitted.

A dry run of Snakemake says which commands a target needs. Each is parsed by the command line without running it; its
recipe is built; and what it would hand on is checked by those who get it: an SFT's YAML by LLaMA-Factory's own parser,
an RL run's overrides by Hydra against verl's config tree and by verl's dataclasses. The batch arithmetic is asserted.
Nothing here needs a GPU, a model or data.
"""

from __future__ import annotations

import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prism.core.errors import BadInput, first_line
from prism.core.progress import say
from prism.core.recipes import build_recipe
from prism.environments import load, load_data
from prism.rl.command import RunPaths, verl_overrides
from prism.rl.recipe import RlRecipe
from prism.stages.sft import SftRecipe, llamafactory_arguments
from prism.tools.snakemake_plan import Job, Settings, planned_jobs

_PROGRAM = ["python", "-m", "prism"]
# the group of the commands that rules alone call
_STAGE = "stage"
# tasks of a run whose number is not known before its split exists; more than any step takes
MANY_TASKS = 3000

# what the JSON of a command's option becomes; the recipes of data stages are the benchmark's own
RECIPES = {
    ("probe", "recipe"): "prism.stages.probe:ProbeRecipe",
    ("sft", "recipe"): "prism.stages.sft:SftRecipe",
    ("rl", "recipe"): "prism.rl.recipe:RlRecipe",
    ("evaluate", "recipe"): "prism.stages.evaluate:EvaluationRecipe",
    ("pass-rates", "recipe"): "prism.stages.pass_rates:PassRatesRecipe",
    ("prompt-lengths", "recipe"): "prism.core.prompts:PromptFormat",
    ("measure-memory", "recipe"): "prism.stages.memory:ProbeRecipe",
    ("score", "recipe"): "prism.stages.scores:ScoresRecipe",
    ("consensus", "recipe"): "prism.stages.scores:ScoresRecipe",
    ("compare-probes", "recipe"): "prism.stages.scores:ScoresRecipe",
    ("cells", "row"): "prism.stages.cells:CellRecipe",
    ("timing-cells", "row"): "prism.stages.cells:CellRecipe",
    ("timing-cells", "files"): "prism.stages.timings:TimingFiles",
    ("claims", "recipe"): "prism.stages.comparison:ComparisonRecipe",
    ("decision", "recipe"): "prism.core.decisions:DecisionRecipe",
    ("study-table", "settings"): "prism.core.study_tables:StudySettings",
    ("figure", "settings"): "prism.core.figures:FigureSettings",
}
# JSON that is written down as it is
RECORDED = {("crate", "config"), ("index-page", "shown"), ("probe", "chat_template_kwargs")}


@dataclass(frozen=True)
class Command:
    """One prism command of a plan: its name and arguments."""

    name: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(["prism", self.name, *self.arguments])


def check_plan(targets: Sequence[str], settings: Settings, command_line: Any) -> Counter[str]:
    """Check every command that a target needs, done or not; returns how many commands of each kind there are.

    Args:
        targets: files or rules, as Snakemake is given them.
        settings: profile and overlays of the plan.
        command_line: prism's own command line, as typer's group of commands.

    Raises:
        BadInput: the target cannot be planned, or a command would be refused; names it.
    """
    commands = planned_commands(planned_jobs(targets, settings.options, everything=True))
    counts = check_commands(commands, command_line)
    say(f"{len(commands)} commands are sound: " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return counts


def planned_commands(jobs: Iterable[Job]) -> list[Command]:
    """The distinct commands of a plan, in its order.

    Raises:
        BadInput: a command is not a prism command: nothing would check it.
    """
    commands: dict[Command, None] = {}
    for job in jobs:
        # a rule that only gathers files, such as `all`, has none
        for part in _split_commands(shlex.split(job.command)) if job.command else ():
            words = [word for word in part if not re.fullmatch(r"[A-Z_]+=.*", word)]
            if words[:3] != _PROGRAM:
                raise BadInput("plan", f"{shlex.join(words)[:100]!r} is not a prism command", "write rules with prism")
            name, *arguments = words[4:] if words[3:4] == [_STAGE] else words[3:]
            commands[Command(name, tuple(arguments))] = None
    return list(commands)


def _split_commands(words: Sequence[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        if word in ("&&", ";"):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def check_commands(commands: Iterable[Command], command_line: Any) -> Counter[str]:
    """Check each command; what only differs in seed or paths is handed to the others' parsers once.

    Raises:
        BadInput: the first command that would be refused.
    """
    counts: Counter[str] = Counter()
    seen: set[tuple[str, str, str, str, str]] = set()
    for command in commands:
        counts[command.name] += 1
        options = dict(parse(command, command_line))
        machine = options.pop("machine", "{}")
        for option, text in options.items():
            settings = (command.name, option, text, machine, options.get("benchmark", ""))
            if isinstance(text, str) and text.startswith("{") and settings not in seen:
                seen.add(settings)
                _check_recipe(*settings)
    return counts


def _check_recipe(name: str, option: str, text: str, machine: str, benchmark: str) -> None:
    """Build the recipe that a command is given as JSON, and hand it to the library that will get it."""
    argument = f"{name} --{option}"
    if (name, option) in RECORDED:
        return
    kind = load(RECIPES[name, option]) if (name, option) in RECIPES else None
    if benchmark and kind is None:
        kind = load_data(benchmark, name).recipes.get(name)
    if kind is None:
        raise BadInput(argument, "is JSON that nothing checks", "add it to prism.tools.check_plan")
    recipe = build_recipe(kind, text, argument, machine)
    if name in CHECKERS:
        CHECKERS[name](recipe)


def parse(command: Command, command_line: Any) -> Mapping[str, Any]:
    """A command's options as the command line understands them; nothing is run.

    Raises:
        BadInput: no such command, or an option that it refuses.
    """
    # no two commands share a name
    people = command_line.commands
    parser = {**people[_STAGE].commands, **people}.get(command.name)
    if parser is None:
        raise BadInput(str(command)[:120], "is no command of prism", "see prism --help")
    try:
        return parser.make_context(command.name, list(command.arguments)).params
    except Exception as error:
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        raise BadInput(str(command)[:120], message.rstrip("."), f"see prism {command.name} --help") from error


def check_sft(recipe: SftRecipe) -> None:
    """An SFT's YAML, through LLaMA-Factory's own parser.

    The parser looks for GPUs: the YAML is parsed without ``deepspeed`` and ``bf16``, on the CPU. The names of the
    DeepSpeed keys are checked by the config's schema.
    """
    from llamafactory.hparams import get_train_args

    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        arguments = llamafactory_arguments(recipe, 0, here / "model", here)
        arguments = {key: value for key, value in arguments.items() if key not in ("deepspeed", "bf16")}
        try:
            get_train_args({**arguments, "use_cpu": True})
        except (ValueError, TypeError, OSError) as error:
            raise BadInput(
                "sft", f"LLaMA-Factory refuses its settings: {first_line(error)}", "mend config sft"
            ) from error


def check_rl(recipe: RlRecipe) -> None:
    """The overrides of an RL run, composed by Hydra against verl's config tree and converted to verl's dataclasses."""
    recipe.check_batches()
    paths = RunPaths(Path("/run/model"), Path("/run/work"), Path("/run/ray"))
    config = compose_verl(verl_overrides(recipe, paths, MANY_TASKS, recipe.training_steps(MANY_TASKS, MANY_TASKS), 0))
    convert_verl(config)


def compose_verl(overrides: Sequence[str]) -> Any:
    """verl's config with overrides, composed by Hydra from the installed verl's own config tree.

    Raises:
        BadInput: Hydra refuses an override: a key is misspelt, or a value cannot be read.
    """
    import verl
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    tree = str(Path(verl.__file__).parent / "trainer" / "config")
    of_hydra_itself = [override for override in overrides if override.startswith("hydra.")]
    try:
        with initialize_config_dir(tree, version_base=None):
            return compose("ppo_trainer", [override for override in overrides if override not in of_hydra_itself])
    except HydraException as error:
        raise BadInput("rl", f"verl refuses its settings: {first_line(error)}", "mend the override") from error


def convert_verl(config: Any) -> dict[str, Any]:
    """The parts of verl's config that have a dataclass, as such; their own checks run.

    Raises:
        BadInput: a part is refused.
    """
    from hydra.errors import InstantiationException
    from omegaconf import OmegaConf
    from verl.utils.config import omega_conf_to_dataclass

    parts = ("actor_rollout_ref.actor", "actor_rollout_ref.rollout", "algorithm")
    converted = {}
    for path in parts:
        part = OmegaConf.select(config, path)
        try:
            converted[path] = omega_conf_to_dataclass(part)
        except (InstantiationException, TypeError, ValueError, AssertionError, NotImplementedError) as error:
            raise BadInput("rl", f"verl refuses {path}: {first_line(error)}", "mend the override") from error
    return converted


CHECKERS: dict[str, Callable[[Any], None]] = {"sft": check_sft, "rl": check_rl}
