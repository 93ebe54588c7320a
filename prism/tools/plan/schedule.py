"""A simulated cluster: list scheduling of jobs on nodes of GPUs, the job with the longest way to the end first."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prism.tools.snakemake_plan import Job, dependencies

GPUS_PER_NODE = 8


@dataclass(frozen=True)
class Slot:
    """Where and when a job runs.

    Attributes:
        job: the job.
        start: hours since the beginning.
        hours: how long it runs.
        gpus: numbers of its GPUs, counted over all nodes; empty for a CPU job.
    """

    job: Job
    start: float
    hours: float
    gpus: tuple[int, ...]


def simulate(jobs: Sequence[Job], hours: Mapping[int, float], nodes: int) -> list[Slot]:
    """Run the jobs on an otherwise empty cluster; jobs without GPUs never wait for a place.

    A job's GPUs lie on one node, or on as many whole nodes as it asks for. A cluster that is too small for a job gets
    it as many nodes as it needs.

    Args:
        jobs: the jobs, all of them with an id in `hours`.
        hours: run time of each.
        nodes: nodes of eight GPUs.

    Returns:
        One slot a job, by start.
    """
    nodes = max([nodes, *(job.nodes for job in jobs)])
    needs = dependencies(jobs)
    urgency = hours_to_the_end(jobs, hours)
    free = [set(range(node * GPUS_PER_NODE, (node + 1) * GPUS_PER_NODE)) for node in range(nodes)]
    waiting = sorted(jobs, key=lambda job: (-urgency[job.id], job.id))
    done: set[int] = set()
    running: list[tuple[float, int, Slot]] = []
    slots: list[Slot] = []
    now = 0.0
    while waiting or running:
        started = []
        for job in waiting:
            if not needs[job.id] <= done:
                continue
            gpus = _place(job, free)
            if gpus is None:
                continue
            slot = Slot(job, now, hours[job.id], gpus)
            heapq.heappush(running, (now + slot.hours, job.id, slot))
            slots.append(slot)
            started.append(job)
        waiting = [job for job in waiting if job not in started]
        now, number, ended = heapq.heappop(running)
        done.add(number)
        for gpu in ended.gpus:
            free[gpu // GPUS_PER_NODE].add(gpu)
    return slots


def _place(job: Job, free: list[set[int]]) -> tuple[int, ...] | None:
    """Take a job's GPUs from the fullest nodes that have room; None where there is none."""
    a_node = -(-job.gpus // job.nodes)
    roomy = sorted((len(gpus), number) for number, gpus in enumerate(free) if len(gpus) >= a_node)
    if len(roomy) < job.nodes:
        return None
    taken: list[int] = []
    for _, number in roomy[: job.nodes]:
        chosen = sorted(free[number])[:a_node]
        free[number] -= set(chosen)
        taken += chosen
    return tuple(taken)


def hours_to_the_end(jobs: Sequence[Job], hours: Mapping[int, float]) -> dict[int, float]:
    """For each job the hours of the longest chain that it begins: a lower bound of what is left once it starts."""
    needs = dependencies(jobs)
    followers: dict[int, list[int]] = {job.id: [] for job in jobs}
    for job, needed in needs.items():
        for one in needed:
            followers[one].append(job)
    longest: dict[int, float] = {}
    stack = [job.id for job in jobs]
    while stack:
        job = stack[-1]
        unknown = [follower for follower in followers[job] if follower not in longest]
        if unknown:
            stack += unknown
            continue
        longest[stack.pop()] = hours[job] + max((longest[follower] for follower in followers[job]), default=0.0)
    return longest


def wall_clock(slots: Sequence[Slot]) -> float:
    """Hours until the last job has ended."""
    return max((slot.start + slot.hours for slot in slots), default=0.0)
