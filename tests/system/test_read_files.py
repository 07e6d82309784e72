"""Files that somebody else wrote are read within bounds, or refused by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from stc.errors import InputError, ModelError
from stc.system.read_files import read_bytes, read_json, read_text, read_yaml


class Shape(BaseModel):
    number: int


def test_a_file_of_the_right_shape_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('\ufeff{"number": 3}', encoding="utf-8")
    assert read_json(tmp_path / "a.json", Shape).number == 3


@pytest.mark.parametrize(
    "content",
    [b"[" * 100_000, b'{"number": ' + b"1" * 5_000 + b"}", b'{"number": "x"}', b"[]", b"", b"\xff\xfe", b"{"],
    ids=["deep", "long number", "wrong type", "a list", "empty", "no UTF-8", "torn"],
)
def test_what_is_not_of_the_shape_is_refused_with_the_file_s_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.json"):
        read_json(tmp_path / "a.json", Shape, error=ModelError)


def test_deep_json_is_refused_for_a_shape_that_allows_anything(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    with pytest.raises(InputError, match=r"a\.json"):
        read_json(tmp_path / "a.json", dict[str, Any])


def test_a_pipe_and_a_folder_and_a_device_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "pipe"), (tmp_path, "folder"), (Path("/dev/zero"), "device")):
        with pytest.raises(InputError, match=kind):
            read_bytes(path, limit=10)


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(InputError, match="cannot be read"):
        read_text(tmp_path / "a")


def test_more_bytes_than_allowed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", limit=5) == b"12345"
    with pytest.raises(InputError, match="more than 4"):
        read_bytes(tmp_path / "a", limit=4)


def test_what_is_not_there_is_left_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "a.json", Shape)


@pytest.mark.parametrize("content", ["a: [", "[]", "[" * 5_000, "a: b: c", "\x00"], ids=lambda text: repr(text)[:9])
def test_yaml_that_is_no_config_is_refused_with_the_file_s_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(content)
    with pytest.raises(InputError, match=r"a\.yaml"):
        read_yaml(tmp_path / "a.yaml")


def test_a_pipe_is_no_yaml_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(InputError, match="pipe"):
        read_yaml(tmp_path / "a.yaml")
