"""The sentence patterns, by what they are about. Importing this package registers them all."""

from talks.patterns import (
    clauses,
    content,
    description,
    giving,
    joined,
    known,
    numbers,
    passive,
    purpose,
    questions,
    reasons,
    relative,
    talks,
    timing,
    wh,
)

__all__ = [
    "clauses", "content", "description", "giving", "joined", "known", "numbers", "passive", "purpose", "questions",
    "reasons", "relative", "talks", "timing", "wh",
]  # fmt: skip
