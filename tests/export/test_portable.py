"""The changes to an exported folder: greedy decoding, a chat template, and files for transformers 4."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from stc.export.portable import make_portable


@pytest.fixture
def finished(tiny_model: Path, tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "chat_template.jinja").unlink()
    (folder / "generation_config.json").write_text('{"do_sample": true, "top_k": 20, "eos_token_id": [2, 1]}')
    make_portable(folder)
    return folder


def content(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found


def test_folder_has_greedy_decoding_and_a_chat_template(finished: Path) -> None:
    greedy = {"do_sample": False, "repetition_penalty": 1.0, "eos_token_id": [2, 1]}
    assert content(finished / "generation_config.json") == greedy
    assert "Audio " in (finished / "chat_template.jinja").read_text("utf-8")


def test_keys_of_older_transformers_are_present_and_conflicting_ones_are_not(finished: Path) -> None:
    assert content(finished / "preprocessor_config.json")["feature_extractor_type"] == "WhisperFeatureExtractor"
    assert "feature_extractor" not in content(finished / "processor_config.json")
    assert "extra_special_tokens" not in content(finished / "tokenizer_config.json")
    assert content(finished / "config.json")["text_config"]["rope_theta"] == 10000.0


def test_transformers_reads_the_same_as_before(finished: Path, tiny_model: Path) -> None:
    from transformers import AutoConfig, AutoProcessor

    after, before = (AutoProcessor.from_pretrained(folder) for folder in (finished, tiny_model))
    assert after.feature_extractor.to_dict() == before.feature_extractor.to_dict()
    assert after.tokenizer.all_special_tokens == before.tokenizer.all_special_tokens
    after, before = (AutoConfig.from_pretrained(folder).to_diff_dict() for folder in (finished, tiny_model))
    assert {**after, "_name_or_path": ""} == {**before, "_name_or_path": ""}


def test_second_call_changes_nothing(finished: Path) -> None:
    before = {file.name: file.read_bytes() for file in finished.iterdir()}
    make_portable(finished)
    assert {file.name: file.read_bytes() for file in finished.iterdir()} == before
