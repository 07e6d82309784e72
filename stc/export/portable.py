"""Changes to a model folder before it leaves: greedy decoding, a chat template, and files that transformers 4 reads.

transformers 5 keeps the feature extractor inside processor_config.json, renamed a list of special tokens, and puts the
base of the rotary embedding among ``rope_parameters``. It still reads the former files and keys, and transformers 4
reads only those.
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

OLDEST = "4.57"  # the oldest version of transformers that the changed folder was tried with


def make_portable(folder: Path) -> None:
    """Change the copy of a model folder, in place.

    Raises:
        ModelError: one of its JSON files is damaged.
    """
    config = read_config(folder)
    make_greedy(folder)
    if template_file(folder) is None:
        template = architecture(config["model_type"]).chat_template
        (folder / TEMPLATE_FILE).write_text(template, encoding="utf-8")

    processor = _read(folder / PROCESSOR_FILE)
    if extractor := processor.pop("feature_extractor", None):
        _write(folder / EXTRACTOR_FILE, {**extractor, "processor_class": processor.get("processor_class")})
        _write(folder / PROCESSOR_FILE, processor)

    tokenizer = _read(folder / "tokenizer_config.json")
    if isinstance(tokenizer.get("extra_special_tokens"), list):
        tokenizer["additional_special_tokens"] = tokenizer.pop("extra_special_tokens")
        _write(folder / "tokenizer_config.json", tokenizer)

    changed = dict(config)
    for name, section in config.items():
        if isinstance(section, dict) and (theta := (section.get("rope_parameters") or {}).get("rope_theta")):
            changed[name] = {**section, "rope_theta": theta}
    if changed != config:
        _write(folder / "config.json", changed)


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_json(file, dict[str, Any], error=ModelError)
    except FileNotFoundError:
        return {}


def _write(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
