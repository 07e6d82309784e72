"""translate writes one translation per line, in the manifest's order."""

from pathlib import Path

import pytest

from stc.data.manifest import Manifest
from stc.decoding.greedy import translate
from stc.models.load_and_save import load
from stc.pipeline.stage import Context
from stc.stages.translate import Translate
from stc.store.artifact import Artifact, Kind


def test_hypotheses_are_in_the_manifests_order(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    inputs = {
        "model": Artifact(Kind.MODEL, tiny_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }
    facts = Translate(dtype="float32", max_new_tokens=12).run(inputs, tmp_path, ctx)
    lines = (tmp_path / "hypotheses.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    translator = load(tiny_model, device="cpu", dtype="float32")
    assert lines == translate(translator, Manifest.load(tiny_manifest), batch_size=1, max_new_tokens=12)
    assert facts["utterances"] == facts["translations"] == len(lines) == 8


def test_rules_edit_the_teachers_translations_and_are_facts(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = {
        "model": Artifact(Kind.MODEL, tiny_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }
    monkeypatch.setattr(Translate, "translate", lambda *_, **__: ["Ja. " * 6, *["Das Haus."] * 7])
    stage = Translate(dtype="float32", max_new_tokens=12, decoding={"stop_repetition": 5})
    facts = stage.run(inputs, tmp_path, ctx)
    assert facts["output_rules"] == {"strip": [], "stop_repetition": 5, "changed": 1}
    assert (tmp_path / "hypotheses.txt").read_text(encoding="utf-8").splitlines() == ["Ja.", *["Das Haus."] * 7]


def test_samples_of_an_utterance_follow_each_other(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context
) -> None:
    inputs = {
        "model": Artifact(Kind.MODEL, tiny_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }
    decoding = {"method": "sample", "samples": 2, "seed": 0, "temperature": 1e-4}
    stage = Translate(dtype="float32", max_new_tokens=12, decoding=decoding)
    assert stage.run(inputs, tmp_path, ctx)["translations"] == 16
    lines = (tmp_path / "hypotheses.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    translator = load(tiny_model, device="cpu", dtype="float32")
    greedy = translate(translator, Manifest.load(tiny_manifest), batch_size=4, max_new_tokens=12)
    assert lines == [text for text in greedy for _ in range(2)]  # so cold that nothing else is drawn
