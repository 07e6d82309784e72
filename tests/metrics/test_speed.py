"""Speed and memory are measured in a process of their own."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stc.data.manifest import Manifest
from stc.errors import StcError
from stc.metrics.score_files import Speed
from stc.metrics.size import size_of
from stc.metrics.speed import SpeedRequest, measure_speed


@pytest.fixture(scope="module")
def request_(tiny_model: Path, tiny_manifest: Path) -> SpeedRequest:
    return SpeedRequest(
        model=str(tiny_model),
        data=str(tiny_manifest),
        utterances=3,
        device="cpu",
        dtype="float32",
        attention="sdpa",
        max_new_tokens=4,
        decode_batch=2,
        threads=1,
    )


@pytest.fixture(scope="module")
def measured(request_: SpeedRequest) -> tuple[Speed, str]:
    """The answer, and the standard error of the measuring process."""
    ballast = np.ones(12 * 10**8 // 8)  # 1.2 GB resident in this process
    output: list[str] = []
    run = subprocess.run

    def run_and_record(*arguments: Any, **settings: Any) -> subprocess.CompletedProcess[str]:
        done = run(*arguments, **settings)
        output.append(done.stderr)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", run_and_record)
        speed = measure_speed(request_)
    assert ballast.all()
    return speed, "".join(output)


@pytest.fixture(scope="module")
def speed(measured: tuple[Speed, str]) -> Speed:
    return measured[0]


def test_measuring_process_writes_nothing_to_standard_error(measured: tuple[Speed, str]) -> None:
    assert measured[1] == ""


def test_only_the_first_utterances_are_timed(speed: Speed, tiny_manifest: Path) -> None:
    rows = Manifest.load(tiny_manifest).rows[:3]
    assert (speed.utterances, speed.audio_seconds) == (3, sum(row.duration for row in rows))


def test_times_are_positive_and_loading_is_not_part_of_them(speed: Speed) -> None:
    assert speed.rtf > 0
    assert speed.rtf_batched > 0
    assert speed.load_seconds > 0


def test_memory_of_the_parent_does_not_count(speed: Speed) -> None:
    assert 10**8 < speed.peak_memory_bytes < 1.1 * 10**9
    assert speed.peak_memory_bytes <= speed.peak_memory_batched_bytes


def test_user_error_is_passed_on_as_it_is(request_: SpeedRequest, tmp_path: Path) -> None:
    with pytest.raises(StcError, match=r"manifest\.jsonl is missing") as caught:
        measure_speed(dataclasses.replace(request_, data=str(tmp_path)))
    assert "Traceback" not in str(caught.value)


def test_failing_process_is_reported_with_its_output(request_: SpeedRequest) -> None:
    uncountable: Any = "three"
    with pytest.raises(StcError, match=r"exited with 1\n(.*\n)*TypeError"):
        measure_speed(dataclasses.replace(request_, utterances=uncountable))


def test_size_counts_the_weights_alone(tiny_model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(tiny_model, copy)
    (copy / "notes.txt").write_text("x" * 1000)
    weights = sum(file.stat().st_size for file in copy.glob("*.safetensors"))
    assert size_of(copy).bytes_on_disk == weights > 0


def test_folder_without_weights_has_no_size(tmp_path: Path) -> None:
    with pytest.raises(StcError, match=r"config\.json"):
        size_of(tmp_path)
