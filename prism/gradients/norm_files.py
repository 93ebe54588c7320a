"""Gradient norms on disk: one parquet file a shard, one row a trajectory, provenance in the file's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from prism.core.errors import BadInput, PrismError
from prism.core.files import atomic_path

if TYPE_CHECKING:  # scoring must not wait for torch
    from prism.gradients.prober import ProbedSample

# the projections of a decoder layer, in the order of the norm columns
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

ROWS_PER_GROUP = 4096
FIXED_COLUMNS = ("id", "loss", "response_tokens", "rows", "truncated")
FACTS = (
    "dtype",
    "model",
    "model_sha256",
    "data",
    "data_sha256",
    "prompt_sha256",
    "shard",
    "shards",
    "parameter_counts",
)


@dataclass(frozen=True)
class NormFile:
    """A parquet file of gradient norms; the norms themselves are read in batches.

    Attributes:
        facts: metadata: dtype, model, model_sha256, data, data_sha256, prompt_sha256, shard, shards, ...
        names: the 7L norm columns, in order.
        parameter_counts: weights of each of these matrices.
    """

    path: Path
    facts: Mapping[str, str]
    names: list[str]
    parameter_counts: list[int]

    def batches(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yield (ids, norms of shape (rows, 7L) in float64), a few thousand rows at a time.

        Raises:
            BadInput: a norm is NaN, infinite or negative; names the trajectory.
        """
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(ROWS_PER_GROUP, columns=["id", *self.names]):
                columns = [batch.column(name).to_numpy(zero_copy_only=False) for name in self.names]
                ids, norms = batch.column("id").to_pylist(), np.stack(columns, axis=1)
                usable = (np.isfinite(norms) & (norms >= 0)).all(axis=1)
                if not usable.all():
                    problem = (
                        f"a gradient norm of trajectory {ids[int(usable.argmin())]!r} is NaN, infinite or negative"
                    )
                    raise BadInput(self.path, problem, "probe it again")
                yield ids, norms

    def column(self, name: str) -> np.ndarray:
        """A column of `FIXED_COLUMNS` as numbers, in the order of the rows."""
        return pq.read_table(self.path, columns=[name]).column(name).to_numpy().astype(np.float64)

    def row(self, identifier: str) -> dict | None:
        """The whole row of one trajectory, or None."""
        rows = pq.read_table(self.path, filters=[("id", "=", identifier)]).to_pylist()
        return rows[0] if rows else None


def open_norms(path: str | Path) -> NormFile:
    """Open a file of gradient norms.

    Raises:
        BadInput: it is missing or not a parquet file of `prism probe`.
    """
    path = Path(path)
    try:
        schema = pq.read_schema(path)
    except OSError as error:
        raise BadInput(path, f"cannot be read ({error.strerror or error})", "check the path") from error
    except pa.ArrowInvalid as error:
        raise BadInput(path, "is not a parquet file", "make it with prism probe") from error
    facts = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items() if b"ARROW" not in key}
    names = [name for name in schema.names if name not in FIXED_COLUMNS]
    if missing := [key for key in FACTS if key not in facts] + [
        key for key in FIXED_COLUMNS if key not in schema.names
    ]:
        raise BadInput(path, f"has no {missing[0]}: it is not a file of gradient norms", "make it with prism probe")
    counts = _parameter_counts(facts["parameter_counts"])
    if len(counts) != len(names) or not all(pa.types.is_floating(schema.field(name).type) for name in names):
        raise BadInput(path, f"does not hold the norms of {len(counts)} matrices", "make it again with prism probe")
    return NormFile(path, facts, names, counts)


def _parameter_counts(text: str) -> list[int]:
    try:
        return [int(count) for count in json.loads(text)]
    except (ValueError, TypeError):
        return []


def read_shards(paths: Sequence[str | Path]) -> np.ndarray:
    """Norms of all shards of one probe, in the order of the trajectories' ids: shape (trajectories, 7L), float64.

    Raises:
        BadInput: a file is not one of gradient norms, the files have different matrices, or none has a trajectory;
            or a norm cannot be used (`NormFile.batches`).
    """
    files = [open_norms(path) for path in paths]
    names: list[str] = []
    parts = []
    for file in files:
        if file.names != files[0].names:
            raise BadInput(file.path, f"has other matrices than {files[0].path}", "give the shards of one probe")
        for ids, norms in file.batches():
            names += ids
            parts.append(norms)
    if not names:
        raise BadInput(paths[0] if paths else "gradient norms", "holds no trajectory", "probe at least one")
    return np.concatenate(parts)[sorted(range(len(names)), key=names.__getitem__)]


def write_norms(
    path: str | Path, probed: Iterable[ProbedSample], names: Sequence[str], facts: Mapping[str, str]
) -> None:
    """Write a shard atomically, sorted by id.

    Args:
        names: norm columns, in the order of `ProbedSample.norms`.
        facts: metadata of the file.
    """
    # as arrays: a list of Python's own numbers takes four times the memory
    packed = (replace(row, norms=np.array(row.norms)) for row in probed)
    rows = sorted(packed, key=lambda row: row.sample.id)
    norms = np.array([row.norms for row in rows], dtype=np.float64).reshape(len(rows), len(names))
    columns = {
        "id": pa.array([row.sample.id for row in rows], pa.string()),
        "loss": pa.array([row.loss for row in rows], pa.float64()),
        "response_tokens": pa.array([row.sample.response_tokens for row in rows], pa.int64()),
        "rows": pa.array([len(row.sample.rows) for row in rows], pa.int64()),
        "truncated": pa.array([row.sample.truncated for row in rows], pa.int64()),
        **{name: pa.array(norms[:, index]) for index, name in enumerate(names)},
    }
    _write_table(path, pa.table(columns).replace_schema_metadata(dict(facts)))


def merge_norms(path: str | Path, parts: Sequence[str | Path]) -> None:
    """Write the files that several processes wrote of one shard as one, as if one process had.

    Raises:
        PrismError: they are not of one probe.
    """
    tables = [pq.read_table(part) for part in parts]
    for part, table in zip(parts, tables, strict=True):
        if not table.schema.equals(tables[0].schema, check_metadata=True):
            raise PrismError(f"{part}: model, data or settings are not those of {parts[0]}; probe again")
    whole = pa.concat_tables(tables)
    ids = whole.column("id").to_pylist()
    whole = whole.take(sorted(range(len(ids)), key=ids.__getitem__)).combine_chunks()
    _write_table(path, whole)


def _write_table(path: str | Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        # norms are almost all different: dictionaries and compression save 6% and cost half the reading time
        pq.write_table(table, temporary, row_group_size=ROWS_PER_GROUP, use_dictionary=False, compression="none")
