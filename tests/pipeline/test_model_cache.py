"""A model that two stages in a row read is loaded once, and none is kept beside a stage that asks for none."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from graphs import nodes

from stc.models import load_and_save as checkpoint
from stc.pipeline import model_cache
from stc.pipeline.graph import Pipeline
from stc.pipeline.runner import Evaluation
from stc.pipeline.stage import Context
from stc.stages.evaluate import Evaluate
from stc.store import Store


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The folders of models in the order in which they are loaded."""
    folders: list[Path] = []
    load = checkpoint.load

    def counted(folder: Path, **settings: Any) -> Any:
        folders.append(folder)
        return load(folder, **settings)

    monkeypatch.setattr(checkpoint, "load", counted)
    model_cache.clear()
    yield folders
    assert not model_cache.cached


def search(model: Path, data: Path, context: Context, folder: Path, rounds: int) -> None:
    compute = {"dtype": "float32", "max_new_tokens": 4}
    entries = {
        "teacher": {"kind": "model", "from": str(model)},
        "selection": {"kind": "manifest", "from": str(data)},
        "importance": {
            "stage": "importance",
            "inputs": {"model": "teacher", "data": "selection"},
            "chain": rounds,
            "metric": "chrf",
            **compute,
        },
        "evaluate": {
            "stage": "evaluate",
            "inputs": {"model": "teacher", "data": "selection"},
            "metrics": ["chrf"],
            "witnessed": 0,
            **compute,
        },
    }
    pipeline = Pipeline(nodes(entries), [f"importance.{rounds}", "evaluate"])
    Evaluation(pipeline, Store(folder), lambda name, scratch: replace(context, scratch=scratch)).run()


def test_rounds_of_a_search_load_their_model_once(
    tiny_model: Path, tiny_manifest: Path, ctx: Context, tmp_path: Path, loaded: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    beside: list[int] = []
    run = Evaluate.run

    def watched(self: Evaluate, *given: Any) -> Any:
        beside.append(len(model_cache.cached))
        return run(self, *given)

    monkeypatch.setattr(Evaluate, "run", watched)
    search(tiny_model, tiny_manifest, ctx, tmp_path / "store", rounds=3)
    assert loaded == [tiny_model, tiny_model]  # for the search, and for the evaluation
    assert beside == [0]
