"""Checkouts to break, lines that a person can follow, and what the faults came to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fault_checkout import Checkout

FIGURES = pytest.StashKey[list[str]]()
STARTED = time.monotonic()


@pytest.fixture(scope="session")
def tell(pytestconfig) -> Callable[[str], None]:
    """Write a line to the terminal at once, whatever pytest captures."""
    reporter = pytestconfig.pluginmanager.getplugin("terminalreporter")
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def write(line: str) -> None:
        seconds = time.monotonic() - STARTED
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"[{seconds // 60:3.0f}:{seconds % 60:02.0f}] {line}")
            reporter.flush()

    return write


@pytest.fixture(scope="session")
def figures(pytestconfig) -> list[str]:
    """Lines that stand at the end of the test run."""
    return pytestconfig.stash.setdefault(FIGURES, [])


def pytest_terminal_summary(terminalreporter, config) -> None:
    """What the faults came to."""
    if lines := config.stash.get(FIGURES, []):
        terminalreporter.section("faults")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def undisturbed(copy_repository, tmp_path_factory, tell) -> Iterator[Checkout]:
    """The experiment, built without a fault."""
    base = tmp_path_factory.mktemp("undisturbed")
    checkout = Checkout(copy_repository(base / "prism"))
    log = base / "run.log"
    tell(f"the experiment without a fault: {log}")
    started = time.monotonic()
    assert checkout.run(log) == 0, log.read_text()[-3000:]
    tell(f"built in {time.monotonic() - started:.0f} s")
    yield checkout
    checkout.close()


@pytest.fixture(scope="session")
def expected(undisturbed) -> dict[str, str]:
    """Hashes of the undisturbed run, taken before any test breaks something in it."""
    hashes = undisturbed.hashes()
    assert len(hashes) > 40
    return hashes


@pytest.fixture
def checkout(copy_repository, tmp_path) -> Iterator[Checkout]:
    """A fresh checkout; whatever still runs in it at the end is killed."""
    made = Checkout(copy_repository(tmp_path / "prism"))
    yield made
    made.close()
