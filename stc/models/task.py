"""The task of a model: the language pair that it translates."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from stc.system.language_tags import LanguageTag


class Task(BaseModel):
    """A language pair: language tags, and the target's English name as a prompt says it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_lang: LanguageTag = "en"
    target_lang: LanguageTag
    target_name: str
