"""The journal of an interrupted run: what is read back is bit for bit what was computed, in as little memory."""

import numpy as np

from prism.core.shards import Journal


def test_norms_are_read_as_arrays_and_written_again_to_the_last_bit(tmp_path):
    norms = np.random.default_rng(0).lognormal(size=(3, 14)) / 3
    journal = Journal(tmp_path / "a.journal", {"model": "m"})
    journal.start()
    journal.append({"id": str(number), "loss": 0.1, "norms": row.tolist()} for number, row in enumerate(norms))
    written = journal.path.read_bytes()
    known = journal.read()
    for number, row in enumerate(norms):
        assert known[str(number)]["norms"].nbytes == 14 * 8
        assert known[str(number)]["norms"].tobytes() == row.tobytes()
    journal.start(known.values())
    assert journal.path.read_bytes() == written


def test_a_line_that_was_cut_short_and_an_empty_journal_hold_nothing(tmp_path):
    journal = Journal(tmp_path / "a.journal", {"model": "m"})
    journal.path.touch()
    assert journal.read() == {}
    journal.start([{"id": "a", "norms": [1.5]}])
    with journal.path.open("a") as out:
        out.write('{"id": "b", "norms": [1.')
    assert list(journal.read()) == ["a"]
