"""Decide which of two languages a text is in, by py3langid."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from stc.errors import InputError

_MAX_DISTANCE = 5  # langcodes' distance up to which two tags are one language to py3langid, such as nb and no


@cache
def identify_between(first: str, second: str) -> Callable[[str], tuple[bool, float]]:
    """Return a function that says of a text whether it is in the first language, and the probability of its answer.

    py3langid identifies a short sentence well between two languages, and badly among a hundred.

    Args:
        first: a language tag, as ``second``.

    Raises:
        InputError: py3langid does not know one of them.
    """
    from langcodes import closest_supported_match
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    labels = list(identifier.labels)
    known = [closest_supported_match(tag, labels, max_distance=_MAX_DISTANCE) for tag in (first, second)]
    for tag, label in zip((first, second), known, strict=True):
        if label is None:
            raise InputError(f"py3langid does not know {tag}")
    identifier.set_languages(known)

    def identify(text: str) -> tuple[bool, float]:
        label, probability = identifier.classify(text)
        return label == known[0], float(probability)

    return identify
