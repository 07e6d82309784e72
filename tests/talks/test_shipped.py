"""The data in assets/talks is what the grammar and the splits say it is."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import soundfile
from omegaconf import OmegaConf

from stc.system.durable_files import file_sha256
from talks.__main__ import MAX_SECONDS, SEED, SPLITS, Split
from talks.build import requests
from talks.draw import PATTERNS
from talks.grammar import part_of, sentences
from talks.speech import SAMPLE_RATE, voices

FOLDER = Path(__file__).parents[2] / "assets" / "talks"


def rows(split: Split) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / f"{split.part}.jsonl").read_text(encoding="utf-8").splitlines()]


def words(text: str) -> str:
    return re.sub(r"\W+", " ", text.lower())


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.part)
def test_every_sentence_comes_from_the_grammar(split: Split) -> None:
    shipped = rows(split)
    assert len(shipped) == split.sentences
    made = requests(SEED, split.part, split.engines, split.noise)
    for row in shipped:
        request = next(one for one in made if one.id >= row["id"])
        sentence = request.sentence
        assert (row["id"], row["text_en"], row["text_de"], row["text_zh"]) == (
            request.id, sentence.en, sentence.de, sentence.zh,
        )  # fmt: skip
        assert {key: row[key] for key in ("pattern", "held_out_pattern", "engine", "voice", "noisy", "noise")} == {
            "pattern": sentence.pattern,
            "held_out_pattern": PATTERNS[sentence.pattern].held_out,
            "engine": request.voice.engine,
            "voice": str(request.voice),
            "noisy": request.noisy,
            "noise": request.effects.noise,
        }


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.part)
def test_every_recording_is_the_listed_one(split: Split) -> None:
    for row in rows(split):
        assert file_sha256(FOLDER / row["audio"]) == row["sha256"]
        info = soundfile.info(FOLDER / row["audio"])
        assert (info.samplerate, info.channels) == (SAMPLE_RATE, 1)
        assert info.duration == pytest.approx(row["duration"], abs=1e-3)
        assert row["duration"] <= MAX_SECONDS


def test_no_recording_is_left_over_and_all_is_small() -> None:
    listed = {row["audio"] for split in SPLITS for row in rows(split)}
    assert {f"audio/{path.name}" for path in (FOLDER / "audio").iterdir()} == listed
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) <= 12_000_000


def test_no_shipped_sentence_can_be_in_base_or_in_two_splits() -> None:
    seen: set[str] = set()
    for split in SPLITS:
        for row in rows(split):
            assert part_of(row["text_en"]) == split.part
            key = words(row["text_en"])
            assert key not in seen
            seen.add(key)


def test_nothing_the_base_model_was_trained_on_is_shipped_for_choosing_or_testing() -> None:
    """A sentence is of one part by its words alone, and no shipped one is of this part (the test above)."""
    conf = FOLDER.parents[1] / "conf"
    composed = OmegaConf.merge(
        {"seed": OmegaConf.load(conf / "config.yaml").seed}, OmegaConf.load(conf / "pipeline" / "base.yaml")
    )
    recipe = composed.stages.spoken_de  # the other language is spoken by the same recordings
    assert recipe["part"] == "base"
    drawn = islice(sentences(recipe["seed"], recipe["part"]), 3_000)
    assert {part_of(sentence.en) for sentence in drawn} == {"base"}


def test_the_recipe_at_its_best_speaks_no_shipped_sentence_again() -> None:
    spoken = OmegaConf.load(FOLDER.parents[1] / "experiments" / "talks_best.yaml").stages.spoken
    assert spoken.inputs.without == "train"
    assert spoken.seed != SEED
    shipped = {split.part: [row["text_en"] for row in rows(split)] for split in SPLITS}
    drawn = requests(spoken.seed, spoken.part, spoken.engines, spoken.noise, without=shipped["train"])
    first = [words(request.sentence.en) for request in islice(drawn, 600)]
    assert len(set(first)) == len(first)
    for part, texts in shipped.items():
        assert not {words(text) for text in texts} & set(first), part


def test_test_voices_are_held_out_and_shares_are_as_the_splits_say() -> None:
    for split in SPLITS:
        shipped = rows(split)
        for row in shipped:
            assert row["voice"].split(":")[1].split("+")[-1] in voices(row["engine"], split.part)
        slack = 2.5 * (0.25 / len(shipped)) ** 0.5
        for name, weight in split.engines.items():
            share = sum(row["engine"] == name for row in shipped) / len(shipped)
            assert share == pytest.approx(weight / sum(split.engines.values()), abs=slack)
        assert sum(row["noisy"] for row in shipped) / len(shipped) == pytest.approx(split.noise, abs=slack)
