"""Trajectories and a frozen model to gradient norms (parquet), one shard of the corpus at a time."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from prism.core.chat_templates import ChatForm
from prism.core.data_source import DataSource
from prism.core.errors import BadInput
from prism.core.files import read_json, write_json
from prism.core.progress import counted, say, track
from prism.core.recipes import setting
from prism.core.shards import Journal, Shard, gather_journals, journal_fingerprint
from prism.core.tokenizers import load_tokenizer
from prism.gradients.corpus import Corpus, load_corpus
from prism.gradients.forecast import check_complete, forecast, unrendered
from prism.gradients.memory_plan import MemoryPlan
from prism.gradients.models import config_folder, resolve_model, tokenizer_folder
from prism.gradients.norm_files import write_norms
from prism.gradients.packs import Sample, plan_packs
from prism.gradients.prober import ProbedSample
from prism.gradients.projections import CHOICES
from prism.gradients.recipe import ProbeRecipe
from prism.gradients.set_up import ModelPlace, Ready, set_up
from prism.stages.probe_team import Team, left_by_teams, left_journal, remove_files

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "pyarrow")


@dataclass(frozen=True)
class ChatProbeRecipe(ProbeRecipe):
    """Settings of the probe of people's own chats and models."""

    chat: ChatForm = field(default_factory=ChatForm)
    matrices: str = setting("which matrices are measured", "auto", choices=CHOICES)


@dataclass(frozen=True)
class ProbeOptions:
    """How a probe is run; the norms do not depend on it.

    Attributes:
        device: ``auto`` (the first GPU, or the CPU) or a torch device.
        resume: go on from what an interrupted run of the same probe left beside the output.
        strict: refuse trajectories longer than the context instead of truncating them, and chats of which the chat
            template leaves something out instead of counting what it does.
        memory: what is settled of how memory is used; the rest is planned from what is free and what a first small pass
            takes. None: the recipe says it, and nothing is planned.
        team: the processes that probe the shard together, of which this is one; what it finds is its own file then, not
            the output, and it leaves its journal.
        loop_path: gets the seconds of the forward and backward passes alone, without imports, hashing and loading
            (JSON). The norms hold no times: the same probe gives the same bytes.
    """

    device: str = "auto"
    resume: bool = False
    strict: bool = False
    loop_path: Path | None = None
    memory: MemoryPlan | None = None
    team: Team | None = None


WHOLE, DEFAULTS = Shard(), ProbeOptions()


def probe_shard(
    model: str | Path,
    data: str | Path | DataSource,
    out_parquet: str | Path,
    recipe: ProbeRecipe,
    shard: Shard = WHOLE,
    options: ProbeOptions = DEFAULTS,
) -> None:
    """Probe one part of a corpus, sorted by id.

    Args:
        model: folder of a Hugging Face model (safetensors), or its id on the Hub.
        data: expert trajectories, chats or tokens.
        out_parquet: one row a trajectory: id, loss, response_tokens, rows, truncated, and 7L norms
            ``layers.{l}.{module}``; provenance in the file's metadata.
        shard: which part.

    Raises:
        BadInput: the data, the model or a setting cannot be used.
        NotFinite: a loss or norm is NaN or infinite; names the trajectory.
    """
    source = DataSource.of(data)
    corpus = load_corpus(source, recipe.chat)
    folder, model_sha256 = resolve_model(model)
    tokenizer = load_tokenizer(tokenizer_folder(folder))
    recipe = _within_positions(recipe, folder)
    samples = _encode_shard(corpus, tokenizer, recipe, shard, options.strict)
    team = options.team
    torch_device = _pick_device(team.device if team else options.device)
    journal_path = left_journal(Path(out_parquet))
    place = ModelPlace(folder, recipe.dtype, torch_device, recipe.matrices, team.neighbours if team else 1)
    memory = _memory(recipe, options, journal_path)
    if memory.settled:
        say(f"probe: {forecast(samples, recipe.prompt.context_length)}")
    ready = set_up(place, samples, memory)
    facts = {
        "dtype": recipe.dtype,
        "device": torch_device.type,
        "model": str(model),
        "model_sha256": model_sha256,
        **_facts_of_data(source, corpus, tokenizer, recipe, samples),
        **_facts_of_probe(ready, shard),
    }
    known = Journal(journal_path, facts).read() if options.resume or team else {}
    journal = Journal(team.journal if team else journal_path, facts)
    left = [sample for sample in samples if sample.id not in known]
    if not memory.settled:
        estimate = ready.estimate(left, len(team.devices) if team else 1)
        say(f"probe: {forecast(samples, recipe.prompt.context_length, estimate)}")
    shares = ready.work.shares(left)
    packs = plan_packs(samples, ready.plan.tokens_per_pack)
    packs = team.part.of(packs) if team else packs
    probed = _probe_journalled(ready, packs, journal, known, shares)
    if team:
        write_norms(team.file, probed, ready.prober.names, facts)
        return
    probed = track(probed, len(samples), "probe", share=lambda one: shares.get(one.sample.id, 0.0))
    try:
        write_norms(out_parquet, probed, ready.prober.names, facts)
    except KeyboardInterrupt:
        say(f"probe: interrupted; the same command with --resume goes on from {journal.path}")
        raise
    if options.loop_path is not None:
        write_json(options.loop_path, {"loop_seconds": journal.loop_seconds()})
    journal.remove()
    # of a team that was killed and whose work was taken over
    remove_files(left_by_teams(Path(out_parquet)))


def _facts_of_data(
    source: DataSource, corpus: Corpus, tokenizer: Any, recipe: ProbeRecipe, samples: Sequence[Sample]
) -> dict[str, str]:
    """What the metadata say of the trajectories and their tokens."""
    return {
        "data": source.path,
        "data_sha256": source.sha256(),
        **({"data_options": source.options} if source.options else {}),
        **corpus.prompt_facts(tokenizer, recipe.prompt, recipe.layout, recipe.loss_on),
        "trajectories_truncated": str(sum(sample.truncated > 0 for sample in samples)),
        "response_tokens_cut": str(sum(sample.response_tokens_cut for sample in samples)),
    }


def _facts_of_probe(ready: Ready, shard: Shard) -> dict[str, str]:
    """What the metadata say of how the norms were computed, and by which versions."""
    return {
        **ready.plan.facts(),
        "shard": str(shard.number),
        "shards": str(shard.count),
        "parameter_counts": str(ready.parameter_counts),
        **({"matrices": ready.rule} if ready.rule else {}),
        **{f"version_{name}": version(name) for name in LIBRARIES},
        "version_python": platform.python_version(),
    }


def _within_positions(recipe: ProbeRecipe, folder: Path) -> ProbeRecipe:
    """The recipe with the context that the model has positions for: what is longer is truncated and counted."""
    config = read_json(config_folder(folder) / "config.json")
    # behind a tower for images the language model has a configuration of its own
    positions = (config | config.get("text_config", {})).get("max_position_embeddings") or recipe.prompt.context_length
    context = min(recipe.prompt.context_length, positions)
    return replace(recipe, prompt=replace(recipe.prompt, context_length=context))


def _memory(recipe: ProbeRecipe, options: ProbeOptions, left: Path) -> MemoryPlan:
    """What is settled of the use of memory before anything is measured.

    Args:
        left: the journal that an interrupted run may have left; that of a team's processes is gathered there.
    """
    if options.team is None:
        parts = left_by_teams(left.with_suffix(""), "journal")
        if options.resume:
            gather_journals(left, parts)
        else:
            remove_files(parts)
    elif plan := journal_fingerprint(options.team.journal):
        return MemoryPlan.recorded(plan)
    wanted = options.memory
    if wanted is None:
        return MemoryPlan(
            recipe.tokens_per_pack,
            recipe.gradient_checkpointing,
            tokens_per_pass=recipe.tokens_per_pass,
            tokens_kept=recipe.tokens_kept,
        )
    # what an interrupted run left goes on as it began, whatever is free now; a team starts with no other left
    began = journal_fingerprint(left) if options.resume or options.team else {}
    return MemoryPlan.recorded(began).if_it_is(wanted) if "tokens_per_pack" in began else wanted


def _encode_shard(corpus: Corpus, tokenizer: Any, recipe: ProbeRecipe, shard: Shard, strict: bool) -> list[Sample]:
    prompt = recipe.prompt
    ids = shard.of(sorted(corpus.ids))
    samples = corpus.samples(ids, tokenizer, prompt, recipe.layout, recipe.loss_on)
    for sample in samples:
        if strict:
            check_complete(sample, corpus, prompt.context_length)
        if not sample.response_tokens:
            raise BadInput(
                corpus.place(sample.id),
                f"trajectory {sample.id!r} has no response token within {prompt.context_length} tokens",
                "raise the context length or remove it",
            )
    for sentence in unrendered(samples, corpus.place):
        say(f"probe: {sentence}")
    return samples


def _pick_device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise BadInput("--device", f"{device!r} cannot be used here", "use auto, cpu or cuda") from error


def _probe_journalled(
    ready: Ready, packs: list[list[Sample]], journal: Journal, known: Mapping[str, dict], shares: Mapping[str, float]
) -> Iterator[ProbedSample]:
    """Yield every sample's norms: from the journal where a whole pack is in it, else computed and journalled.

    Packs are planned over the whole shard and kept whole, so that a resumed run computes the same bits.

    Args:
        known: what the journal of an interrupted run holds, by id.
        shares: part of the work on what is not known, by id.
    """
    finished = [pack for pack in packs if all(sample.id in known for sample in pack)]
    done = [sample for pack in finished for sample in pack]
    journal.start({**known[sample.id], "share": 0.0} for sample in done)
    if done:
        say(f"probe: finished before: {counted(len(done), 'trajectory', 'trajectories')}")
    for sample in done:
        yield ProbedSample(sample, known[sample.id]["loss"], known[sample.id]["norms"])
    started = time.perf_counter()
    # by ids: comparing packs with packs takes minutes where there are many
    for probed in ready.prober.probe([pack for pack in packs if any(sample.id not in known for sample in pack)]):
        seconds = (time.perf_counter() - started) / len(probed)
        journal.append(_record(one, seconds, shares.get(one.sample.id, 0.0)) for one in probed)
        yield from probed
        started = time.perf_counter()


def _record(one: ProbedSample, seconds: float, share: float) -> dict[str, Any]:
    """What a journal holds of a finished trajectory."""
    return {"id": one.sample.id, "loss": one.loss, "norms": one.norms, "seconds": seconds, "share": share}
