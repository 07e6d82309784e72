"""Memory and disk: estimates against measurements, and a stage that would fill the disk is stopped before it starts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stc.config.schema import ResourcesConfig
from stc.data.manifest import SpeechAmount
from stc.errors import StcError
from stc.models import architecture
from stc.models.layout import Layout, RemovalCounts
from stc.models.qwen2_audio import PUBLISHED
from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.runner import Evaluation
from stc.pipeline.stage import Context, Stage
from stc.planning import disk as room
from stc.planning.disk import check_disk_space
from stc.planning.memory import SAFETY_FACTOR, estimate_memory, peak_memory
from stc.pruning.greedy import Importance
from stc.stages.finetune import Finetune
from stc.stages.quantize import Quantize
from stc.stages.translate import Translate
from stc.store import Store
from stc.store.artifact import Kind

RECIPE: dict[str, Any] = {
    "epochs": 1, "batch_size": 8, "learning_rate": 1e-5, "schedule": "cosine", "warmup_steps": 0, "weight_decay": 0.0,
    "beta2": 0.999, "max_grad_norm": 1.0, "label_smoothing": 0.0, "seed": 0,
}  # fmt: skip
LORA = {"r": 64, "alpha": 128, "rslora": True, "dropout": 0.0}
HEALED = ("projector", "decoder")
ADAPTED = ("encoder", *HEALED)
ALL = (*ADAPTED, "embedding", "head")


def of_7b(decoder: int, encoder: int) -> Layout:
    """The shape of the 7B base with fewer layers."""
    config = architecture("qwen2_audio").known_config(PUBLISHED)
    assert config is not None
    return Layout.of_config(config).pruned(
        RemovalCounts({"decoder": 32, "encoder": 32}, {"decoder": 32 - decoder, "encoder": 32 - encoder})
    )


def tuning(method: str, parts: tuple[str, ...], precision: str, **changes: Any) -> Stage:
    lora = None if method == "full" else LORA
    fields = {**RECIPE, "method": method, "parts": parts, "precision": precision, "lora": lora}
    return Finetune.model_validate(fields | changes)


def context(micro_batch: int, **changes: Any) -> Any:
    """What of a context the estimate asks for."""
    usual = {"train_micro_batch": micro_batch, "decode_batch": 32, "unpack": "auto", "gradient_checkpointing": False}
    return SimpleNamespace(**usual | changes)


# Peaks that torch.cuda.max_memory_allocated() gave, in GB: random weights of the shape of the 7B base with 8 layers of
# each stack, 64 utterances of 8 s with 64 target tokens, micro-batches of 8, decoding in batches of 32; one H200.
# The last is of benchmarks/proof_7b.py, on an H100.
MEASURED = [
    (Translate(dtype="bfloat16", max_new_tokens=64), 8.87),
    (Importance(dtype="bfloat16", metric="chrf", max_new_tokens=64), 10.19),
    (tuning("full", HEALED, "bfloat16"), 18.23),
    (tuning("lora", ADAPTED, "bfloat16"), 12.75),
    (tuning("full", HEALED, "bfloat16-mixed"), 36.43),
    (tuning("lora", ADAPTED, "bfloat16-mixed"), 14.26),
    (tuning("full", HEALED, "float32"), 34.54),
    (tuning("lora", ADAPTED, "float32"), 23.54),
    (tuning("full", ALL, "bfloat16-mixed"), 51.29),
]


# The same of all layers, by benchmarks/full_training.py: 4 utterances of 8 s with 60 target tokens a step; one H200.
WHOLE = [
    ("bfloat16-mixed", "adamw_8bit", True, 84.43),
    ("bfloat16", "adamw_8bit", True, 50.84),
    ("bfloat16-mixed", "adamw", True, 134.54),
    ("bfloat16-mixed", "adamw_8bit", False, 85.95),
]


@pytest.mark.parametrize(("precision", "optimizer", "recomputed", "measured"), WHOLE)
def test_memory_of_full_fine_tuning_is_estimated_at_what_was_measured_and_a_tenth(
    precision: str, optimizer: str, recomputed: bool, measured: float
) -> None:
    stage = tuning("full", ALL, precision, optimizer=optimizer, batch_size=4)
    inputs = {"model": of_7b(32, 32), "train": SpeechAmount(4, 32.0, 8.0)}
    estimate = estimate_memory(stage, inputs, None, context(4, gradient_checkpointing=recomputed))
    assert estimate / SAFETY_FACTOR == pytest.approx(measured * 1e9, rel=0.03)


@pytest.mark.parametrize(("stage", "measured"), MEASURED)
def test_memory_is_estimated_to_within_a_tenth_of_what_was_measured(stage: Stage, measured: float) -> None:
    speech = SpeechAmount(64, 512.0, 8.0)
    estimate = estimate_memory(stage, {"model": of_7b(8, 8), "train": speech, "data": speech}, None, context(8))
    assert estimate == pytest.approx(measured * 1e9, rel=0.1)


def test_memory_of_qlora_is_estimated_to_within_a_tenth_of_what_the_proof_measured() -> None:
    inputs = {"model": of_7b(24, 32), "train": SpeechAmount(4, 32.0, 8.0)}
    stage = tuning("qlora", ADAPTED, "bfloat16-mixed", batch_size=4)
    estimate = estimate_memory(stage, inputs, None, context(4))
    assert estimate == pytest.approx(16_628_182_016, rel=0.1)


@pytest.mark.parametrize(
    "stage",
    [
        Translate(dtype="bfloat16", max_new_tokens=64),
        Importance(metric="chrf", dtype="bfloat16", max_new_tokens=64),
    ],
)
def test_a_stage_that_reads_features_does_without_the_memory_of_hearing(stage: Stage) -> None:
    model, speech = of_7b(8, 8), SpeechAmount(64, 512.0, 8.0)
    inputs = {"model": model, "data": speech}
    heard, read = (estimate_memory(stage, {**inputs, **given}, None, context(8)) for given in ({}, {"features": None}))
    layer = model.outputs(["encoder"]) // 8
    assert heard - read == pytest.approx(1.1 * 2 * 32 * 400 * layer * 2, rel=1e-6)


def test_a_base_that_is_to_be_unpacked_is_counted_twice() -> None:
    model = of_7b(24, 32)
    inputs = {"model": model, "train": SpeechAmount(4, 32.0, 8.0)}
    packed, unpacked = (
        estimate_memory(
            tuning("qlora", ADAPTED, "bfloat16"),
            inputs,
            None,
            context(4, unpack=unpack),
        )
        for unpack in ("auto", True)
    )
    matrices = model.elements(ADAPTED, linear=True)
    assert unpacked - packed == pytest.approx(1.1 * 2 * matrices)


def of_all_7b(micro_batch: int, recomputed: bool, **changes: Any) -> float:
    """In GB: full fine-tuning of the 7B shape, of 4 utterances of 8 s a step."""
    stage = tuning("full", ALL, "bfloat16-mixed", batch_size=4, **changes)
    resources = context(micro_batch, gradient_checkpointing=recomputed)
    inputs = {"model": of_7b(32, 32), "train": SpeechAmount(4, 32.0, 8.0)}
    return estimate_memory(stage, inputs, None, resources) / 1.1e9


def test_moments_in_8_bits_take_two_bytes_a_parameter() -> None:
    saved = of_all_7b(4, True) - of_all_7b(4, True, optimizer="adamw_8bit")
    assert saved == pytest.approx(6 * 8.397, rel=0.001)


def test_gradient_checkpointing_leaves_a_hidden_state_a_layer_and_what_the_largest_layer_keeps() -> None:
    many = 4096  # utterances at once, so that activations and not the gradient are what counts
    stage = tuning("full", HEALED, "bfloat16", batch_size=many)
    inputs = {"model": of_7b(32, 32), "train": SpeechAmount(many, 30.0 * many, 30.0)}
    kept, recomputed = (
        estimate_memory(stage, inputs, None, context(many, gradient_checkpointing=on)) for on in (False, True)
    )
    tokens = many * (750 + 32 + 64)
    layer = 4 * 4096 + 2 * 11008 + 4096  # outputs of its seven matrices
    assert kept - recomputed == pytest.approx(1.1 * 2 * tokens * (2 * 31 * layer - 32 * 4096), rel=0.001)


def test_micro_batches_after_the_first_find_the_gradient_there() -> None:
    whole, cut = (of_all_7b(size, True, optimizer="adamw_8bit") for size in (4, 2))
    assert whole == pytest.approx(8.397 * (4 + 4 + 2), rel=0.02)
    assert 1 < cut - whole < 5  # GB, of two utterances


def test_model_that_is_saved_is_compared_beside_itself() -> None:
    model = of_7b(8, 8)
    stage = Quantize.model_validate({"dtype": "bfloat16", "quant": {"method": "nf4"}})
    packed = model.packed(stage.quant)
    estimate = estimate_memory(stage, {"model": model}, packed, context(8))
    assert estimate == pytest.approx(1.1 * max(2 * model.counts.parameters, 2 * packed.weight_bytes), rel=0.01)


@pytest.mark.parametrize(("device", "times"), [("cpu", 3), ("cuda", 1)])
def test_processes_that_share_a_stage_share_the_memory_of_the_machine_but_not_of_a_gpu(device: str, times: int) -> None:
    search, translating = (one for one, _ in MEASURED[1::-1])

    def planned(stage: Stage, processes: int) -> int:
        resources = ResourcesConfig.model_validate(
            {
                "device": device,
                "workers": 1,
                "train_micro_batch": 8,
                "decode_batch": 32,
                "unpack": "auto",
                "compile": "auto",
                "gradient_checkpointing": False,
                "processes": processes,
            }
        )
        node = SimpleNamespace(stage=stage)
        row = SimpleNamespace(runs=True, name="stage", node=node, inputs={"model": of_7b(8, 8)}, forecast=None)
        job: Any = SimpleNamespace(name="job", device=device, config=SimpleNamespace(resources=resources), steps=[row])
        return peak_memory([job]).bytes

    assert planned(search, 3) == times * planned(search, 1)
    assert planned(translating, 3) == planned(translating, 1)


@pytest.fixture
def quantizing(tiny_model: Path) -> Pipeline:
    stage = Quantize.model_validate({"dtype": "float32", "quant": {"method": "nf4"}})
    nodes = {
        "base": Node("base", Kind.MODEL, "from", source=tiny_model),
        "packed": Node("packed", Kind.MODEL, "quantize", stage, {"model": "base"}),
    }
    return Pipeline(nodes, ["packed"])


def test_stage_that_would_fill_the_disk_does_not_start_and_is_told_how_much_it_needs(
    quantizing: Pipeline, tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    monkeypatch.setattr(room, "free_disk_space", lambda folder: 1000)
    evaluation = Evaluation(
        quantizing,
        store,
        lambda name, scratch: ctx,
        before_stage=lambda node, inputs: check_disk_space(store, node, inputs),
    )
    with pytest.raises(StcError, match=r"packed .* [\d.]+ kB.* 1\.00 kB"):
        evaluation.run()
    assert not (store.root / ".building").exists()


def test_stage_that_fits_runs(
    quantizing: Pipeline, tmp_path: Path, ctx: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    asked: list[str] = []

    def ready(node: Node, inputs: Any) -> None:
        asked.append(node.name)
        check_disk_space(store, node, inputs)

    Evaluation(quantizing, store, lambda name, scratch: ctx, before_stage=ready).run()
    assert asked == ["packed"]
