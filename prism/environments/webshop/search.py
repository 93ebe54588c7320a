r"""BM25 search whose scores and ranking equal Lucene's, over memory-mapped postings.

A query is a bag of words. With c the number of times a term is in the query, f in the document,

    score = \sum_t c_t idf_t (1 - 1 / (1 + f_t / (k1 (1 - b + b L / avg L)))),
    idf_t = ln(1 + (N - n_t + 0.5) / (n_t + 0.5)),

with k1 = 0.9 and b = 0.4 (Anserini's defaults), without the factor k1 + 1 (as Lucene since version 8). L is the length
as Lucene keeps it in one byte. All of it is in single precision, summed in double and rounded to single, because equal
scores are ties and ties are ranked by document id.
"""

from __future__ import annotations

import bisect
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from prism.core.errors import BadInput
from prism.environments.webshop.analysis import ANALYSIS_VERSION, term_of, terms, tokenize

K1 = np.float32(0.9)
B = np.float32(0.4)
# lengths below this are kept exactly in one byte, longer ones as a float with four significant bits
EXACT_LENGTHS = 24
BLOCK_TOKENS = 4_000_000

_STOPPED = -1


def quantize_length(length: int) -> int:
    """A document length as Lucene remembers it in one byte (SmallFloat's byte4)."""
    excess = length - EXACT_LENGTHS
    if excess < 0:
        return length
    shift = max(excess.bit_length() - 4, 0)
    return EXACT_LENGTHS + (excess >> shift << shift)


def build_index(documents: Iterable[tuple[str, str]], folder: Path) -> None:
    """Index ``(id, text)`` pairs into `folder`, which must exist and be empty.

    Memory holds the vocabulary and one block of tokens; postings go to disk block by block and are then laid out term
    by term.
    """
    builder = _Inverter(folder)
    for identifier, text in documents:
        builder.add(identifier, text)
    builder.finish()


def map_array(path: Path) -> np.ndarray:
    """A saved array, read only where it is looked at; a plain view, because slicing a `numpy.memmap` is slow."""
    return np.load(path, mmap_mode="r").view(np.ndarray)


class SearchIndex:
    """An index on disk, opened without reading it; many processes share its pages."""

    def __init__(self, folder: Path):
        """Open an index.

        Raises:
            BadInput: there is none, or another version of the text analysis built it.
        """
        try:
            meta = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(folder, "is not a search index", "build the catalog again") from error
        if meta["analysis_version"] != ANALYSIS_VERSION:
            raise BadInput(folder, "was built by another version of the text analysis", "build the catalog again")
        self.documents: int = meta["documents"]
        self._inverse_frequency = _Lookup(folder)
        self._postings = map_array(folder / "postings.npy")
        self._saturations = map_array(folder / "saturations.npy")
        self._tie_rank = map_array(folder / "tie_rank.npy")

    def search(self, query: str, limit: int) -> list[tuple[int, float]]:
        """The best documents as ``(position, score)``, best first; ties by document id."""
        scores = np.zeros(self.documents)
        for term, count in Counter(terms(query)).items():
            found = self._inverse_frequency.find(term)
            if found is None:
                continue
            start, stop, idf = found
            weight = np.float32(count) * idf
            # a document is once in a term's list, so that adding by index adds once
            scores[self._postings[start:stop]] += weight - weight / self._saturations[start:stop]
        return self._best(scores.astype(np.float32), limit)

    def _best(self, scores: np.ndarray, limit: int) -> list[tuple[int, float]]:
        candidates = np.flatnonzero(scores)
        if len(candidates) > limit:
            threshold = np.partition(scores[candidates], len(candidates) - limit)[len(candidates) - limit]
            candidates = candidates[scores[candidates] >= threshold]
        order = np.lexsort((self._tie_rank[candidates], -scores[candidates]))
        best = candidates[order[:limit]]
        return [(int(position), float(scores[position])) for position in best]


class _Lookup:
    """Term to the place of its postings and its inverse document frequency; the vocabulary stays on disk."""

    def __init__(self, folder: Path):
        self._text = memoryview(np.memmap(folder / "terms.bin", dtype=np.uint8, mode="r"))
        self._starts = map_array(folder / "term_starts.npy")
        self._offsets = map_array(folder / "term_offsets.npy")
        self._idf = map_array(folder / "term_idf.npy")

    def _term(self, number: int) -> bytes:
        return bytes(self._text[self._starts[number] : self._starts[number + 1]])

    def find(self, term: str) -> tuple[int, int, np.float32] | None:
        wanted = term.encode("utf-8", "surrogatepass")
        number = bisect.bisect_left(range(len(self._idf)), wanted, key=self._term)
        if number == len(self._idf) or self._term(number) != wanted:
            return None
        return int(self._offsets[number]), int(self._offsets[number + 1]), self._idf[number]


class _Inverter:
    """Turns documents into postings in two passes over the tokens, the first to blocks on disk."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.ids: list[str] = []
        self.lengths = array("i")
        self.vocabulary: dict[str, int] = {}
        self.term_of_token: dict[str, int] = {}
        self.block_terms, self.block_documents = array("i"), array("i")
        self.blocks = 0

    def add(self, identifier: str, text: str) -> None:
        document = len(self.ids)
        known = self.term_of_token
        numbers = [known[token] if token in known else self._learn(token) for token in tokenize(text)]
        numbers = [number for number in numbers if number != _STOPPED]
        self.ids.append(identifier)
        self.lengths.append(len(numbers))
        self.block_terms.extend(numbers)
        self.block_documents.extend([document] * len(numbers))
        if len(self.block_terms) >= BLOCK_TOKENS:
            self._flush()

    def _learn(self, token: str) -> int:
        term = term_of(token)
        number = _STOPPED if term is None else self.vocabulary.setdefault(term, len(self.vocabulary))
        self.term_of_token[token] = number
        return number

    def _block_path(self, block: int) -> Path:
        return self.folder / f"block-{block}.npy"

    def _flush(self) -> None:
        """Count (term, document) pairs of the block and write them sorted."""
        terms = np.frombuffer(self.block_terms, dtype=np.int32).astype(np.int64)
        documents = np.frombuffer(self.block_documents, dtype=np.int32)
        pairs, frequencies = np.unique(terms << 32 | documents, return_counts=True)
        block = np.stack([(pairs >> 32).astype(np.int32), pairs.astype(np.int32), frequencies.astype(np.int32)])
        np.save(self._block_path(self.blocks), block)
        self.blocks += 1
        self.block_terms, self.block_documents = array("i"), array("i")

    def _read_blocks(self) -> Iterator[np.ndarray]:
        for block in range(self.blocks):
            yield np.load(self._block_path(block), mmap_mode="r")

    def finish(self) -> None:
        self._flush()
        document_frequency = np.zeros(len(self.vocabulary), dtype=np.int64)
        for block in self._read_blocks():
            document_frequency += np.bincount(block[0], minlength=len(self.vocabulary))
        self._write_documents()
        # terms in byte order, so that a reader can bisect
        encoded = [term.encode("utf-8", "surrogatepass") for term in self.vocabulary]
        order = np.array(sorted(range(len(encoded)), key=encoded.__getitem__), dtype=np.int64)
        self._write_terms([encoded[number] for number in order], document_frequency[order])
        offsets = np.zeros(len(order) + 1, dtype=np.int64)
        np.cumsum(document_frequency[order], out=offsets[1:])
        np.save(self.folder / "term_offsets.npy", offsets)
        next_free = np.empty(len(order), dtype=np.int64)
        next_free[order] = offsets[:-1]
        self._write_postings(next_free, int(offsets[-1]))
        for block in range(self.blocks):
            self._block_path(block).unlink()
        meta = {"documents": len(self.ids), "analysis_version": ANALYSIS_VERSION}
        (self.folder / "index.json").write_text(json.dumps(meta), encoding="utf-8")

    def _write_documents(self) -> None:
        # Lucene compares ids byte by byte
        encoded = [identifier.encode("utf-8", "surrogatepass") for identifier in self.ids]
        tie_rank = np.empty(len(encoded), dtype=np.int32)
        tie_rank[sorted(range(len(encoded)), key=encoded.__getitem__)] = np.arange(len(encoded), dtype=np.int32)
        np.save(self.folder / "tie_rank.npy", tie_rank)

    def _write_terms(self, encoded: list[bytes], document_frequency: np.ndarray) -> None:
        # an empty file cannot be mapped: a catalog of stop words alone still gets one byte
        (self.folder / "terms.bin").write_bytes(b"".join(encoded) or b"\0")
        starts = np.zeros(len(encoded) + 1, dtype=np.int64)
        np.cumsum([len(term) for term in encoded], out=starts[1:])
        np.save(self.folder / "term_starts.npy", starts)
        # documents without any term do not count
        documents = sum(length > 0 for length in self.lengths)
        idf = np.log(1 + (documents - document_frequency + 0.5) / (document_frequency + 0.5))
        np.save(self.folder / "term_idf.npy", idf.astype(np.float32))

    def _write_postings(self, next_free: np.ndarray, total: int) -> None:
        """Lay the blocks out term by term; documents stay in order within a term."""
        inverse_norm = self._inverse_norms()
        create = np.lib.format.open_memmap
        # an empty array cannot be mapped
        shape = (max(total, 1),)
        postings = create(self.folder / "postings.npy", mode="w+", dtype=np.int32, shape=shape)
        saturations = create(self.folder / "saturations.npy", mode="w+", dtype=np.float32, shape=shape)
        for term, document, frequency in self._read_blocks():
            if not len(term):
                continue
            run_starts = np.flatnonzero(np.diff(term, prepend=-1))
            run_lengths = np.diff(run_starts, append=len(term))
            within_run = np.arange(len(term)) - np.repeat(run_starts, run_lengths)
            place = next_free[term] + within_run
            postings[place] = document
            saturations[place] = np.float32(1) + frequency.astype(np.float32) * inverse_norm[document]
            next_free[term[run_starts]] += run_lengths
        postings.flush()
        saturations.flush()

    def _inverse_norms(self) -> np.ndarray:
        """1 / (k1 (1 - b + b L / avg L)) per document, each operation in single precision as Lucene's."""
        documents = sum(length > 0 for length in self.lengths)
        average = np.float32(sum(self.lengths) / documents if documents else 1)
        quantized = np.array([quantize_length(length) for length in self.lengths], dtype=np.float32)
        one = np.float32(1)
        return one / (K1 * ((one - B) + B * quantized / average))
