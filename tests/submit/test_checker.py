"""The checker finds every kind of fault in a hand-in, by file and line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stc.submit.__main__ import main
from stc.submit.checker import check

TEXTS = "test.en-de.txt"


@pytest.fixture
def copy(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "copy"))


def stated(**changed: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "description.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changed}))

    return change


def line_3(new: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        lines = (folder / TEXTS).read_bytes().split(b"\n")
        lines[2] = new
        (folder / TEXTS).write_bytes(b"\n".join(lines))

    return change


def text(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / TEXTS).write_bytes(change((folder / TEXTS).read_bytes())) and None


def test_hand_in_that_stc_wrote_has_no_faults_and_a_note_about_missing_test_sets(good: Path) -> None:
    found = check(good)
    assert found.faults == []
    assert found.notes == ["1 of the 6 test sets of en-de are there"]


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (line_3(b" "), f"{TEXTS}, line 3: is empty"),
        (line_3("Ein\u2028Satz".encode()), f"{TEXTS}, line 3: has U+2028 in it"),
        (line_3(b"Ein Satz\r"), f"{TEXTS}, line 3: has a carriage return in it"),
        (line_3(b"Ein \xff Satz"), f"{TEXTS}, line 3: is not UTF-8"),
        (line_3(b"Ein\nSatz"), f"{TEXTS} has 9 lines, and its test set 8 segments"),
        (text(lambda old: old[: old.index(b"\n") + 1]), f"{TEXTS} has 1 lines, and its test set 8 segments"),
        (text(lambda old: b"\xef\xbb\xbf" + old), f"{TEXTS} begins with a byte order mark"),
        (text(lambda old: old[:-1]), f"{TEXTS} does not end with a newline"),
        (lambda folder: (folder / TEXTS).unlink(), f"{TEXTS} cannot be read"),
        (lambda folder: (folder / "test.txt").touch(), "test.txt: no file of the hand-in is called so"),
        (stated(model_name="KIT_primary"), "model_name 'KIT_primary' is not TEAM_IWSLT26"),
        (stated(language_pair="en-zh"), "contradicts language_pair or condition"),
        (stated(storage_bytes="16 GB"), "storage_bytes is '16 GB': the exact storage size is mandatory"),
        (stated(parameters=None), "parameters is None: the number of parameters is mandatory"),
        (stated(techniques=[]), "techniques are mandatory"),
        (stated(datasets=["acl6060", "CoVoST 2"]), "constrained allows ACL 60/60 only, not CoVoST 2"),
        (stated(condition="unconstrained", datasets=[]), "datasets are mandatory in the unconstrained condition"),
        (stated(storage_bytes=12345), "description.md does not state storage_bytes, 12345"),
        (stated(test_sets=[]), "there are no test_sets"),
        (lambda folder: (folder / "description.md").unlink(), "description.md cannot be read"),
        (lambda folder: (folder / "description.json").unlink(), "description.json is missing"),
        (lambda folder: (folder / "description.json").write_text("{"), "description.json cannot be read"),
    ],
)
def test_fault_is_found(spoil: Callable[[Path], object], fault: str, copy: Path) -> None:
    spoil(copy)
    assert [one for one in check(copy).faults if fault in one]


def test_lines_are_counted_against_the_data_if_they_are_named(good: Path, tiny_manifest: Path, tmp_path: Path) -> None:
    assert check(good, {"test": tiny_manifest}).faults == []
    shorter = tmp_path / "shorter.jsonl"
    shorter.write_text('{"audio": "0.wav"}\n')
    assert check(good, {"test": shorter}).faults == [f"{TEXTS} has 8 lines, and its test set 1 segments"]
    assert check(good, {"dev": shorter}).faults == ["dev: description.json has no such test set"]


def test_command_lists_the_faults_and_its_exit_code_tells(
    good: Path, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--check", str(good)]) == 0
    assert "no faults" in capsys.readouterr().out
    line_3(b"")(copy)
    assert main(["--check", str(copy)]) == 1
    assert f"fault: {TEXTS}, line 3: is empty" in capsys.readouterr().out
