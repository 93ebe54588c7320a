"""Run one part in the environment whose Python this is: ``python -m gpu_parts PART PLACE.json ANSWER.json``."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from pathlib import Path

from gpu_parts.common import Found, Place, Skip, Unsound


def main(part: str, place: Path, answer: Path) -> None:
    """Run a part; its answer says how it ended. The exit code is 0 whatever that is."""
    told = json.loads(place.read_text(encoding="utf-8"))
    found = Found(answer)
    try:
        measure = importlib.import_module(f"gpu_parts.{part}").measure
        measure(Place(**{**told, "folder": Path(told["folder"])}), found)
    except Skip as why:
        found.write("skipped", str(why))
    except Unsound as why:
        found.write("failed", str(why))
    except Exception as error:
        traceback.print_exc()
        found.write("failed", f"{type(error).__name__}: {error}")
    else:
        found.write("ok")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
