"""manifest reads a folder of speech with texts, names what is wrong with it, and leaves it as it was."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stc.data.audio import read_audio
from stc.data.manifest import Manifest as Rows
from stc.data.manifest import SpeechAmount
from stc.data.sources import Columns
from stc.errors import InputError
from stc.models.language_pair import Task
from stc.pipeline.stage import Context
from stc.stages.manifest import Manifest
from stc.system.durable_files import file_sha256

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
    """``read(lines)`` or ``read(bytes)`` runs the stage on a split with this content."""

    def run(content: list[dict[str, Any]] | bytes, **fields: Any) -> Rows:
        if not isinstance(content, bytes):
            content = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in content).encode()
        (data / "test.jsonl").write_bytes(content)
        columns = Columns(audio="audio", source="en", target="de")
        stage = Manifest(path=data, split="test", columns=columns, task=TASK, **fields)
        out = tmp_path / "out"
        out.mkdir()
        stage.environment(ctx)
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


def test_missing_values_of_a_line_are_found(read: Callable[..., Rows]) -> None:
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
        ({"audio": "gone/gone.wav"}, r"line 2: .*gone\.wav is missing"),
        ({"audio": 5}, r"line 2: audio is 5: a text is needed"),
        ({"de": None}, r"line 2: de is null: a text is needed$"),
        ({"de": float("nan")}, r"line 2: de is NaN: a text is needed"),
        ({"de": True}, r"line 2: de is true: a text is needed"),
        ({"en": None}, r"line 2: en is null: a text is needed"),
        ({"de": ""}, r"line 2: the text under 'de' is empty"),
        ({"de": " \n"}, r"line 2: the text under 'de' is empty"),
        ({"de": "\ud800"}, r"line 2 is not JSON"),
        ({"de": "a\0"}, r"line 2: .*'de' has .*NUL"),
        ({"id": True}, r"line 2: id is true"),
        ({"id": float("nan")}, r"line 2: id is NaN"),
        ({"id": "same"}, r"line 2: id 'same' .* test\.jsonl, line 1"),
        ({"id": "./same"}, r"line 2: id './same' is the file of another line"),
        ({"id": "../../escaped"}, r"line 2: id '../../escaped' names a file outside"),
        ({"id": "n" * 300}, r"line 2: id 'n+'… is too long"),
        ({"sha256": "0" * 64}, r"line 2: .*1\.wav is not the file the line describes"),
        ({"sha256": "abc"}, r"line 2: sha256 is \"abc\": 64 hexadecimal digits"),
        ({"sha256": 5}, r"line 2: sha256 is 5: 64 hexadecimal digits"),
        ({"duration": -1}, r"line 2: duration is -1"),
        ({"duration": 0}, r"line 2: duration is 0"),
        ({"duration": True}, r"line 2: duration is true"),
        ({"duration": float("nan")}, r"line 2: duration is NaN"),
        ({"duration": 0.3}, r"line 2: duration is 0\.3 s.*1\.wav lasts 0\.50 s"),
        ({"duration": 500}, r"line 2: duration is 500 s.*1\.wav lasts 0\.50 s"),
        ({"offset": -1}, r"line 2: offset is -1"),
        ({"offset": 0.5}, r"line 2: the segment from 0\.5 s to 0\.5 s is not in .*1\.wav, which lasts 0\.50 s"),
        ({"offset": 0.2, "duration": 0.5}, r"line 2: the segment from 0\.2 s to 0\.7 s is not in"),
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
        (b"audio,en,de\n", r"line 1 is not JSON"),
        (b"[1, 2]\n", r"line 1: must be an object"),
        (b"[" * 100_000 + b"]" * 100_000, r"line 1 is not JSON"),
        (b'{"duration": ' + b"9" * 5000 + b"}", r"line 1 is not JSON"),
        (json.dumps({"audio": "audio/0.wav", "en": "a", "dee": "b"}).encode(), r"'de'; keys: .*did you mean 'dee'"),
    ],
)
def test_file_at_fault_is_named(read: Callable[..., Rows], content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(content)


@pytest.mark.parametrize(
    ("name", "message"),
    [("empty", "is empty"), ("text", "cannot be decoded as audio"), ("short", "is cut short"),
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


@pytest.mark.parametrize("key", ["id", "sha256", "duration", "offset"])
def test_null_is_as_if_the_key_were_not_there(read: Callable[..., Rows], key: str) -> None:
    [row] = read([line(0, **{key: None})]).rows
    assert (row.id, row.duration) == ("test-000001", 0.5)


def test_digest_is_compared_whatever_its_case(read: Callable[..., Rows], data: Path) -> None:
    digest = file_sha256(data / "audio/0.wav")
    [row] = read([line(0, sha256=digest.upper())]).rows
    assert row.sha256 == digest


@pytest.mark.parametrize(("stated", "used"), [(0.498, 0.498), (0.55, 0.5)])
def test_duration_that_is_rounded_is_the_file_s(read: Callable[..., Rows], stated: float, used: float) -> None:
    assert read([line(0, duration=stated)]).rows[0].duration == used


def test_padding_of_mp3_is_no_fault_of_the_duration(read: Callable[..., Rows], data: Path) -> None:
    soundfile.write(data / "audio/a.mp3", np.zeros(16_000), 16_000)
    [row] = read([line(0, audio="audio/a.mp3", duration=1.2)]).rows
    assert row.duration == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("form", ["wav", "flac", "ogg", "mp3"])
def test_line_with_an_offset_is_that_part_of_its_file(read: Callable[..., Rows], data: Path, form: str) -> None:
    random = np.random.default_rng(0)
    soundfile.write(data / f"audio/talk.{form}", 0.05 * random.standard_normal((32_000, 2)), 16_000)
    whole = read_audio(data / f"audio/talk.{form}", 16_000)
    manifest = read([line(0, audio=f"audio/talk.{form}", offset=0.75, duration=0.5)])
    [row], [path] = manifest.rows, manifest.audio_paths()
    assert row.duration == 0.5
    np.testing.assert_allclose(read_audio(path, 16_000, row.sha256), whole[12_000:20_000], atol=1e-6)


def test_segment_without_a_duration_goes_to_the_end(read: Callable[..., Rows]) -> None:
    assert read([line(0, offset=0.375)]).rows[0].duration == 0.125


def test_segment_that_is_the_whole_is_the_file_itself(read: Callable[..., Rows], data: Path) -> None:
    [row] = read([line(0, offset=0.0, duration=0.5)]).rows
    assert row.sha256 == file_sha256(data / "audio/0.wav")


def identity(data: Path, ctx: Context, *lines: dict[str, Any]) -> Any:
    (data / "some.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    columns = Columns(audio="audio", source="en", target="de")
    return Manifest(path=data, split="some", columns=columns, task=TASK).environment(ctx)


def test_identity_depends_on_lines_audio_and_segments(data: Path, ctx: Context) -> None:
    def of_line(**changes: Any) -> dict[str, str]:
        content = file_sha256(data / "audio/0.wav") + json.dumps(line(0, **changes), sort_keys=True)
        return {"content": hashlib.sha256(content.encode()).hexdigest()}

    assert identity(data, ctx, line(0, offset=0, duration=0.5)) == of_line(offset=0, duration=0.5)
    assert identity(data, ctx, line(0, offset=0, duration=0.25)) != of_line(offset=0, duration=0.25)


def test_a_wrong_duration_is_an_error_before_any_result_is_looked_up(data: Path, ctx: Context) -> None:
    with pytest.raises(InputError, match=r"line 1: duration is 0\.25 s"):
        identity(data, ctx, line(0, duration=0.25, sha256=file_sha256(data / "audio/0.wav")))


def test_lengths_are_known_whether_or_not_a_line_states_them(data: Path, ctx: Context) -> None:
    identity(data, ctx, line(0), line(1, duration=0.5), line(2, offset=0.25, duration=0.125))
    stage = Manifest(path=data, split="some", columns=Columns(audio="audio", source="en", target="de"), task=TASK)
    assert stage.forecast({}) == SpeechAmount(utterances=3, seconds=1.125, longest=0.5)


def test_link_that_leads_outside_is_followed_where_that_is_allowed(read: Callable[..., Rows], data: Path) -> None:
    soundfile.write(data.parent / "outside.wav", np.zeros(8000), 16000)
    (data / "audio/link.wav").symlink_to(data.parent / "outside.wav")
    with pytest.raises(InputError, match=r"outside\.wav lies outside .*data\.allow_links=true"):
        read([line(0, audio="audio/link.wav")])
    (data.parent / "out").rename(data.parent / "out-refused")
    [row] = read([line(0, audio="audio/link.wav")], allow_links=True).rows
    assert row.sha256 == file_sha256(data.parent / "outside.wav")


def test_allowed_links_allow_no_path_that_leaves_the_folder(read: Callable[..., Rows], data: Path) -> None:
    soundfile.write(data.parent / "outside.wav", np.zeros(8000), 16000)
    with pytest.raises(InputError, match=r"outside\.wav lies outside"):
        read([line(0, audio="../outside.wav")], allow_links=True)


@pytest.mark.parametrize("kind", ["pipe", "device", "link to itself"])
def test_audio_that_is_no_file_is_refused_and_not_waited_for(read: Callable[..., Rows], data: Path, kind: str) -> None:
    odd = data / "audio/odd.wav"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"device": "/dev/zero", "link to itself": "odd.wav"}[kind])
    with pytest.raises(InputError, match=r"line 1: .* cannot be read"):
        read([line(0, audio="audio/odd.wav")], allow_links=True)


def test_manifest_that_is_a_pipe_is_refused_and_not_waited_for(data: Path, ctx: Context) -> None:
    os.mkfifo(data / "pipe.jsonl")
    stage = Manifest(path=data, split="pipe", columns=Columns(audio="audio", source="en", target="de"), task=TASK)
    with pytest.raises(InputError, match=r"pipe\.jsonl is a pipe"):
        stage.environment(ctx)


def test_two_lines_of_one_id_leave_the_audio_as_it_was(read: Callable[..., Rows], data: Path) -> None:
    before = {file: file.read_bytes() for file in data.rglob("*.wav")}
    for second in ("twice", "./twice"):
        with pytest.raises(InputError, match="line 2: id"):
            read([line(1, id="twice"), line(2, id=second)])
        (data.parent / "out").rename(data.parent / f"out-{len(second)}")
    assert {file: file.read_bytes() for file in data.rglob("*.wav")} == before


def test_the_error_of_a_missing_split_names_the_nearest(data: Path, ctx: Context) -> None:
    (data / "valid.jsonl").write_text("{}")
    stage = Manifest(path=data, split="vald", columns=Columns(audio="audio", source="en", target="de"), task=TASK)
    with pytest.raises(InputError, match=r"vald\.jsonl is missing; .*valid \(did you mean 'valid'\?\)"):
        stage.environment(ctx)
