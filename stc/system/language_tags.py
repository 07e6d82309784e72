"""Normalise language tags (BCP 47), and look up what follows from them: the script, the nearest known tag.

People write ``zh_TW``, ``ZH``, ``zho`` and ``cmn``. stc stores only the normal form. The registry is in langcodes,
which is imported only when it is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator

Found = TypeVar("Found")

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Chinese characters, for a set of characters in a regular expression."""
HAN_SCRIPTS = frozenset({"Hans", "Hant", "Hani"})
"""The scripts (ISO 15924) of Chinese characters alone."""
WITHOUT_SPACES = HAN_SCRIPTS | {"Jpan", "Hira", "Kana", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"}
"""The scripts that put no space between words."""
_NO_LANGUAGE = (None, "mul", "mis", "zxx")  # undetermined, multiple, uncoded, none


def normal_tag(tag: str) -> str:
    """Return the normal form of a language tag: ``zh-TW`` for ``zh_tw``, ``zh`` for ``zho`` and for ``cmn``.

    Raises:
        ValueError: the tag names no language.
    """
    from langcodes import Language as Parsed
    from langcodes import LanguageTagError, standardize_tag, tag_is_valid

    try:
        found = standardize_tag(tag, macro=True)
        if tag_is_valid(found) and Parsed.get(found).language not in _NO_LANGUAGE:
            return found
    except LanguageTagError:
        pass
    raise ValueError(f"{tag!r} names no language: a tag of BCP 47 is needed, such as de, zh, zh-TW or gsw")


LanguageTag = Annotated[str, AfterValidator(normal_tag)]
"""The type of a field that takes any spelling of a tag and stores its normal form."""


def primary_language(tag: str) -> str:
    """Return the language of a tag without script and region: ``zh`` of ``zh-Hant-TW``.

    Raises:
        ValueError: it names no language.
    """
    from langcodes import Language as Parsed

    return str(Parsed.get(normal_tag(tag)).language)


def script(tag: str) -> str:
    """Return the script (ISO 15924) of a tag: the one it states, else the usual one of the language."""
    from langcodes import Language as Parsed

    return Parsed.get(tag).maximize().script or ""


def nearest_entry(known: Mapping[str, Found], tag: str) -> Found | None:
    """Return the entry of a language, else of the nearest broader one (``zh`` for ``zh-TW``), else None."""
    from langcodes import Language as Parsed

    return next((known[wider] for wider in Parsed.get(tag).broader_tags() if wider in known), None)
