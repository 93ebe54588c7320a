"""How numbers and texts stand in a page: base64 of little-endian arrays, and of compressed JSON."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike


def packed_array(values: np.ndarray, dtype: DTypeLike) -> str:
    """An array, row by row; the page reads it as a typed array of that type."""
    array = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
    return base64.b64encode(array.tobytes()).decode()


def packed_texts(texts: Sequence[object]) -> str:
    """A list as gzipped JSON; equal lists are equal bytes. Half a character becomes a question mark."""
    text = json.dumps(texts, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(errors="replace"), mtime=0)).decode()
