"""Language tags (BCP 47), normalised in one place, and what follows from them: the script, the nearest known tag.

``zh_TW``, ``ZH``, ``zho`` and ``cmn`` are spellings that people use. Everything in stc that holds a tag holds its
normal form, so that nothing has to know the spellings. langcodes, which is imported where it is needed, has the
registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator

Found = TypeVar("Found")

HAN_SCRIPTS = frozenset({"Hans", "Hant", "Hani"})
"""The scripts (ISO 15924) of Chinese characters alone."""
WITHOUT_SPACES = HAN_SCRIPTS | {"Jpan", "Hira", "Kana", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"}
"""The scripts that put no space between words."""
_NO_LANGUAGE = (None, "mul", "mis", "zxx")  # undetermined, several, uncoded, none


def normal_tag(tag: str) -> str:
    """Return the normal form of a language tag: ``zh-TW`` for ``zh_tw``, ``zh`` for ``zho`` and for ``cmn``.

    Raises:
        ValueError: it names no language.
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
"""A field that takes any spelling of a tag and holds its normal form."""


def primary_language(tag: str) -> str:
    """Return the language of a tag without script and region: ``zh`` of ``zh-Hant-TW``.

    Raises:
        ValueError: it names no language.
    """
    from langcodes import Language as Parsed

    return str(Parsed.get(normal_tag(tag)).language)


def script(tag: str) -> str:
    """Return the script (ISO 15924) that a language is written in, where the tag does not say, the usual one."""
    from langcodes import Language as Parsed

    return Parsed.get(tag).maximize().script or ""


def nearest_entry(known: Mapping[str, Found], tag: str) -> Found | None:
    """Return what is known of a language, else of the nearest wider one (of ``zh`` for ``zh-TW``), else None."""
    from langcodes import Language as Parsed

    return next((known[wider] for wider in Parsed.get(tag).broader_tags() if wider in known), None)
