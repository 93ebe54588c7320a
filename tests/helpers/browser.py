"""Pages in headless Chromium; tests that open one are skipped, with the reason, where there is none."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BROWSER_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: the page was NOT opened in a browser (apt install chromium)"
)
WIDTHS = (1400, 400)
# measures the frame when it has loaded and says what sticks out of it
_RULER = """<!doctype html><iframe srcdoc="%s" style="width: %dpx; height: 800px; border: 0" onload="
const page = this.contentDocument, width = this.clientWidth;
const boxed = element => element.parentElement && (getComputedStyle(element.parentElement).overflowX === 'auto'
    || boxed(element.parentElement));
const out = [...page.body.querySelectorAll('*')].filter(
    element => element.getBoundingClientRect().right > width + 1 && !boxed(element));
const scrolled = [...page.querySelectorAll('.wide')].filter(element => element.scrollWidth > element.clientWidth);
document.title = 'width ' + page.documentElement.scrollWidth + ' scrolled ' + scrolled.length
    + ' out ' + out.map(element => element.tagName).join(' ');
"></iframe>"""


def open_page(page: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page; its document is on standard output, its console on standard error."""
    command = [CHROMIUM, *BROWSER_OPTIONS, f"--user-data-dir={folder / 'profile'}", *options, "--dump-dom"]
    return subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=300, check=True)


@dataclass(frozen=True)
class Measured:
    """A page in a window: the width that it needs, the boxes that scroll, and what sticks out and is in no such box."""

    width: int
    scrolled: int
    out: str


def measure(page: Path, width: int, folder: Path) -> Measured:
    """Open a page in a frame `width` pixels wide: a window cannot be as narrow as a telephone."""
    ruler = page.with_name("ruler.html")  # beside the page, so that its pictures are found
    ruler.write_text(_RULER % (html.escape(page.read_text(encoding="utf-8")), width), encoding="utf-8")
    try:
        shown = open_page(ruler, folder, "--hide-scrollbars").stdout
    finally:
        ruler.unlink()
    needed, scrolled, out = re.search(r"<title>width (\d+) scrolled (\d+) out (.*)</title>", shown).groups()
    return Measured(int(needed), int(scrolled), out)
