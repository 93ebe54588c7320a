"""`prism plan`: what a target will cost, as a table and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import yaml

from prism.core.errors import BadInput
from prism.core.files import atomic_path
from prism.core.progress import say
from prism.core.results import Results
from prism.tools.plan.cards import print_card_lines, write_card_lines
from prism.tools.plan.costs import GPUS_PER_NODE, Cost, CostModel, gpu_hours, least_hours
from prism.tools.plan.one_gpu import OneGpuModel, card_lines
from prism.tools.plan.power import PowerAssumptions, power_sentence, print_power
from prism.tools.snakemake_plan import BASE_CONFIG, ONE_GPU, Job, Settings, ancestors, planned_jobs

ASSUMPTIONS = Path("resources/plan/assumptions.yaml")
CLUSTER_SIZES = (1, 2, 4)
STAGE_ORDER = ("probe", "probe_variant", "pass_rates", "sft", "rl", "evaluate")


@dataclass(frozen=True)
class Line:
    """One line of a plan: the cost of a set of jobs.

    Attributes:
        kind: ``total``, ``rule``, ``table``, ``figure`` or ``cell``.
        name: which one.
        jobs: number of jobs.
        gpu_hours: GPUs times hours, summed.
        least_hours_1_node: hours that it takes at least on one node of eight GPUs; a table, figure or cell is built
            alone.
        least_hours_2_nodes: on two.
        least_hours_4_nodes: on four.
        storage_gb: what stays on disk.
        energy_kwh: electricity.
        co2_kg: CO2.
        measured: share of the GPU-hours that rests on benchmark files.
        from_table3: share of the GPU-hours that the paper's Table 3 states.
    """

    kind: str
    name: str
    jobs: int
    gpu_hours: float
    least_hours_1_node: float
    least_hours_2_nodes: float
    least_hours_4_nodes: float
    storage_gb: float
    energy_kwh: float
    co2_kg: float
    measured: float
    from_table3: float


@dataclass(frozen=True)
class Plan:
    """Jobs, their costs, and the model that energy comes from."""

    jobs: list[Job]
    costs: dict[int, Cost]
    model: CostModel

    def line(self, kind: str, name: str, jobs: Sequence[Job]) -> Line:
        """The line of some of the jobs."""
        hours = gpu_hours(jobs, self.costs)
        by_basis = {
            basis: gpu_hours([job for job in jobs if self.costs[job.id].basis == basis], self.costs)
            for basis in ("measured", "table 3")
        }
        return Line(
            kind,
            name,
            len(jobs),
            hours,
            *(least_hours(jobs, self.costs, nodes) for nodes in CLUSTER_SIZES),
            sum(self.costs[job.id].storage_gb for job in jobs),
            self.model.energy_kwh(hours),
            self.model.co2_kg(hours),
            *(part / hours if hours else 0.0 for part in by_basis.values()),
        )

    def lines(self) -> Iterator[Line]:
        """The whole target, its rules, and each table, figure and cell in it as if built alone."""
        yield self.line("total", "all jobs", self.jobs)
        for rule in sorted({job.rule for job in self.jobs}, key=_stage_rank):
            yield self.line("rule", rule, [job for job in self.jobs if job.rule == rule])
        for kind in ("table", "figure", "cell"):
            yield from self._products(kind)

    def _products(self, kind: str) -> Iterator[Line]:
        # cells that one job writes cost the same: they are summed up once
        for job in self.jobs:
            names = [path for path in job.outputs if Results.product(path) == kind]
            if not names:
                continue
            line = self.line(kind, names[0], ancestors(self.jobs, job))
            for name in names:
                yield Line(**{**vars(line), "name": name})


def plan_target(target: str, out_dir: Path, settings: Settings, everything: bool) -> None:
    """Write and print what a target will cost.

    Args:
        target: a file or rule of the workflow, as Snakemake is told it.
        out_dir: gets ``{target's name}.csv``.
        settings: the profile, whose requests decide how many GPUs a job has, and the config's overlays, instead of the
            profile's.
        everything: also what has been built already.

    Raises:
        BadInput: the target cannot be planned, or a file is missing.
    """
    assumptions = read_assumptions()
    say(f"plan: asking Snakemake for the jobs of {target}")
    jobs = planned_jobs([target], settings.options, everything)
    if not jobs:
        say(f"plan: nothing is left to do for {target}; --everything plans it from scratch")
        return
    sizes = panel_sizes(settings)
    path = out_dir / f"{Results.short_name(target)}.csv"
    if settings.profile == ONE_GPU:
        one_gpu = OneGpuModel(assumptions, sizes)
        on_cards = list(card_lines(jobs, one_gpu))
        write_card_lines(path, on_cards)
        print_card_lines(target, on_cards, one_gpu.cards, ASSUMPTIONS)
    else:
        model = CostModel(assumptions, sizes)
        plan = Plan(jobs, {job.id: model.cost(job) for job in jobs}, model)
        lines = list(plan.lines())
        write_lines(path, lines)
        print_plan(target, lines, max(cost.work_gb for cost in plan.costs.values()))
    print(power_sentence(PowerAssumptions(**assumptions["power"]), _seeds(settings), _evaluated(sizes)))
    say(f"plan: {path}")


def plan_power(settings: Settings) -> None:
    """Print how many seeds and tasks a claimed gain needs on the config's panels.

    Raises:
        BadInput: a file is missing.
    """
    print_power(PowerAssumptions(**read_assumptions()["power"]), _evaluated(panel_sizes(settings)))


def read_assumptions() -> dict:
    """What a plan assumes where nothing was measured.

    Raises:
        BadInput: the file is not there: the command was given elsewhere.
    """
    if not ASSUMPTIONS.is_file():
        raise BadInput(ASSUMPTIONS, "not found", "run `prism plan` in the root of the repository")
    return yaml.safe_load(ASSUMPTIONS.read_text(encoding="utf-8"))


def panel_sizes(settings: Settings) -> dict[str, dict[str, int]]:
    """Episodes of each panel, read from the config files that Snakemake merges, the later over the earlier."""
    sizes: dict[str, dict[str, int]] = {}
    for config in _configs(settings):
        for benchmark, settings in (config.get("benchmarks") or {}).items():
            sizes.setdefault(benchmark, {}).update(settings.get("panels", {}))
    return sizes


def _evaluated(sizes: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Tasks of each panel that a claim is about."""
    panels = {f"{benchmark} {panel}": tasks for benchmark, by in sizes.items() for panel, tasks in by.items()}
    return {name: tasks for name, tasks in panels.items() if not name.endswith(" train")}


def _seeds(settings: Settings) -> int:
    return len([config["seeds"] for config in _configs(settings) if config.get("seeds")][-1])


def _configs(settings: Settings) -> list[dict]:
    """The config files that Snakemake merges, the later over the earlier."""
    files = [BASE_CONFIG, *(settings.configfiles or _profile_configfiles(settings.profile))]
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in files]


def _profile_configfiles(profile: str | None) -> list[Path]:
    """The config files that a profile of this repository names."""
    for path in sorted(Path(profile).glob("config*.yaml")) if profile else ():
        named = yaml.safe_load(path.read_text(encoding="utf-8")).get("configfile") or []
        return [Path(name) for name in ([named] if isinstance(named, str) else named)]
    return []


def _stage_rank(rule: str) -> tuple[int, str]:
    return (STAGE_ORDER.index(rule) if rule in STAGE_ORDER else len(STAGE_ORDER), rule)


def write_lines(path: Path, lines: Sequence[Line]) -> None:
    """Write the plan as CSV."""
    names = [field.name for field in fields(Line)]
    with atomic_path(path) as temporary, Path(temporary).open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        for line in lines:
            values = (getattr(line, name) for name in names)
            writer.writerow([f"{value:.4g}" if isinstance(value, float) else value for value in values])


def print_plan(target: str, lines: Sequence[Line], work_gb: float) -> None:
    """Print the plan; cells and the rules without GPUs stay in the CSV."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"What {target} will cost", title_justify="left")
    table.add_column("")
    for heading in ("jobs", "GPU-hours", "1 node", "2 nodes", "4 nodes", "disk GB", "kWh", "kg CO2", "from Table 3"):
        table.add_column(heading, justify="right")
    shown = [line for line in lines if line.kind != "cell" and not _is_small(line)]
    small = sum(line.jobs for line in lines if _is_small(line))
    for line in shown:
        least = (line.least_hours_1_node, line.least_hours_2_nodes, line.least_hours_4_nodes)
        alone = " (alone)" if line.kind in ("table", "figure") else ""
        table.add_row(
            line.name + alone,
            str(line.jobs),
            f"{line.gpu_hours:,.1f}",
            *(f"{hours:,.1f} h" for hours in least),
            f"{line.storage_gb:,.0f}",
            f"{line.energy_kwh:,.0f}",
            f"{line.co2_kg:,.0f}",
            f"{100 * line.from_table3:.0f}%",
            style="bold" if line.kind == "total" else None,
            end_section=line.kind == "total",
        )
    console = Console(width=140, soft_wrap=False)
    console.print(table)
    console.print(
        f"{small} jobs without GPUs are not listed. A job's hours: its benchmark file, else the paper's Table 3, "
        f"else a model.\nHours on nodes are the least possible: all GPU-hours over {GPUS_PER_NODE} A100s a node, "
        f"or the longest chain of jobs.\nA running training needs up to {work_gb:.0f} GB more. "
        f"Assumptions and their sources: {ASSUMPTIONS}"
    )


def _is_small(line: Line) -> bool:
    """Whether a line is a rule that uses no GPU: it stays in the CSV."""
    return line.kind == "rule" and line.gpu_hours == 0
