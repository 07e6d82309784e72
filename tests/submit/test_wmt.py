"""Hand-ins in WMT26's form: the folder translates by itself, and the checker finds what is wrong with it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from stc.data.manifest import Manifest
from stc.decoding.hypotheses import TranslationSettings
from stc.pipeline.stage import Context
from stc.submit.checker import check
from stc.submit.wmt_translate import in_batches

RATE = 16_000


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "elsewhere" / "copy"))


@pytest.fixture
def set_up(copy: Path) -> Path:
    """A hand-in with an environment, as setup.sh would make it: this Python, in which there is no stc."""
    python = copy / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (copy / "stc.py").write_text("raise ImportError('a hand-in does not need stc')\n")
    return copy


def run(folder: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(folder / "run.sh"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


def test_folder_is_complete_and_its_packages_have_the_versions_that_are_installed(folder: Path) -> None:
    assert check(folder).faults == []
    pinned = dict(line.split("==") for line in (folder / "requirements.txt").read_text().splitlines())
    assert {"torch", "transformers", "soundfile"} <= pinned.keys()
    assert pinned == {name: version(name).split("+")[0] for name in pinned}
    stated = re.search(r"(\d+) bytes on disk", (folder / "README.md").read_text())
    model = [file for file in (folder / "workdir/model").iterdir() if file.name != "README.md"]
    assert stated is not None
    assert int(stated[1]) == sum(file.stat().st_size for file in model)


def test_run_sh_translates_one_line_for_each_without_stc(
    set_up: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    manifest = Manifest.load(tiny_manifest)
    paths = manifest.audio_paths()
    tone = 0.3 * np.sin(np.arange(3 * RATE) / 9).astype("float32")
    soundfile.write(tmp_path / "long.wav", tone, RATE)  # the window is 2 s
    (tmp_path / "input.txt").write_text("".join(f"{path}\n" for path in paths[:3]) + "long.wav\n" + f"{paths[3]}\n")
    done = run(
        set_up, "--lang-pair", "eng-deu", "--batch-size", 3, "--input", tmp_path / "input.txt", "--output",
        tmp_path / "output.txt",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    lines = (tmp_path / "output.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    settings = TranslationSettings(dtype="float32", max_new_tokens=12)
    model = settings.load_model(set_up / "workdir/model", "cpu")
    texts = settings.translate(model, Manifest(manifest.folder, manifest.task, manifest.rows[:4]), ctx)
    assert [*lines[:3], lines[4]] == [" ".join(text.split("\n")).strip() for text in texts]
    assert len(lines) == 5
    assert lines[3]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"--lang-pair": "eng-zho_Hans"}, 2, "this model translates eng-deu"),
        ({"--batch-size": "0"}, 2, "1 or more is needed"),
        ({"--input": "{tmp}/gone.txt"}, 1, "cannot be read"),
        ({}, 1, "input.txt, line 2: there is no audio file"),
    ],
)
def test_wrong_call_is_told_before_the_model_is_loaded(
    options: dict[str, str], code: int, message: str, set_up: Path, tmp_path: Path
) -> None:
    (tmp_path / "input.txt").write_text(f"{set_up}/run.sh\nnothing.wav\n")
    given = {
        "--lang-pair": "en-de_DE",
        "--batch-size": "2",
        "--input": "{tmp}/input.txt",
        "--output": "{tmp}/output.txt",
    }
    arguments = [part.format(tmp=tmp_path) for pair in (given | options).items() for part in pair]
    done = run(set_up, *arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "output.txt").exists()


def test_batch_that_does_not_fit_is_halved_and_no_text_is_lost_or_moved() -> None:
    sizes: list[int] = []

    def translate(sounds: Sequence[Any]) -> list[str]:
        sizes.append(len(sounds))
        if len(sounds) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return [f"text {sound}" for sound in sounds]

    found = list(in_batches(((number, number) for number in range(11)), 8, translate))
    assert found == [(number, f"text {number}") for number in range(11)]
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1]


@pytest.mark.parametrize(
    ("error", "sounds"), [(torch.OutOfMemoryError("CUDA out of memory."), 1), (RuntimeError("shapes differ"), 4)]
)
def test_recording_that_does_not_fit_alone_and_any_other_error_are_raised(error: RuntimeError, sounds: int) -> None:
    def translate(sounds: Sequence[Any]) -> list[str]:
        raise error

    with pytest.raises(RuntimeError, match=str(error)):
        list(in_batches([(number, "sound") for number in range(sounds)], 4, translate))


def replaced(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda folder: (folder / "README.md").unlink(), "README.md cannot be read"),
        (lambda folder: (folder / "requirements.txt").unlink(), "requirements.txt cannot be read"),
        (replaced("requirements.txt", "torch==", "torch>="), "is not pinned, as NAME==VERSION"),
        (replaced("run.sh", "exec ", "if exec "), "run.sh is no valid bash"),
        (
            replaced("run.sh", '"$here/translate.py"', "/home/me/translate.py"),
            "line 6: /home/me/translate.py is",
        ),
        (replaced("setup.sh", "python3 -m venv", "python3.12 -m venv"), "python3.12 may not be there"),
        (replaced("setup.sh", ".venv", ".env"), "setup.sh makes no environment of its own"),
        (replaced("translate.py", '"--batch-size"', '"--batch"'), "run.sh does not take --batch-size"),
        (lambda folder: (folder / "workdir/model/model.safetensors").unlink(), "nothing may be left to download"),
        (
            lambda folder: (shutil.rmtree(folder / "workdir"), replaced("run.sh", "MODEL_DIR", "DIR")(folder)),
            "there is no workdir/model",
        ),
    ],
)
def test_fault_of_a_folder_is_found(spoil: Callable[[Path], object], fault: str, copy: Path) -> None:
    spoil(copy)
    assert [one for one in check(copy).faults if fault in one]


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ('cp "$6" "$8"', ""),
        ('head -1 "$6" >"$8"', "run.sh wrote 1 lines for 2"),
        ("true", "run.sh wrote no output"),
        ("echo no memory >&2; exit 3", "run.sh failed with exit code 3: no memory"),
    ],
)
def test_folder_is_run_as_the_organisers_do(script: str, fault: str, copy: Path, tmp_path: Path) -> None:
    (copy / "run.sh").write_text(
        f"#!/usr/bin/env bash\n# --lang-pair --batch-size --input --output MODEL_DIR\n{script}\n"
    )
    (tmp_path / "input.txt").write_text("one.wav\ntwo.wav\n")
    assert check(copy, run_on=tmp_path / "input.txt").faults == ([fault] if fault else [])
