"""The history of a result says what it was made of."""

from __future__ import annotations

from pathlib import Path

from filled_store import put

from stc.export.history import history_of
from stc.export.source import ExportSource
from stc.stages.finetune import Finetune
from stc.store import Store
from stc.store.artifact import Kind


def test_training_on_joined_data_tells_the_parts_and_which_of_them_a_teacher_made(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    taught = put(store, Kind.MANIFEST, "distill", {}, 5, facts={"pairs": 14, "originals": 13})
    more = put(store, Kind.MANIFEST, "manifest", {}, 5, facts={"utterances": 20, "seconds": 36.0})
    joined = {"parts.data": taught, "parts.more": more}
    mixture = put(store, Kind.MANIFEST, "join", joined, 5, facts={"utterances": 54})
    model = put(store, Kind.MODEL, "finetune", {"train": mixture}, 5)
    source = ExportSource(store.path(Kind.MODEL, model), "merged", store)
    (step,) = history_of(source, source).steps
    config = {"parts": ["decoder"], "epochs": 1, "batch_size": 4, "learning_rate": 1e-5, "method": "full"}
    said = Finetune.describe(config, {}, step.data["facts"])
    for told in ("54 utterances", "more, on 20 utterances", "data, on 14 pairs", "sequence-level distillation"):
        assert told in said
