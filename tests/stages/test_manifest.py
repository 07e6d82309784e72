"""manifest reads a folder of speech with texts, names what is wrong with it, and leaves it as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stc.data.manifest import Manifest as Rows
from stc.data.manifest import Task
from stc.errors import InputError
from stc.stage import Context
from stc.stages.manifest import Columns, Manifest

TASK = Task(target_lang="de", target_name="German")


def line(number: int, **changes: Any) -> dict[str, Any]:
    return {"audio": f"audio/{number}.wav", "en": f"Sentence {number}.", "de": f"Satz {number}."} | changes


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with the audio of three utterances."""
    folder = tmp_path / "data"
    (folder / "audio").mkdir(parents=True)
    for number in range(3):
        soundfile.write(folder / f"audio/{number}.wav", np.full(8000, 0.1 * number), 16000)
    return folder


@pytest.fixture
def read(data: Path, tmp_path: Path, ctx: Context) -> Callable[..., Rows]:
    """``read(lines)`` or ``read(bytes)``: what the stage makes of a split with this content."""

    def run(content: list[dict[str, Any]] | bytes, **fields: Any) -> Rows:
        if not isinstance(content, bytes):
            content = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in content).encode()
        (data / "test.jsonl").write_bytes(content)
        columns = Columns(audio="audio", source="en", target="de")
        stage = Manifest(path=data, split="test", columns=columns, task=TASK, **fields)
        out = tmp_path / "out"
        out.mkdir()
        stage.surroundings(ctx)
        stage.run({}, out, ctx)
        in_place = stage.in_place()
        rows = Rows.load(out)
        assert [row.model_copy(update={"audio": ""}) for row in rows.rows] == [
            row.model_copy(update={"audio": ""}) for row in in_place.rows
        ]
        assert [path.read_bytes() for path in rows.audio_paths()] == [
            path.read_bytes() for path in in_place.audio_paths()
        ]
        return rows

    return run


def test_what_a_line_lacks_is_found_out(read: Callable[..., Rows]) -> None:
    rows = read([line(0), line(1, id="named")]).rows
    assert [row.id for row in rows] == ["test-000001", "named"]
    assert [row.duration for row in rows] == [0.5, 0.5]
    assert [row.target for row in rows] == ["Satz 0.", "Satz 1."]


def test_blank_lines_and_a_byte_order_mark_are_passed_over(read: Callable[..., Rows]) -> None:
    content = "\ufeff" + json.dumps(line(0)) + "\r\n\r\n" + json.dumps(line(1)) + "\n\n"
    assert [row.target for row in read(content.encode()).rows] == ["Satz 0.", "Satz 1."]


def test_limit_keeps_the_first_rows(read: Callable[..., Rows]) -> None:
    assert len(read([line(0), line(1), line(2)], limit=2)) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audio": "audio/gone.wav"}, r"line 2: .*gone\.wav is missing"),
        ({"audio": "../outside.wav"}, r"line 2: .*outside\.wav lies outside .*data"),
        ({"audio": "audio"}, r"line 2: .*audio cannot be read"),
        ({"audio": "x" * 300}, r"line 2: .*cannot be read"),
        ({"audio": 5}, r"line 2: no text under 'audio'"),
        ({"de": ""}, r"line 2: the text under 'de' is empty"),
        ({"de": " \n"}, r"line 2: the text under 'de' is empty"),
        ({"de": "\ud800"}, r"line 2: under 'de' is no text"),
        ({"id": "same"}, r"line 2: id 'same' is that of line 1, too"),
        ({"id": "./same"}, r"line 2: id './same' is the file of another line"),
        ({"id": "../../escaped"}, r"line 2: id '../../escaped' names a file outside"),
        ({"id": "n" * 300}, r"line 2: id 'n+'… is too long"),
        ({"sha256": "0" * 64}, r"line 2: .*1\.wav is not the file the line describes"),
        ({"duration": -1}, r"line 2: duration"),
        ({"duration": float("inf")}, r"line 2: duration"),
    ],
)
def test_line_at_fault_is_named(read: Callable[..., Rows], data: Path, changes: dict[str, Any], message: str) -> None:
    soundfile.write(data.parent / "outside.wav", np.zeros(8000), 16000)
    content = [line(0, id="same"), line(1) | changes]
    with pytest.raises(InputError, match=rf"test\.jsonl, {message}"):
        read("".join(json.dumps(one) + "\n" for one in content).encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"test\.jsonl has no rows"),
        (b"\n\n", r"test\.jsonl has no rows"),
        (json.dumps(line(0), ensure_ascii=False).replace("Satz", "Sätze").encode("latin-1"), r"is not UTF-8"),
        (json.dumps(line(0)).encode("utf-16"), r"is not UTF-8"),
        (b"audio,en,de\n", r"line 1: not JSON"),
        (b"[1, 2]\n", r"line 1: a JSON object is needed"),
        (json.dumps({"audio": "audio/0.wav", "en": "a", "dee": "b"}).encode(), r"'de'; keys: .*did you mean 'dee'"),
    ],
)
def test_file_at_fault_is_named(read: Callable[..., Rows], content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("name", "message"),
    [("empty", "cannot be read as audio"), ("text", "cannot be read as audio"), ("short", "is cut short"),
     ("no samples", "holds no audio")],
)  # fmt: skip
def test_audio_at_fault_is_named(read: Callable[..., Rows], data: Path, name: str, message: str) -> None:
    file = data / "audio/1.wav"
    whole = file.read_bytes()
    if name == "no samples":
        soundfile.write(file, np.zeros(0), 16000)
    else:
        file.write_bytes({"empty": b"", "text": b"no audio at all", "short": whole[: len(whole) // 2]}[name])
    with pytest.raises(InputError, match=rf"line 2: .*1\.wav {message}"):
        read([line(0), line(1)])


def test_two_lines_of_one_id_leave_the_audio_as_it_was(read: Callable[..., Rows], data: Path) -> None:
    before = {file: file.read_bytes() for file in data.rglob("*.wav")}
    for second in ("twice", "./twice"):
        with pytest.raises(InputError, match="line 2: id"):
            read([line(1, id="twice"), line(2, id=second)])
        (data.parent / "out").rename(data.parent / f"out-{len(second)}")
    assert {file: file.read_bytes() for file in data.rglob("*.wav")} == before


def test_split_that_is_missing_is_told_with_the_nearest(data: Path, ctx: Context) -> None:
    (data / "valid.jsonl").write_text("{}")
    stage = Manifest(path=data, split="vald", columns=Columns(audio="audio", source="en", target="de"), task=TASK)
    with pytest.raises(InputError, match=r"vald\.jsonl is missing; splits there: valid \(did you mean 'valid'\?\)"):
        stage.surroundings(ctx)
