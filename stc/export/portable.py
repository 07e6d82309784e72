"""What a model folder is given when it leaves: greedy decoding, a chat template, and files that older versions read.

transformers 5 keeps the feature extractor inside processor_config.json, calls further special tokens otherwise, and
puts the base of the rotations among ``rope_parameters``. It reads the former spellings as well, and transformers 4
reads only them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stc.errors import ModelError
from stc.models import architecture, read_config
from stc.models.generation_config import make_greedy
from stc.models.prompts import EXTRACTOR_FILE, PROCESSOR_FILE, TEMPLATE_FILE, template_file
from stc.system.read_files import read_json

OLDEST = "4.57"  # version of transformers that was tried with what this module writes


def finish(folder: Path) -> None:
    """Complete the copy of a model folder, in place.

    Raises:
        ModelError: one of its JSON files is damaged.
    """
    config = read_config(folder)
    make_greedy(folder)
    if template_file(folder) is None:
        template = architecture(config["model_type"]).chat_template
        (folder / TEMPLATE_FILE).write_text(template, encoding="utf-8")
    _spell_processor(folder)
    _spell_tokenizer(folder / "tokenizer_config.json")
    _spell_rotations(folder / "config.json", config)


def _spell_processor(folder: Path) -> None:
    processor = _content(folder / PROCESSOR_FILE)
    if extractor := processor.pop("feature_extractor", None):
        _write(folder / EXTRACTOR_FILE, {**extractor, "processor_class": processor.get("processor_class")})
        _write(folder / PROCESSOR_FILE, processor)


def _spell_tokenizer(file: Path) -> None:
    tokenizer = _content(file)
    if isinstance(tokenizer.get("extra_special_tokens"), list):
        tokenizer["additional_special_tokens"] = tokenizer.pop("extra_special_tokens")
        _write(file, tokenizer)


def _spell_rotations(file: Path, config: dict[str, Any]) -> None:
    spelled = dict(config)
    for name, section in config.items():
        if isinstance(section, dict) and (theta := (section.get("rope_parameters") or {}).get("rope_theta")):
            spelled[name] = {**section, "rope_theta": theta}
    if spelled != config:
        _write(file, spelled)


def _content(file: Path) -> dict[str, Any]:
    try:
        return read_json(file, dict[str, Any], error=ModelError)
    except FileNotFoundError:
        return {}


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
