"""Joining keeps every utterance of every part, under names that cannot collide."""

from pathlib import Path

import pytest

from stc.data.manifest import Manifest
from stc.errors import InputError
from stc.models.language_pair import Task
from stc.pipeline.stage import Context
from stc.stages.join import Join
from stc.store.artifact import Artifact, Kind
from stc.system.durable_files import file_sha256


def test_the_parts_are_all_there_in_the_order_of_their_labels_with_their_audio(
    tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    part = Artifact(Kind.MANIFEST, tiny_manifest, "part")
    facts = Join().run({"parts": {"second": part, "first": part}}, tmp_path, ctx)
    original, joined = Manifest.load(tiny_manifest), Manifest.load(tmp_path)
    assert [row.id for row in joined.rows] == [
        f"{label}.{row.id}" for label in ("first", "second") for row in original.rows
    ]
    assert joined.targets == original.targets * 2
    assert joined.task == original.task
    assert all(file_sha256(joined.folder / row.audio) == row.sha256 for row in joined.rows)
    assert facts == {"utterances": 16, "of": {"first": 8, "second": 8}}


def test_parts_of_different_language_pairs_are_refused_by_name(
    tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    original = Manifest.load(tiny_manifest)
    chinese = tmp_path / "chinese"
    chinese.mkdir()
    Manifest(chinese, Task(target_lang="zh", target_name="Chinese"), original.rows).save()
    parts = {"a": Artifact(Kind.MANIFEST, tiny_manifest, "a"), "b": Artifact(Kind.MANIFEST, chinese, "b")}
    with pytest.raises(InputError, match="b is for Chinese, a for German"):
        Join().run({"parts": parts}, tmp_path / "out", ctx)


def test_part_with_a_weight_is_there_so_often_with_one_copy_of_its_audio(
    tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    part = Artifact(Kind.MANIFEST, tiny_manifest, "part")
    Join(weights={"b": 3}).run({"parts": {"a": part, "b": part}}, tmp_path, ctx)
    original, joined = Manifest.load(tiny_manifest), Manifest.load(tmp_path)
    assert joined.targets == original.targets * 4
    assert len({row.audio for row in joined.rows}) == 2 * len(original)


def test_weight_of_no_part_is_refused_by_name(tiny_manifest: Path, tmp_path: Path, ctx: Context) -> None:
    part = Artifact(Kind.MANIFEST, tiny_manifest, "part")
    with pytest.raises(InputError, match="'c'"):
        Join(weights={"c": 2}).run({"parts": {"a": part}}, tmp_path, ctx)
