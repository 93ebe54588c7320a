"""Checkouts to break."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fault_checkout import Checkout, copy_repository


@pytest.fixture(scope="session")
def undisturbed(root, tmp_path_factory) -> Checkout:
    """The experiment, built without a fault."""
    base = tmp_path_factory.mktemp("undisturbed")
    checkout = copy_repository(root, base / "prism")
    log = base / "run.log"
    assert checkout.run(log) == 0, log.read_text()[-3000:]
    assert len(checkout.hashes()) > 40
    return checkout


@pytest.fixture
def checkout(root, tmp_path) -> Iterator[Checkout]:
    """A fresh checkout; whatever still runs in it at the end is killed."""
    made = copy_repository(root, tmp_path / "prism")
    yield made
    for process in made.processes():
        process.kill()
