"""Splits that share utterances are refused with both rows, and train can be made without the shared ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stc.data.manifest import Manifest as Rows
from stc.data.sources import Columns
from stc.errors import InputError
from stc.models.language_pair import Task
from stc.pipeline.stage import Context
from stc.stages.disjoint import Disjoint
from stc.stages.manifest import Manifest
from stc.store.artifact import Artifact, Kind

TASK = Task(target_lang="de", target_name="German")

Split = Callable[..., Artifact]


@pytest.fixture
def split(tmp_path: Path, ctx: Context) -> Split:
    """``split(name, texts, without, **fields)``: a manifest of these sentences, each spoken in its own way."""

    def make(name: str, texts: list[str], without: Mapping[str, Artifact] | None = None, **fields: Any) -> Artifact:
        for number, text in enumerate(texts):
            tone = np.full(4000 + len(name) + 10 * number, 0.1)
            soundfile.write(tmp_path / f"{name}{number}.wav", tone if text != "(hum)" else np.full(4000, 0.2), 16000)
        lines = [
            {"audio": f"{name}{number}.wav", "en": text if text != "(hum)" else f"Hum of {name}.", "de": text}
            for number, text in enumerate(texts)
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        columns = Columns(audio="audio", source="en", target="de")
        stage = Manifest(path=tmp_path, split=name, columns=columns, task=TASK, **fields)
        out = tmp_path / "made" / name
        out.mkdir(parents=True)
        inputs = {"without": without} if without and "without" not in stage.unused_inputs(["without"]) else {}
        return Artifact(Kind.MANIFEST, out, name, stage.run(inputs, out, ctx))

    return make


def check(out: Path, ctx: Context, **splits: Artifact) -> Mapping[str, Any]:
    return Disjoint().run({"splits": splits}, out, ctx)


def sources(artifact: Artifact) -> list[str]:
    return [row.source for row in Rows.load(artifact.path).rows]


def test_splits_that_share_nothing_are_counted(split: Split, tmp_path: Path, ctx: Context) -> None:
    train, test = split("train", ["One.", "Two."]), split("test", ["Three."])
    assert check(tmp_path, ctx, train=train, test=test) == {"train": 2, "test": 1}


def test_the_error_of_shared_utterances_shows_both_rows_and_the_solution(
    split: Split, tmp_path: Path, ctx: Context
) -> None:
    train, test = split("train", ["One.", "Thank you.", "(hum)"]), split("test", ["Thank you!", "Three.", "(hum)"])
    with pytest.raises(InputError) as told:
        check(tmp_path, ctx, train=train, test=test)
    for part in (
        "train-000002 'Thank you.' is test-000001 'Thank you!'",
        "train-000003 'Hum of train.' is test-000003 'Hum of test.'",
        "data.on_overlap=drop",
    ):
        assert part in str(told.value)


def test_dropping_from_train_is_not_offered_if_dev_and_test_overlap(split: Split, tmp_path: Path, ctx: Context) -> None:
    train, dev, test = split("train", ["One."]), split("dev", ["Thank you."]), split("test", ["Thank you."])
    with pytest.raises(InputError) as told:
        check(tmp_path, ctx, train=train, dev=dev, test=test)
    assert "dev-000001" in str(told.value)
    assert "on_overlap" not in str(told.value)


def test_overlaps_are_dropped_logged_and_counted_on_demand(
    split: Split, tmp_path: Path, ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    test = split("test", ["Thank you!", "Three.", "(hum)"])
    train = split("train", ["One.", "Thank you.", "(hum)", "Two."], {"test": test}, on_overlap="drop")
    assert sources(train) == ["One.", "Two."]
    assert (train.facts["utterances"], train.facts["dropped"]) == (2, 2)
    assert "'Thank you.' (test)" in caplog.text
    assert check(tmp_path, ctx, train=train, test=test) == {"train": 2, "test": 3}


def test_nothing_is_dropped_unless_it_is_asked_for(split: Split) -> None:
    test = split("test", ["Thank you!"])
    assert sources(split("train", ["One.", "Thank you."], {"test": test})) == ["One.", "Thank you."]


def test_train_that_other_splits_have_all_of_is_refused(split: Split) -> None:
    test = split("test", ["Thank you!"])
    with pytest.raises(InputError, match="every utterance"):
        split("train", ["Thank you."], {"test": test}, on_overlap="drop")


def test_data_that_are_only_trained_on_may_share_utterances(split: Split, tmp_path: Path, ctx: Context) -> None:
    train, more, test = split("train", ["One."]), split("other", ["One."]), split("test", ["Two."])
    assert check(tmp_path, ctx, train=train, mix_more=more, test=test) == {"train": 1, "mix_more": 1, "test": 1}


def test_shared_utterances_that_are_allowed_are_counted(split: Split, tmp_path: Path, ctx: Context) -> None:
    selection, test = split("selection", ["One.", "Two."]), split("test", ["Two.", "Three."])
    facts = Disjoint(allow_leak=True).run({"splits": {"selection": selection, "test": test}}, tmp_path, ctx)
    assert facts == {"selection": 2, "test": 2, "shared": {"selection and test": 1}}


def test_the_parts_of_a_shared_utterance_are_counted_as_one(split: Split, tmp_path: Path, ctx: Context) -> None:
    selection, test = split("selection", ["One."]), split("test", ["One.", "One."])
    rows = Rows.load(test.path)
    Rows(test.path, TASK, [row.model_copy(update={"part_of": "long"}) for row in rows.rows]).save()
    facts = Disjoint(allow_leak=True).run({"splits": {"selection": selection, "test": test}}, tmp_path, ctx)
    assert facts["shared"] == {"selection and test": 1}


def test_dev_may_be_the_very_manifest_of_selection_and_test_may_not(split: Split, tmp_path: Path, ctx: Context) -> None:
    one = split("selection", ["One."])
    assert check(tmp_path, ctx, dev=one, selection=one) == {"dev": 1, "selection": 1}
    with pytest.raises(InputError):
        check(tmp_path, ctx, selection=one, test=one)
