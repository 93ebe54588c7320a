"""Pages in headless Chromium; tests that open one are skipped, with the reason, where there is none."""

from __future__ import annotations

import html
import json
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


def requests_of_page(page: Path, folder: Path) -> tuple[str, list[str], set[str]]:
    """Text, console lines and addresses that a page asks for in headless Chromium; not those of the browser itself."""
    log = folder / "net.json"
    found = open_page(page, folder, f"--log-net-log={log}")
    text = log.read_text()
    try:
        events = json.loads(text)["events"]
    except json.JSONDecodeError:  # the browser may leave the list open when it ends
        events = json.loads(text.rstrip().rstrip(",") + "]}")["events"]
    asked = [event.get("params") or {} for event in events]
    addresses = {
        entry["url"] for entry in asked if entry.get("initiator") not in (None, "not an origin") and "url" in entry
    }
    console = [line for line in found.stderr.splitlines() if ":CONSOLE" in line]
    return found.stdout, console, addresses


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


# runs a function of the page's document when it has loaded; timers pass at once: the browser's clock is a made-up one
_ACTOR = """<!doctype html><iframe srcdoc="%s" style="width: 1400px; height: 900px; border: 0" onload="
(%s)(this.contentDocument, milliseconds => new Promise(done => setTimeout(done, milliseconds))).then(
    found => { document.title = 'found ' + JSON.stringify(found) + ' end'; },
    problem => { document.title = 'found ' + JSON.stringify(String(problem)) + ' end'; });
"></iframe>"""


def act(page: Path, script: str, folder: Path) -> object:
    """What an async function of (document, wait) returns in a page, as JSON has it."""
    actor = folder / "actor.html"
    parts = (html.escape(part) for part in (page.read_text(encoding="utf-8"), script))
    actor.write_text(_ACTOR % tuple(parts), encoding="utf-8")
    shown = open_page(actor, folder, "--virtual-time-budget=20000").stdout
    return json.loads(html.unescape(re.search(r"<title>found (.*) end</title>", shown, re.DOTALL)[1]))
