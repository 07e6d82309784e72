"""measure reports each size of a model, and its result is bound to the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stc.metrics.score_files import Measurement, Speed
from stc.metrics.speed import SpeedRequest
from stc.pipeline.stage import Context
from stc.stages.measure import Measure
from stc.store.artifact import Artifact, Kind
from stc.system.machine import fingerprint

STAGE = Measure(utterances=2, dtype="float32", max_new_tokens=4)


def test_measurement_holds_the_models_sizes_and_the_speed_that_was_asked_for(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    speed = Speed(
        rtf=0.5,
        rtf_batched=0.25,
        peak_memory_bytes=10**8,
        peak_memory_batched_bytes=2 * 10**8,
        load_seconds=1.5,
        utterances=2,
        audio_seconds=1.0,
    )
    asked: list[SpeedRequest] = []
    monkeypatch.setattr("stc.metrics.speed.measure_speed", lambda request: asked.append(request) or speed)
    inputs = {
        "model": Artifact(Kind.MODEL, tiny_model, "model"),
        "data": Artifact(Kind.MANIFEST, tiny_manifest, "data"),
    }
    out = tmp_path / "out"
    out.mkdir()
    facts = STAGE.run(inputs, out, ctx)
    measurement = Measurement.load(out)

    [request] = asked
    assert (request.model, request.data) == (str(tiny_model), str(tiny_manifest))
    assert (request.utterances, request.dtype, request.max_new_tokens) == (2, "float32", 4)
    assert (request.device, request.decode_batch) == (ctx.device, ctx.decode_batch)
    assert speed.model_dump().items() <= measurement.model_dump().items()
    files = list(tiny_model.glob("*.safetensors"))
    assert measurement.decoder_layers == 6
    assert measurement.bytes_on_disk == sum(file.stat().st_size for file in files)
    assert measurement.parameters == measurement.packed_elements  # nothing is packed in a bfloat16 folder
    assert measurement.bytes_on_disk == pytest.approx(2 * measurement.parameters, rel=0.2)
    assert measurement.machine == json.loads(json.dumps(fingerprint()))
    assert facts == measurement.model_dump(exclude={"machine"})


def test_identity_includes_the_machine(ctx: Context) -> None:
    environment = STAGE.environment(ctx)
    assert {"cpu", "cores", "gpus", "versions"} <= environment.keys()
    assert json.loads(json.dumps(environment)) == environment
