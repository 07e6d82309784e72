"""An utterance longer than the model's window is refused, or cut into parts, or left out; never cut off."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stc.data.manifest import Manifest as Rows
from stc.data.sources import Columns
from stc.decoding.hypotheses import join_parts
from stc.errors import InputError
from stc.models.language_pair import Task
from stc.pipeline.stage import Context
from stc.stages.manifest import Manifest

RATE = 22_050
TONES = ((0.3, 1.0), (1.6, 1.2), (3.2, 1.5))  # where each begins, and how long it is
SECONDS = 5.0
COLUMNS = Columns(audio="audio", source="en", target="de")
TASK = Task(target_lang="de", target_name="German")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A short utterance, one of 5 s with pauses, and one of 5 s that is a segment of a longer file."""
    sound = np.zeros(round(SECONDS * RATE))
    for start, seconds in TONES:
        first = round(start * RATE)
        time = np.arange(round(seconds * RATE)) / RATE
        sound[first : first + len(time)] = 0.3 * np.sin(2 * np.pi * 300 * time)
    soundfile.write(tmp_path / "short.wav", sound[: 2 * RATE], RATE)
    soundfile.write(tmp_path / "long.wav", sound, RATE)
    soundfile.write(tmp_path / "talk.flac", np.concatenate([sound, sound[::-1]]), RATE)
    lines: list[dict[str, Any]] = [
        {"id": "long", "audio": "long.wav"},
        {"id": "short", "audio": "short.wav"},
        {"id": "segment", "audio": "talk.flac", "offset": 5.0},
    ]
    texts = ({"en": f"en {number}", "de": f"de {number}"} for number in range(3))
    rows = (json.dumps(line | text) for line, text in zip(lines, texts, strict=True))
    (tmp_path / "test.jsonl").write_text("\n".join(rows))
    return tmp_path


def stage(data: Path, **fields: Any) -> Manifest:
    return Manifest(path=data, split="test", columns=COLUMNS, task=TASK, window=2.5, **fields)


def run(data: Path, ctx: Context, **fields: Any) -> tuple[Rows, dict[str, Any]]:
    out = data / "out"
    out.mkdir()
    facts = stage(data, over_window="split", **fields).run({}, out, ctx)
    return Rows.load(out), dict(facts)


def test_what_is_translated_is_cut_in_its_pauses_and_nothing_that_sounds_is_lost(data: Path, ctx: Context) -> None:
    rows, facts = run(data, ctx, translated=True)
    assert facts["cut"] == 2
    assert [row.id for row in rows.lines] == ["long-part1", "short", "segment-part1"]
    assert all(row.duration <= 2.5 for row in rows.rows)
    assert {row.target for row in rows.rows if row.part_of == "long"} == {"de 0"}
    spans = [(row.span.start, row.span.end) for row in rows.rows if row.part_of == "long"]
    for start, seconds in TONES:
        assert any(begin <= start and start + seconds <= end for begin, end in spans)
    parts = [row for row in rows.rows if row.part_of == "segment"]
    assert [part.span.start >= 5 and part.span.end <= 10.01 for part in parts] == [True] * len(parts)
    for part in parts:
        heard, _ = soundfile.read(rows.folder / part.audio)
        talk, _ = soundfile.read(data / "talk.flac")
        first = round(part.span.start * RATE)
        assert np.array_equal(heard, talk[first : first + len(heard)])
    assert sorted(file.name for file in (rows.folder / "audio").iterdir()) == sorted(
        Path(row.audio).name for row in rows.rows
    )


def test_translations_of_parts_are_one_line(data: Path, ctx: Context) -> None:
    rows, _ = run(data, ctx, translated=True)
    texts = [f"{row.id}" for row in rows.rows]
    joined = join_parts(rows, texts)
    assert len(joined) == len(rows.lines) == 3
    assert joined[1] == "short"
    assert joined[0].split() == [row.id for row in rows.rows if row.part_of == "long"]
    assert rows.cut_lines == 2


def test_what_is_trained_on_is_left_out_counted_and_named(
    data: Path, ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        rows, facts = run(data, ctx)
    assert [row.id for row in rows.rows] == ["short"]
    assert facts["left_out"] == 2
    assert "test.jsonl, line 1 (5.00 s)" in caplog.text
    (rows.folder / "audio" / "short.wav").unlink()
    assert not list((rows.folder / "audio").iterdir())


def test_split_in_which_nothing_is_left_is_refused(data: Path, ctx: Context) -> None:
    lines = (data / "test.jsonl").read_text().split("\n")
    (data / "test.jsonl").write_text(lines[0])
    with pytest.raises(InputError, match="every utterance is longer than the model's window"):
        run(data, ctx)


def test_parts_have_no_text_of_their_own(data: Path, ctx: Context) -> None:
    rows, _ = run(data, ctx, translated=True)
    assert [row.id for row in rows.with_own_text().rows] == ["short"]
    with pytest.raises(InputError, match="cut into parts"):
        Rows(rows.folder, TASK, [row for row in rows.rows if row.part_of]).with_own_text()


def test_silence_is_one_part(data: Path, ctx: Context) -> None:
    soundfile.write(data / "long.wav", np.zeros(round(SECONDS * RATE)), RATE)
    rows, _ = run(data, ctx, translated=True)
    assert [row.id for row in rows.rows if row.part_of == "long"] == ["long-part1"]


def test_identity_is_the_former_one_unless_utterances_are_split(data: Path, ctx: Context) -> None:
    without = Manifest(path=data, split="test", columns=COLUMNS, task=TASK)
    for one in (stage(data), stage(data, translated=True)):
        assert (one.identity_fields(), one.environment(ctx)) == (without.identity_fields(), without.environment(ctx))
    split = [stage(data, over_window="split", translated=yes).environment(ctx) for yes in (True, False)]
    assert split[0] != split[1]
    assert without.environment(ctx) not in split


def test_lengths_are_those_that_a_model_will_hear(data: Path) -> None:
    assert [seconds for _, seconds in stage(data).lengths()] == pytest.approx([5.0, 2.0, 5.0])
    cut = stage(data, over_window="split", translated=True)
    assert [seconds for _, seconds in cut.lengths()] == pytest.approx([2.5, 2.0, 2.5])
    assert [seconds for _, seconds in stage(data, over_window="split").lengths()] == pytest.approx([2.0])


def test_window_has_to_be_known(data: Path) -> None:
    with pytest.raises(ValueError, match="window"):
        Manifest(path=data, split="test", columns=COLUMNS, task=TASK, over_window="split")
