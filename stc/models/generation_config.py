"""generation_config.json: stc reads the begin, end and padding tokens, and nothing else.

Sampling and penalties that a base asks for would change what ``generate`` and vLLM make of a model, and transformers
loads some of them but refuses to save them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from stc.errors import ModelError
from stc.system.read_files import MEBIBYTE, read_json

GENERATION_FILE = "generation_config.json"
GREEDY = {"do_sample": False, "repetition_penalty": 1.0}
_NOT_ABOUT_DECODING = ("transformers_version", "_from_model_config")


class GenerationSettings(BaseModel):
    """The fields of a generation_config.json that stc uses; ``model_extra`` has the others."""

    model_config = ConfigDict(extra="allow", strict=True)

    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    @classmethod
    def read(cls, folder: Path) -> GenerationSettings | None:
        """Return the settings in a model folder; None if it has no such file.

        Raises:
            ModelError: the file is damaged.
        """
        try:
            return read_json(folder / GENERATION_FILE, cls, limit=MEBIBYTE, error=ModelError)
        except FileNotFoundError:
            return None

    @property
    def greedy(self) -> dict[str, Any]:
        """The fields of a configuration that decodes greedily, with these tokens."""
        return {**GREEDY, **self.model_dump(include=set(type(self).model_fields), exclude_none=True)}

    @property
    def left_out(self) -> list[str]:
        """The settings, as NAME=VALUE, that :attr:`greedy` leaves out or changes."""
        other = {name: value for name, value in (self.model_extra or {}).items() if name not in _NOT_ABOUT_DECODING}
        return [f"{name}={value}" for name, value in other.items() if value is not None and GREEDY.get(name) != value]


def make_greedy(folder: Path) -> None:
    """Rewrite a folder's generation_config.json, if it has one, to greedy decoding.

    Raises:
        ModelError: the file is damaged.
    """
    if settings := GenerationSettings.read(folder):
        content = json.dumps(settings.greedy, indent=2, sort_keys=True)
        (folder / GENERATION_FILE).write_text(content + "\n", encoding="utf-8")
