"""Checkouts to break."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fault_checkout import Checkout


@pytest.fixture(scope="session")
def undisturbed(copy_repository, tmp_path_factory) -> Checkout:
    """The experiment, built without a fault."""
    base = tmp_path_factory.mktemp("undisturbed")
    checkout = Checkout(copy_repository(base / "prism"))
    log = base / "run.log"
    assert checkout.run(log) == 0, log.read_text()[-3000:]
    assert len(checkout.hashes()) > 40
    return checkout


@pytest.fixture
def checkout(copy_repository, tmp_path) -> Iterator[Checkout]:
    """A fresh checkout; whatever still runs in it at the end is killed."""
    made = Checkout(copy_repository(tmp_path / "prism"))
    yield made
    for process in made.processes():
        process.kill()
