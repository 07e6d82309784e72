"""Of a folder's generation_config.json only tokens are used; the rest is left out and logged."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from stc.errors import ModelError
from stc.models.generation_config import make_greedy
from stc.models.load_and_save import load, save

UNSAVABLE = {"do_sample": False, "temperature": 0.7, "top_p": 0.5, "top_k": 20}
PUBLISHED = {
    **{"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.5, "repetition_penalty": 1.1},
    **{"chat_format": "chatml", "eos_token_id": [3, 4], "pad_token_id": 5, "bos_token_id": 6},
}


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def state(folder: Path, content: object) -> None:
    (folder / "generation_config.json").write_text(json.dumps(content))


def stated(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "generation_config.json").read_text())
    content.pop("transformers_version", None)
    return content


def saved(folder: Path, out: Path) -> dict[str, Any]:
    save(load(folder, device="cpu", dtype="float32"), out)
    return stated(out)


def test_setting_that_transformers_refuses_to_save_is_left_out_and_logged(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state(folder, {**UNSAVABLE, "eos_token_id": 1})
    with caplog.at_level(logging.INFO, "stc"):
        assert saved(folder, tmp_path / "out") == {"do_sample": False, "repetition_penalty": 1.0, "eos_token_id": 1}
    assert "temperature=0.7, top_p=0.5, top_k=20" in caplog.text
    assert str(folder / "generation_config.json") in caplog.text


def test_tokens_are_kept_and_sampling_and_penalties_are_not(folder: Path, tmp_path: Path) -> None:
    state(folder, PUBLISHED)
    assert saved(folder, tmp_path / "out") == {
        **{"do_sample": False, "repetition_penalty": 1.0},
        **{"eos_token_id": [3, 4], "pad_token_id": 5, "bos_token_id": 6},
    }


def test_nothing_is_logged_for_a_model_that_stc_saved(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    saved(folder, tmp_path / "out")
    with caplog.at_level(logging.INFO, "stc"):
        load(tmp_path / "out", device="cpu", dtype="float32")
    assert caplog.text == ""


def test_folder_without_tokens_gets_those_of_its_config(folder: Path) -> None:
    ends = stated(folder)["eos_token_id"]
    (folder / "generation_config.json").unlink()
    assert load(folder, device="cpu", dtype="float32").model.generation_config.eos_token_id == ends


@pytest.mark.parametrize("content", ["{", "[]", '{"eos_token_id": "two"}', '{"pad_token_id": 1.5}'])
def test_damaged_file_is_refused_by_name(folder: Path, content: str) -> None:
    (folder / "generation_config.json").write_text(content)
    with pytest.raises(ModelError, match=r"generation_config\.json"):
        load(folder, device="cpu", dtype="float32")


def test_saying_greedy_changes_the_file_and_makes_none(tmp_path: Path) -> None:
    make_greedy(tmp_path)
    assert list(tmp_path.iterdir()) == []
    state(tmp_path, PUBLISHED)
    make_greedy(tmp_path)
    assert stated(tmp_path) == {
        **{"do_sample": False, "repetition_penalty": 1.0},
        **{"eos_token_id": [3, 4], "pad_token_id": 5, "bos_token_id": 6},
    }
