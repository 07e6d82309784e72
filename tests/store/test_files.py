"""Files on their way to disk, for whoever shares the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from stc.system.durable_files import make_durable, write_atomically


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder made by somebody who shares with a group."""
    previous = os.umask(0o002)
    (tmp_path / "shared").mkdir()
    yield tmp_path / "shared"
    os.umask(previous)


def mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


def test_weights_can_be_read_and_written_by_whoever_may_read_and_write_their_folder(folder: Path) -> None:
    save_file({"weight": np.zeros(2)}, folder / "model.safetensors")
    make_durable(folder / "model.safetensors")
    assert mode(folder / "model.safetensors") == 0o664


def test_sound_that_lies_elsewhere_as_well_keeps_its_permissions(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs.wav").touch(0o600)
    (folder / "0.wav").hardlink_to(tmp_path / "theirs.wav")
    make_durable(folder / "0.wav")
    assert mode(tmp_path / "theirs.wav") == 0o600


def test_what_replaces_a_file_is_on_disk_before_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "generation"
    file.write_text("1")
    seen = []

    def fsync(descriptor: int) -> None:
        seen.append((Path(os.readlink(f"/proc/self/fd/{descriptor}")).read_text(), file.read_text()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(file, "2")
    assert seen == [("2", "1")]
    assert file.read_text() == "2"
