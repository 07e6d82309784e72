"""Texts that are written one per line."""

from __future__ import annotations

import re

_LINE_END = re.compile("\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")  # all that str.splitlines knows


def one_line(text: str) -> str:
    """Return a text with a space in place of every character that some program takes for the end of a line.

    Texts are scored and written in this form, so that scoring the files again gives the same scores.
    """
    return _LINE_END.sub(" ", text)
