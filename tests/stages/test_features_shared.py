"""Features in a graph: one result for every job that asks for it, and checked like any other."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from graphs import nodes

from stc.errors import ConfigError
from stc.pipeline.graph import Pipeline
from stc.pipeline.runner import Evaluation, NodeResult
from stc.pipeline.stage import Context
from stc.planning.disk import bytes_on_disk, describe_artifact
from stc.stages.features import Features
from stc.store import Store

Jobs = Callable[[int], dict[str, NodeResult]]


def search(model: Path, data: Path, rounds: int, **fields: object) -> Pipeline:
    compute = {"dtype": "float32"}
    entries = {
        "teacher": {"kind": "model", "from": str(model)},
        "selection": {"kind": "manifest", "from": str(data)},
        "features": {"stage": "features", "inputs": {"model": "teacher", "data": "selection"}, **compute},
        "importance": {
            "stage": "importance",
            "inputs": {"model": "teacher", "data": "selection", "features": "features"},
            "chain": rounds,
            "metric": "chrf",
            "max_new_tokens": 4,
            **compute,
            **fields,
        },
    }
    return Pipeline(nodes(entries), [f"importance.{rounds}"])


@pytest.fixture
def job(tiny_model: Path, tiny_manifest: Path, ctx: Context, tmp_path: Path) -> Jobs:
    """``job(rounds)`` returns the state of each node of a search, in one store for all jobs."""

    def run(rounds: int) -> dict[str, NodeResult]:
        pipeline = search(tiny_model, tiny_manifest, rounds)
        context = lambda name, scratch: replace(ctx, scratch=scratch)  # noqa: E731
        return {done.name: done for done in Evaluation(pipeline, Store(tmp_path / "store"), context).run()}

    return run


def test_jobs_of_another_ratio_share_them(job: Jobs) -> None:
    first, second = job(1), job(2)
    assert not first["features"].cached
    assert second["features"].cached
    assert first["features"].artifact.identity == second["features"].artifact.identity
    assert [second[f"importance.{n}"].cached for n in (1, 2)] == [True, False]


def test_damaged_features_are_detected_and_computed_again(job: Jobs) -> None:
    file = next(job(1)["features"].artifact.path.glob("*.safetensors"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert not job(2)["features"].cached
    assert file.read_bytes() == whole


def test_the_bytes_of_features_are_forecast(job: Jobs) -> None:
    there = {name: describe_artifact(done.artifact) for name, done in job(1).items()}
    foreseen = Features(dtype="float32").forecast({"model": there["teacher"], "data": there["selection"]})
    assert bytes_on_disk(foreseen) == pytest.approx(bytes_on_disk(there["features"]), rel=0.1)


def test_a_search_of_the_encoder_takes_no_features(tiny_model: Path, tiny_manifest: Path) -> None:
    with pytest.raises(ConfigError, match="scope=encoder: an encoder without a layer has to encode the audio"):
        search(tiny_model, tiny_manifest, 1, scope="encoder")
