"""The language pair that a model translates."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from stc.system.language_tags import LanguageTag


class Task(BaseModel):
    """A language pair as language tags, and the target's English name for the prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_lang: LanguageTag = "en"
    target_lang: LanguageTag
    target_name: str
