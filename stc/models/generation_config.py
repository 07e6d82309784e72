"""What a folder's generation_config.json says: the tokens that begin, end and fill up a text, and nothing else.

stc decodes as it is told and reads nothing else of the file. Sampling and penalties that a base asks for would change
what ``generate`` and vLLM make of a model afterwards, and some of them transformers loads and refuses to save.
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
_SAYS_NOTHING = ("transformers_version", "_from_model_config")  # of how to decode


class GenerationSettings(BaseModel):
    """A generation_config.json, as far as stc uses it; ``model_extra`` has the rest."""

    model_config = ConfigDict(extra="allow", strict=True)

    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    @classmethod
    def of(cls, folder: Path) -> GenerationSettings | None:
        """Return what a model folder states; None where it has no such file.

        Raises:
            ModelError: the file is damaged.
        """
        try:
            return read_json(folder / GENERATION_FILE, cls, limit=MEBIBYTE, error=ModelError)
        except FileNotFoundError:
            return None

    @property
    def tokens(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).model_fields if getattr(self, name) is not None}

    @property
    def greedy(self) -> dict[str, Any]:
        """The fields of a configuration that decodes greedily, with these tokens."""
        return {**GREEDY, **self.tokens}

    @property
    def left_out(self) -> list[str]:
        """What :attr:`greedy` leaves out or changes, with the values stated."""
        other = {name: value for name, value in (self.model_extra or {}).items() if name not in _SAYS_NOTHING}
        return [f"{name}={value}" for name, value in other.items() if value is not None and GREEDY.get(name) != value]


def say_greedy(folder: Path) -> None:
    """Have a folder's generation_config.json, where there is one, say greedy decoding.

    Raises:
        ModelError: the file is damaged.
    """
    if stated := GenerationSettings.of(folder):
        content = json.dumps(stated.greedy, indent=2, sort_keys=True)
        (folder / GENERATION_FILE).write_text(content + "\n", encoding="utf-8")
