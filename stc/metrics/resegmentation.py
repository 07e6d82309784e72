"""Divide the translation of a whole talk into the lines of its reference, so that sentences can be scored.

The method is that of mwerSegmenter (Matusov et al. 2005, "Evaluating machine translation output with automatic sentence
segmentation"): of all divisions, one for which the edit distances between the parts and their reference lines have the
lowest sum. That sum is the edit distance between both texts as wholes, so one alignment of the whole texts gives it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import numpy as np

from stc.errors import InputError, StcError
from stc.system.language_tags import WITHOUT_SPACES, script
from stc.system.text_lines import one_line

Method = Literal["levenshtein", "mweralign"]
METHODS: tuple[Method, ...] = get_args(Method)

_WORD = re.compile(r"\S+")
_CHARACTER = re.compile(r"[0-9A-Za-z\u00c0-\u024f]+|\S")  # a word in Latin letters is not torn apart


def check_ready(method: Method) -> None:
    """Raise InputError if the program of a method is missing."""
    if method == "mweralign" and shutil.which("mweralign") is None:
        raise InputError("the program mweralign is not on PATH; it has the licence GPL-3: pip install mweralign")


def resegment(text: str, references: Sequence[str], target_lang: str, method: Method = "levenshtein") -> list[str]:
    """Return the parts of ``text`` that belong to the lines of its reference, in order; a part may be empty.

    Words are compared without regard to case. In a script without spaces between words, characters are compared.

    Args:
        method: ``levenshtein`` is computed here; ``mweralign`` (Post and Hoang 2025) is a program of its own.

    Raises:
        InputError: the program is missing.
        StcError: it failed.
    """
    by_character = script(target_lang) in WITHOUT_SPACES
    text, references = one_line(text), list(map(one_line, references))
    if method == "mweralign":
        return _mweralign(text, references, by_character)
    units = _CHARACTER if by_character else _WORD
    found = list(units.finditer(text))
    numbers: dict[str, int] = {}

    def numbered(words: Sequence[str]) -> np.ndarray:
        return np.array([numbers.setdefault(word.casefold(), len(numbers)) for word in words], dtype=np.int64)

    lines = [numbered(units.findall(line)) for line in references]
    ends = line_ends(numbered([word.group() for word in found]), lines)
    starts = [word.start() for word in found] + [len(text)]
    cuts = [0, *(starts[end] for end in ends)]
    return [text[start:end].strip() for start, end in pairwise(cuts)]


def line_ends(hypothesis: np.ndarray, lines: Sequence[np.ndarray]) -> list[int]:
    """Return how many words of a hypothesis belong to the first line of its reference, to the first two, and so on.

    The division has the lowest sum of edit distances; insertion, deletion and substitution cost 1 each.

    Args:
        hypothesis: words as integers, (words,).
        lines: the same for each line of the reference.
    """
    words = np.arange(len(hypothesis) + 1)
    distance = words  # between the reference so far and the first words of the hypothesis
    begins: list[np.ndarray] = []  # for each line and each of its possible ends, where it begins
    for line in lines:
        begin = words
        for word in line:
            aligned = distance[:-1] + (hypothesis != word)
            deleted = distance + 1
            use = aligned <= deleted[1:]
            cost, origin = deleted, begin.copy()
            cost[1:] = np.where(use, aligned, deleted[1:])
            origin[1:] = np.where(use, begin[:-1], begin[1:])
            # The rest are insertions: the cost at an earlier word, and 1 for each word since.
            lowest = np.minimum.accumulate(cost - words)
            earlier = np.maximum.accumulate(np.where(cost - words == lowest, words, 0))
            distance, begin = lowest + words, origin[earlier]
        begins.append(begin)
    ends = [len(hypothesis)]
    for begin in reversed(begins[1:]):
        ends.append(int(begin[ends[-1]]))
    return ends[::-1] if lines else []


def _mweralign(text: str, references: Sequence[str], by_character: bool) -> list[str]:
    check_ready("mweralign")
    how = ["-m", "cj", "-w"] if by_character else ["-m", "none"]
    with TemporaryDirectory(prefix="stc-mweralign-") as folder:
        reference, hypothesis, divided = (Path(folder, name) for name in ("reference", "hypothesis", "divided"))
        reference.write_text("".join(f"{line}\n" for line in references), encoding="utf-8")
        hypothesis.write_text(f"{text}\n", encoding="utf-8")
        command = ["mweralign", "-r", str(reference), "-t", str(hypothesis), "-o", str(divided), *how]
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        lines = divided.read_text(encoding="utf-8").splitlines() if divided.exists() else []
    if ran.returncode or len(lines) != len(references):
        tail = "\n".join(ran.stderr.splitlines()[-5:])
        raise StcError(f"mweralign ended with {ran.returncode}, and {len(lines)} of {len(references)} lines\n{tail}")
    return [line.strip() for line in lines]
