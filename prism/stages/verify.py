"""Whether a run reproduces a recorded one: a finding a stage, a verdict, and a certificate for people and machines."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import prism
from prism.core.agreement import Agreement, Compared, same_losses, same_norms, same_ranks, same_sides
from prism.core.comparisons import ALPHA, Comparison, compare, holm
from prism.core.concentration import PAPER_METRICS
from prism.core.csv_files import read_table
from prism.core.errors import BadInput
from prism.core.evaluations import read_evaluation
from prism.core.files import read_json, sha256_file, write_json, write_text
from prism.core.paper_tables import success_of
from prism.core.processor import read_processor
from prism.core.progress import say
from prism.core.results import Results
from prism.core.splits import read_split
from prism.core.versions import installed_version
from prism.gradients.norm_files import open_norms, read_shards
from prism.stages.scores import score_probe

IDENTICAL, REPRODUCED, NOT_REPRODUCED = "identical", "reproduced", "not reproduced"
# in the order in which one rests on the other
STAGES = ("data", "norms", "scores", "splits", "SFT", "evaluations")
DATA = ("trajectories", "panels")
LIBRARIES = ("torch", "transformers", "llamafactory", "verl", "alfworld", "numpy", "snakemake")
# what decides which kernels a CPU runs
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "asimd", "sve")


@dataclass(frozen=True)
class Finding:
    """One result of a run beside the recorded one.

    Attributes:
        stage: one of `STAGES`.
        result: which file, below the folder of results.
        detail: the number behind the agreement, in words.
    """

    stage: str
    result: str
    agreement: Agreement
    detail: str


class Record:
    """A recorded run: what `prism stage pack-records` ships, or the folder of a finished run.

    Raises:
        BadInput: the folder is neither.
    """

    def __init__(self, folder: Path):
        packed = folder / "manifest.json"
        self.results = Results(folder / "records" if packed.is_file() else folder)
        if packed.is_file():
            self.data: Mapping[str, str] = read_json(packed).get("data", {})
        else:
            self.data = data_hashes(self.results)
        if not self.results.find("norms", "evaluations"):
            raise BadInput(folder, "holds neither records nor a run", "name resources/records/demo, or a finished run")


def data_hashes(run: Results) -> dict[str, str]:
    """SHA-256 of a run's corpora and panels, by their path below the results."""
    return {run.relative(path): sha256_file(path) for path in run.find(*DATA)}


def verify(results: Path, against: Path, out_json: Path, out_md: Path) -> str:
    """Compare a finished run with a recorded one and write the certificate.

    Returns:
        The verdict: ``identical``, ``reproduced`` or ``not reproduced``.

    Raises:
        BadInput: a folder holds no run, or a file of it cannot be read.
    """
    run, record = Results(results), Record(Path(against))
    if not run.find("norms", "evaluations"):
        raise BadInput(results, "holds no finished run", "run the workflow first")
    data = data_hashes(run)
    findings = list(compare_runs(run, data, record))
    verdict, departure = judge(findings)
    certificate = {
        "run": str(results),
        "against": str(against),
        "verdict": verdict,
        "departs_at": departure,
        "findings": [asdict(finding) for finding in findings],
        "machine": machine_facts(),
        "hashes": data | {run.relative(path): sha256_file(path) for path in run.find("norms", "splits", "evaluations")},
    }
    write_json(out_json, certificate)
    write_text(out_md, "\n".join(_page(certificate, findings)))
    say(f"verify: {results} against {against}: {verdict}{f', departs at {departure}' if departure else ''}")
    return verdict


def judge(findings: list[Finding]) -> tuple[str, str]:
    """The verdict, and the first stage that differs, else the first that is not equal; empty where all is equal."""
    for wanted, verdict in (({Agreement.differs}, NOT_REPRODUCED), (set(Agreement) - {Agreement.equal}, REPRODUCED)):
        for stage in STAGES:
            if any(finding.agreement in wanted for finding in findings if finding.stage == stage):
                return verdict, stage
    return IDENTICAL, ""


def compare_runs(run: Results, data: Mapping[str, str], record: Record) -> Iterator[Finding]:
    """Every recorded result beside the run's, stage by stage. What the run has beyond it is not looked at.

    Args:
        data: the run's `data_hashes`.
    """
    for name, digest in record.data.items():
        if name not in data:
            yield _missing("data", name)
        elif data[name] == digest:
            yield Finding("data", name, Agreement.equal, "same hash")
        else:
            yield Finding("data", name, Agreement.differs, "another hash")
    probes = {record.results.probed(path) for path in record.results.find("norms")}
    for benchmark, backbone in sorted(probes):
        yield from _compare_probes(run, record.results, benchmark, backbone)
    for stage, kind, reader, comparison in (
        ("splits", "splits", read_split, same_sides),
        ("SFT", "sft_losses", lambda path: np.array(read_table(path).numbers("loss")), same_losses),
    ):
        for path in record.results.find(kind):
            name = record.results.relative(path)
            mine = run.root / name
            if mine.is_file():
                yield _finding(stage, name, comparison(reader(mine), reader(path)))
            else:
                yield _missing(stage, name)
    yield from _compare_evaluations(run, record.results)


def _finding(stage: str, result: str, found: Compared) -> Finding:
    return Finding(stage, result, found.agreement, f"{found.what} {found.value:.3g}")


def _missing(stage: str, result: str) -> Finding:
    return Finding(stage, result, Agreement.differs, "the run has no such file")


def _compare_probes(run: Results, recorded: Results, benchmark: str, backbone: str) -> Iterator[Finding]:
    """The norms of a probe, and the scores that routing goes by."""
    place, theirs = f"{benchmark}/{backbone}", recorded.norms_there(benchmark, backbone)
    mine = run.norms_there(benchmark, backbone)
    if not mine:
        yield _missing("norms", place)
        return
    yield _finding("norms", place, same_norms(read_shards(mine), read_shards(theirs)))
    ids, expected = score_probe([open_norms(path) for path in theirs])
    table = read_table(run.scores(benchmark, backbone))
    # both are sorted by id
    if table.column("id") != ids:
        yield Finding("scores", place, Agreement.differs, "scores of other trajectories")
        return
    for score in PAPER_METRICS:
        yield _finding("scores", f"{place}: {score}", same_ranks(np.array(table.numbers(score)), expected[score]))


def _compare_evaluations(run: Results, recorded: Results) -> Iterator[Finding]:
    """Episodes by task: McNemar's test of each evaluation's successes, with Holm's correction over all of them."""
    tested: list[tuple[str, Comparison]] = []
    for path in recorded.find("evaluations"):
        name = recorded.relative(path)
        if not (run.root / name).is_file():
            yield _missing("evaluations", name)
            continue
        mine, theirs = read_evaluation(run.root / name), read_evaluation(path)
        if (mine.panel_sha256, mine.task_ids) != (theirs.panel_sha256, theirs.task_ids):
            yield Finding("evaluations", name, Agreement.differs, "another panel")
        elif mine.recipe != theirs.recipe:
            keys = [key for key in {**mine.recipe, **theirs.recipe} if mine.recipe.get(key) != theirs.recipe.get(key)]
            yield Finding("evaluations", name, Agreement.differs, f"other settings: {', '.join(keys)}")
        elif read_json(mine.path)["episodes"] == read_json(path)["episodes"]:
            yield Finding("evaluations", name, Agreement.equal, f"{len(mine.task_ids)} episodes, the same actions")
        else:
            measure = success_of(mine.benchmark)
            tested.append((name, compare(mine.values(measure)[None], theirs.values(measure)[None])))
    for (name, found), p in zip(tested, holm([found.p for _, found in tested]), strict=True):
        agreement = Agreement.differs if p < ALPHA else Agreement.noise
        low, high = 100 * found.low, 100 * found.high
        yield Finding(
            "evaluations",
            name,
            agreement,
            f"{100 * found.difference:+.1f} points [{low:.1f}, {high:.1f}], "
            f"{found.better} tasks won, {found.worse} lost, corrected p {p:.2g}",
        )


def machine_facts() -> dict[str, object]:
    """What a number may depend on: CPU with its instruction sets, system, versions."""
    versions = {"python": platform.python_version(), "prism": prism.__version__}
    versions |= {name: installed_version(name) or "not installed" for name in LIBRARIES}
    processor = read_processor()
    cpu = {"model": processor.model, "flags": [flag for flag in CPU_FLAGS if flag in processor.instructions]}
    return {"cpu": cpu, "system": platform.platform(), "versions": versions}


def _page(certificate: dict, findings: list[Finding]) -> Iterator[str]:
    """The certificate as Markdown."""
    departure = certificate["departs_at"]
    yield f"# {certificate['run']}: {certificate['verdict']}"
    yield ""
    yield f"Held against {certificate['against']}. " + (
        f"First departure: {departure}." if departure else "Every recorded result is the same."
    )
    yield ""
    yield "| stage | " + " | ".join(Agreement) + " |"
    yield "|---|" + "---|" * len(Agreement)
    for stage in STAGES:
        counts = [sum(f.stage == stage and f.agreement == agreement for f in findings) for agreement in Agreement]
        if sum(counts):
            yield f"| {stage} | " + " | ".join(str(count or "") for count in counts) + " |"
    for stage in STAGES:
        shown = [finding for finding in findings if finding.stage == stage and finding.agreement != Agreement.equal]
        if shown:
            yield from ("", f"## {stage}", "", "| result | agreement | |", "|---|---|---|")
            yield from (f"| {f.result} | {f.agreement} | {f.detail} |" for f in shown)
    cpu, versions = certificate["machine"]["cpu"], certificate["machine"]["versions"]
    yield from (
        "",
        "## Machine",
        "",
        f"{cpu['model']} ({', '.join(cpu['flags'])}), {certificate['machine']['system']}; ",
    )
    yield ", ".join(f"{name} {number}" for name, number in versions.items()) + "."
    yield ""
