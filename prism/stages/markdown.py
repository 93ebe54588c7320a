"""Tables in Markdown, for pages and for the readable side of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def markdown_table(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table, without its index; texts that look like numbers stay as they are."""
    return frame.to_markdown(index=False, disable_numparse=True)
