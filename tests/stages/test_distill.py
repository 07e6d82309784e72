"""Distillation adds the teacher's translations to the originals, drops what adds nothing, and counts."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stc.data.manifest import Manifest
from stc.errors import InputError
from stc.pipeline.stage import Context
from stc.stages.distill import Distill
from stc.store.artifact import Artifact, Kind
from stc.system.durable_files import file_sha256


def distill(
    data: Path, texts: list[str], out: Path, ctx: Context, **settings: Any
) -> tuple[Manifest, Mapping[str, Any]]:
    hypotheses = out.with_name(out.name + "-hypotheses")
    for folder in (out, hypotheses):
        folder.mkdir()
    (hypotheses / "hypotheses.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    inputs = {
        "data": Artifact(Kind.MANIFEST, data, "data"),
        "hypotheses": Artifact(Kind.HYPOTHESES, hypotheses, "hypotheses"),
    }
    facts = Distill(**settings).run(inputs, out, ctx)
    return Manifest.load(out), facts


@pytest.fixture
def texts(tiny_manifest: Path) -> list[str]:
    """The teacher's translations: the first is the reference itself, the second empty, the others new."""
    manifest = Manifest.load(tiny_manifest)
    return [manifest.rows[0].target, "", *(f"Satz {number}" for number in range(2, len(manifest)))]


def test_pairs_are_originals_and_translations_without_duplicates_and_empty_ones(
    tiny_manifest: Path, texts: list[str], tmp_path: Path, ctx: Context
) -> None:
    original = Manifest.load(tiny_manifest)
    distilled, facts = distill(tiny_manifest, texts, tmp_path / "out", ctx)
    assert distilled.rows[:8] == original.rows
    assert {row.id: row.target for row in distilled.rows[8:]} == {
        f"utterance-{number}.kd": f"Satz {number}" for number in range(2, 8)
    }
    assert facts == {
        "originals": 8,
        "translations": 6,
        "duplicates_dropped": 1,
        "empty_dropped": 1,
        "pairs": 14,
    }


def test_repeats_repeat_translations_only(tiny_manifest: Path, tmp_path: Path, ctx: Context) -> None:
    distilled, facts = distill(tiny_manifest, [f"Satz {n}" for n in range(8)], tmp_path / "out", ctx, repeat=3)
    ids = [row.id for row in distilled.rows]
    assert facts["pairs"] == len(ids) == 8 + 3 * 8
    assert [name for name in ids if name.startswith("utterance-5")] == [
        "utterance-5",
        "utterance-5.kd",
        "utterance-5.kd2",
        "utterance-5.kd3",
    ]


def test_the_audio_comes_along(tiny_manifest: Path, texts: list[str], tmp_path: Path, ctx: Context) -> None:
    distilled, _ = distill(tiny_manifest, texts, tmp_path / "out", ctx)
    assert len(list((tmp_path / "out" / "audio").iterdir())) == 8
    for row, path in zip(distilled.rows, distilled.audio_paths(), strict=True):
        assert file_sha256(path) == row.sha256


def test_another_number_of_translations_is_refused(tiny_manifest: Path, tmp_path: Path, ctx: Context) -> None:
    with pytest.raises(InputError, match="7 translations for the 8 utterances"):
        distill(tiny_manifest, ["Satz"] * 7, tmp_path / "out", ctx)


def test_distilling_twice_is_refused(tiny_manifest: Path, tmp_path: Path, ctx: Context) -> None:
    distill(tiny_manifest, [f"Satz {n}" for n in range(8)], tmp_path / "once", ctx)
    with pytest.raises(InputError, match="distilled utterances already"):
        distill(tmp_path / "once", [f"Satz {n}" for n in range(100, 116)], tmp_path / "twice", ctx)


def test_each_filter_counts_what_it_drops_and_names_it(tiny_manifest: Path, tmp_path: Path, ctx: Context) -> None:
    texts = [row.target for row in Manifest.load(tiny_manifest).rows]
    texts[1] = "Ein " * 20  # too long, and repeating itself: it counts once
    texts[2] = "Kaffee trinken, Kaffee trinken, Kaffee"
    texts[3] = "The train leaves at seven."
    texts[4] = "Wir haben das alte Fenster."
    texts[5] = ""
    filters = {"length_ratio": {"de": [0.5, 2.0]}, "repetition": 0.3, "language": True, "chrf": 40}
    distilled, facts = distill(tiny_manifest, texts, tmp_path / "out", ctx, filters=filters)
    assert {key: count for key, count in facts.items() if "dropped" in key} == {
        "duplicates_dropped": 3,
        "empty_dropped": 1,
        "dropped_by_length_ratio": 1,
        "dropped_by_repetition": 1,
        "dropped_by_language": 1,
        "dropped_by_score": 1,
    }
    assert [row.id for row in distilled.rows] == [f"utterance-{number}" for number in range(8)]
    dropped = [json.loads(line) for line in (tmp_path / "out" / "dropped.jsonl").read_text("utf-8").splitlines()]
    assert [(row["id"][-1], row["filter"]) for row in dropped] == [
        ("1", "length_ratio"), ("2", "repetition"), ("3", "language"), ("4", "score"), ("5", "empty")
    ]  # fmt: skip
    assert dropped[2]["text"] == texts[3]


def test_filter_that_is_off_has_no_count(tiny_manifest: Path, texts: list[str], tmp_path: Path, ctx: Context) -> None:
    _, facts = distill(tiny_manifest, texts, tmp_path / "out", ctx, filters={"repetition": 0.5})
    assert [key for key in facts if key.startswith("dropped_by")] == ["dropped_by_repetition"]


def test_samples_of_an_utterance_are_pairs_of_their_own(tiny_manifest: Path, tmp_path: Path, ctx: Context) -> None:
    texts = [f"Satz {n}, {sample if n else 0}" for n in range(8) for sample in range(2)]
    distilled, facts = distill(tiny_manifest, texts, tmp_path / "out", ctx, repeat=2)
    assert (facts["translations"], facts["duplicates_dropped"]) == (15, 1)
    targets = {row.id: row.target for row in distilled.rows}
    assert "utterance-0.s2.kd" not in targets
    assert [targets[f"utterance-3{end}"] for end in (".kd", ".kd2", ".s2.kd", ".s2.kd2")] == [
        "Satz 3, 0", "Satz 3, 0", "Satz 3, 1", "Satz 3, 1"
    ]  # fmt: skip
