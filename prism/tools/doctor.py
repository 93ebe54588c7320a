"""`prism doctor`: what works on this machine, in one table; with a GPU, every GPU stage once on a tiny backbone."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prism.core.progress import say
from prism.core.versions import installed_version

REPOSITORY = Path(__file__).resolve().parents[2]
TOKENIZER = REPOSITORY / "resources" / "backbones" / "tiny-qwen3"
FREE_GIB = 6
STEP_SECONDS = 1200

OK, MISSING, FAILED, SKIPPED = "ok", "missing", "failed", "skipped"

# package -> what it is for; the first ones everything needs
NEEDED = {"snakemake": "the workflow", "transformers": "models", "torch": "models"}
BY_ROLE = {
    "alfworld": "ALFWorld",
    "llamafactory": "SFT",
    "deepspeed": "SFT on GPUs",
    "verl": "RL",
    "ray": "RL",
    "vllm": "evaluation and RL on GPUs",
}
PROMPT = {"style": "compact", "history": "actions:4", "context_length": 512}


@dataclass(frozen=True)
class Finding:
    """One line of the table. `required`: without it nothing works."""

    item: str
    state: str
    detail: str
    required: bool = False


@dataclass(frozen=True)
class Step:
    """One exercise on the GPU.

    Attributes:
        packages: what it needs; skipped where one is missing (SFT and RL have environments of their own).
        needs: names of the steps whose output it reads.
        commands: arguments of ``prism``, run one after the other.
    """

    name: str
    packages: tuple[str, ...]
    needs: tuple[str, ...]
    commands: tuple[tuple[str, ...], ...]


def examine() -> list[Finding]:
    """Versions, compilers, disk, scheduler, containers and GPUs of this machine."""
    return [
        Finding("Python", OK if sys.version_info >= (3, 11) else FAILED, platform.python_version(), required=True),
        *(_package(name, purpose, required=True) for name, purpose in NEEDED.items()),
        *(_package(name, purpose) for name, purpose in BY_ROLE.items()),
        *(_program(name, "builds the planner under TextWorld") for name in ("gcc", "g++", "make")),
        _disk(),
        _memory(),
        *(_program(name, "SLURM") for name in ("sbatch", "squeue", "sacct")),
        _program("apptainer", "containers", instead="singularity"),
        *gpus(),
    ]


def _package(name: str, purpose: str, *, required: bool = False) -> Finding:
    found = installed_version(name)
    return Finding(name, OK if found else MISSING, f"{found}, {purpose}" if found else purpose, required)


def _program(name: str, purpose: str, instead: str = "") -> Finding:
    found = shutil.which(name) or (shutil.which(instead) if instead else None)
    return Finding(name, OK if found else MISSING, found or purpose)


def _disk() -> Finding:
    free = shutil.disk_usage(REPOSITORY).free / 2**30
    return Finding("disk", OK if free >= FREE_GIB else FAILED, f"{free:.0f} GiB free", required=True)


def _memory() -> Finding:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Finding("memory", OK, f"{gib:.0f} GiB, {os.cpu_count()} CPUs")


def gpus() -> list[Finding]:
    """The GPUs that torch sees; one line that says so where there is none."""
    try:
        import torch
    except ImportError:
        return [Finding("GPU", MISSING, "torch cannot be imported")]
    if not torch.cuda.is_available():
        return [Finding("GPU", MISSING, "torch sees none")]
    found = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [
        Finding(f"GPU {index}", OK, f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
        for index, device in enumerate(found)
    ]


def exercise(work: Path | None = None, run: Callable[[Sequence[str], Path], str] | None = None) -> list[Finding]:
    """Run the GPU stages once, tiny: probe, SFT with the paper's DeepSpeed settings, vLLM, one step of RL.

    Args:
        work: folder for what the stages write; a temporary one by default.
        run: runs one prism command with a log; returns an empty text, or why it failed.
    """
    with tempfile.TemporaryDirectory(prefix="prism-doctor-") as temporary:
        folder = work or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        save_tiny_model(folder / "model")
        return list(_run_steps(gpu_steps(folder), folder, run or run_prism))


def _run_steps(steps: Iterable[Step], folder: Path, run: Callable[[Sequence[str], Path], str]) -> Iterable[Finding]:
    states: dict[str, str] = {}
    for step in steps:
        finding = _run_step(step, states, folder, run)
        states[step.name] = finding.state
        say(f"doctor: {finding.item}: {finding.state}, {finding.detail}")
        yield finding


def _run_step(step: Step, states: dict[str, str], folder: Path, run: Callable[[Sequence[str], Path], str]) -> Finding:
    for package in step.packages:
        if (found := _package(package, "")).state != OK:
            return Finding(step.name, SKIPPED, f"{found.item} is not in this environment")
    for name in step.needs:
        if states[name] != OK:
            return Finding(step.name, SKIPPED, f"needs {name}")
    started = time.monotonic()
    log = folder / f"{step.name.replace(' ', '-')}.log"
    for command in step.commands:
        if problem := run(command, log):
            return Finding(step.name, FAILED, f"prism {' '.join(command[: 1 + (command[0] == 'stage')])}: {problem}")
    return Finding(step.name, OK, f"{time.monotonic() - started:.0f} s")


def run_prism(command: Sequence[str], log: Path) -> str:
    """Run one prism command; returns its last line if it failed. All of its output is in the log."""
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ prism {' '.join(command)}\n")
        out.flush()
        try:
            status = subprocess.run(
                [sys.executable, "-m", "prism", *command],
                stdout=out, stderr=subprocess.STDOUT, timeout=STEP_SECONDS, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"not done after {STEP_SECONDS} s"
    if status == 0:
        return ""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"status {status}: {lines[-1][:160]}"


def save_tiny_model(folder: Path) -> None:
    """A random Qwen3 in bfloat16 with the head size that GPU kernels want, and the shipped tokenizer."""
    import torch
    from transformers import AutoTokenizer

    from prism.core.tiny import Shape, build_model, find_family

    shape = Shape(
        num_hidden_layers=2,
        hidden_size=128,
        intermediate_size=256,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=64,
    )
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    build_model(find_family("qwen3"), shape, tokenizer, seed=0).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def gpu_steps(folder: Path) -> list[Step]:
    """The exercises, in order, with the settings that differ between a CPU and the paper's scale set to the latter."""
    games, corpus = str(folder / "games"), str(folder / "trajectories.jsonl")
    model, panels = str(folder / "model"), {split: str(folder / f"{split}.json") for split in ("train", "seen")}
    data = (
        ("stage", "games", "alfworld", "--recipe", _json(train=8, seen=4, unseen=1, seed=0), "--out", games),
        ("stage", "trajectories", "alfworld", "--games", games, "--recipe", _json(max_steps=30, noise=0.0, seed=0),
         "--out", corpus, "--manifest", str(folder / "trajectories.json")),
        ("stage", "panel", "alfworld", "--games", games, "--split", "train", "--trajectories", corpus, "--out",
         panels["train"]),
        ("stage", "panel", "alfworld", "--games", games, "--split", "seen", "--recipe", _json(size=4, seed=0), "--out",
         panels["seen"]),
    )  # fmt: skip
    probe = ("probe", "--model", model, "--data", corpus, "--shard", "0", "--shards", "1", "--recipe",
             _json(prompt=PROMPT, layout="conversation", dtype="bfloat16"),
             "--out", str(folder / "norms.parquet"))  # fmt: skip
    sft = ("stage", "sft", "--model", model, "--trajectories", corpus, "--recipe", _json(**SFT), "--seed", "0",
           "--work", str(folder / "sft-work"), "--out", str(folder / "sft"))  # fmt: skip
    play = ("stage", "evaluate", "--model", model, "--games", games, "--panel", panels["seen"], "--recipe",
            _json(**EVALUATION), "--seed", "0", "--out", str(folder / "seen-result.json"))  # fmt: skip
    rl = ("stage", "rl", "--init", model, "--games", games, "--panel", panels["train"], "--recipe", _json(**RL),
          "--seed", "0",
          "--work", str(folder / "rl-work"), "--out", str(folder / "rl"))  # fmt: skip
    return [
        Step("data", ("alfworld",), (), data),
        Step("probe", (), ("data",), (probe,)),
        Step("SFT", ("llamafactory", "deepspeed"), ("data",), (sft,)),
        Step("vLLM generation", ("vllm", "alfworld"), ("data",), (play,)),
        Step("RL step", ("verl", "vllm", "alfworld"), ("data",), (rl,)),
    ]


def _json(**values: object) -> str:
    return json.dumps(values)


# two steps or a few more, with the parallelism and precision of config/paper.yaml
SFT = {
    "prompt": PROMPT,
    "template": "qwen3",
    "layout": "conversation",
    "learning_rate": 1e-5,
    "num_train_epochs": 1,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 1,
    "bf16": True,
    "gradient_checkpointing": True,
    "full_determinism": False,
    "gpus": 1,
    "deepspeed": {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True},
    },
}
EVALUATION = {
    "prompt": PROMPT,
    "max_steps": 3,
    "temperature": 0.4,
    "top_p": 1.0,
    "max_new_tokens": 16,
    "batch_size": 4,
    "workers": 1,
    "generator": "vllm",
}
RL = {
    "prompt": PROMPT,
    "max_steps": 3,
    "learning_rate": 1e-6,
    "tasks_per_step": 2,
    "group_size": 4,
    "mini_batch": 8,
    "micro_batch_tokens": 4096,
    "max_response_tokens": 16,
    "steps_rule": "constant",
    "steps": 1,
    "platform": "gpu",
    "rollout_engine": "vllm",
    "gpus": 1,
    "tensor_parallel": 1,
    "gpu_memory_utilization": 0.4,
    "warm_workers": False,
}


def is_sound(findings: Iterable[Finding]) -> bool:
    """Whether nothing failed and nothing required is missing; a part of another environment may be."""
    return all(finding.state != FAILED and not (finding.required and finding.state == MISSING) for finding in findings)


def table(findings: Sequence[Finding]) -> str:
    """The findings as text in columns."""
    wide = max(len(finding.item) for finding in findings)
    states = max(len(finding.state) for finding in findings)
    return "\n".join(f"{finding.item:<{wide}}  {finding.state:<{states}}  {finding.detail}" for finding in findings)
