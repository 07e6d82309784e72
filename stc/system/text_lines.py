"""Texts that are written one a line."""

from __future__ import annotations

import re

_LINE_END = re.compile("\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")  # all that str.splitlines knows


def one_line(text: str) -> str:
    """Return a text with a space in place of whatever some program takes for the end of a line.

    Texts are scored and written so: who scores the files again, a text a line, gets the same.
    """
    return _LINE_END.sub(" ", text)
