"""What of a text reaches a document: signs that are text, and none that turn the others round."""

import unicodedata
from typing import Any

# Marks that would let a name turn round the figures beside it.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


def printable(data: Any) -> Any:
    """The data with every text in it on one line and without signs that are no text."""
    if isinstance(data, str):
        kept = (sign for sign in data if sign not in _TURNING and unicodedata.category(sign) not in ("Cc", "Cs", "Cn"))
        return "".join(kept)
    if isinstance(data, dict):
        return {key: printable(value) for key, value in data.items()}
    return [printable(each) for each in data] if isinstance(data, list | tuple) else data


def text_lines(text: str) -> list[str]:
    """The lines of a text that say something."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]
