"""An estimate of the memory that stages take, and the memory that is free.

The estimate follows from the largest tensors, in bytes:

- weights: parameters × the width of the precision, 4 or 2; for packed ones the size of the files.
- training: AdamW's two moments of what is trained, each as wide as the parameter or a byte; three times the logits of
  the targets in float32; and the larger of two that take turns: the gradient, and what the backward pass needs. The
  latter is about twice the outputs of every linear layer for every position of a micro-batch, and under autocast
  copies of the matrices in bfloat16. With several micro-batches in a batch, the gradient of the first is there beside
  what the second needs.
- gradient checkpointing: the inputs of all layers, and the rest of the above for the largest layer only.
- a packed base that is dequantized (``resources.unpack=true``): its matrices once more, in the width of the
  computation. ``auto`` takes only what is free, and is not counted.
- decoding: keys and values of a batch, three times the logits of a step, and what one encoder layer makes of the audio
  unless there are features. A greedy search keeps the keys and values of all its utterances.
- saving a model loads the folder again beside it, to compare.

It counts the longest utterance, or the model's window if the data do not say. A tenth is added for all the rest.
docs/store.md compares it with measurements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stc.data.manifest import SpeechAmount
from stc.decoding.hypotheses import TranslationSettings
from stc.models.architecture import Part
from stc.models.compute_options import Compute
from stc.models.layout import POSITIONS_PER_SECOND, WIDTH, Layout
from stc.pipeline.stage import Context, Stage
from stc.planning.planned_jobs import PlannedJob
from stc.pruning.greedy import Importance
from stc.stages.features import Features
from stc.system.machine import query_gpus
from stc.training.fine_tuning import FineTuning
from stc.workers.stage import ParallelStage

PROMPT_TOKENS = 32
TARGET_TOKENS = 64  # of an utterance in training
SAVED_OUTPUTS = 2  # copies of the outputs of linear layers, for the backward pass
LOGITS_COPIES = 3  # in float32
SAFETY_FACTOR = 1.1


@dataclass(frozen=True)
class MemoryPeak:
    """The estimated memory of the stage that takes most."""

    bytes: int
    stage: str = ""
    job: str = ""


def peak_memory(jobs: Sequence[PlannedJob]) -> MemoryPeak:
    """Return the largest estimate of all stages that will run."""
    peak = MemoryPeak(0)
    for job in jobs:
        resources = job.config.resources
        context = resources.context(job.device)
        for one in job.steps:
            if one.runs and one.node.stage is not None:
                bytes_ = estimate_memory(one.node.stage, one.inputs, one.forecast, context)
                if isinstance(one.node.stage, ParallelStage) and job.device == "cpu":
                    bytes_ *= resources.processes  # on GPUs, each process has a memory of its own
                peak = max(peak, MemoryPeak(bytes_, one.name, job.name), key=lambda found: found.bytes)
    return peak


def free_memory(device: str) -> int | None:
    """Return the free bytes of the GPU that a run uses, or of the machine; None if the GPU does not say.

    It needs no torch, unlike :func:`stc.system.memory.free_memory`.
    """
    if device != "cuda":
        import psutil

        return int(psutil.virtual_memory().available)
    mebibytes = query_gpus("memory.free")
    return int(mebibytes[0]) * 2**20 if mebibytes and mebibytes[0].isdigit() else None


def estimate_memory(stage: Stage | None, inputs: Mapping[str, Any], forecast: Any, ctx: Context) -> int:
    """Return the bytes that a stage takes at its peak; 0 if it has no model, or nothing is known of the model.

    Args:
        inputs: the forecasts of its inputs, and ``forecast`` that of its result.
    """
    model = inputs.get("model")
    if not isinstance(model, Layout):
        return 0
    if isinstance(stage, FineTuning):
        fixed = _dequantized(stage, model) if ctx.unpack is True else 0
        return round(SAFETY_FACTOR * (fixed + _training(stage, model, inputs, ctx)))
    dtype = stage.dtype if isinstance(stage, Compute) else "bfloat16"
    saved = 2 * _weights(forecast, dtype) if isinstance(forecast, Layout) else 0
    loaded = _weights(model, dtype)
    if isinstance(stage, TranslationSettings | Importance):
        loaded += _decoding(stage, model, inputs.get("data"), ctx.decode_batch, WIDTH[dtype])
    if isinstance(stage, Features) or (
        isinstance(stage, Importance | TranslationSettings) and "features" not in inputs
    ):
        loaded += _encoding(model, inputs.get("data"), ctx.decode_batch, WIDTH[dtype])
    return round(SAFETY_FACTOR * max(loaded, saved))


def _weights(model: Layout, dtype: str) -> int:
    parameters, packed = model.counts.parameters, model.counts.packed_elements
    if model.quantizer is None:
        return parameters * WIDTH[dtype]
    together = 8 // model.quantizer.BITS
    plain = max(together * packed - parameters, 0) // (together - 1) if together > 1 else 0
    return model.weight_bytes + plain * (WIDTH[dtype] - 2)


def _training(stage: FineTuning, model: Layout, inputs: Mapping[str, Any], ctx: Context) -> int:
    width = 2 if stage.precision == "bfloat16" else 4
    computed = 4 if stage.precision == "float32" else 2
    if stage.method == "full":
        trained = model.elements(stage.parts)
        fixed = model.counts.parameters * width
    else:
        assert stage.lora is not None  # the recipe's own check
        compute = "float32" if computed == 4 else "bfloat16"
        base = model.packed(stage.base_quantizer) if stage.base_quantizer else model
        trained = model.adapters(stage.lora.r, stage.parts).parameters
        fixed = _weights(base, compute) + trained * width
    teacher = inputs.get("teacher")
    if isinstance(teacher, Layout):
        fixed += _weights(teacher, "float32" if computed == 4 else "bfloat16")
    moment = 1 if stage.optimizer == "adamw_8bit" else width
    count = min(ctx.train_micro_batch, stage.batch_size)
    gradient, backward = trained * width, _backward(stage, model, inputs.get("train"), count, ctx)
    held = gradient + backward if count < stage.batch_size else max(gradient, backward)
    logits = count * TARGET_TOKENS * model.dimensions.vocabulary * 4 * LOGITS_COPIES
    return fixed + 2 * trained * moment + held + logits


def _backward(stage: FineTuning, model: Layout, speech: Any, count: int, ctx: Context) -> int:
    """Return the bytes that the forward pass of ``count`` utterances leaves for the backward pass."""
    computed = 4 if stage.precision == "float32" else 2
    encoder_positions, prompt = _lengths(model, speech)
    positions: dict[Part, int] = {
        "projector": count * (prompt + TARGET_TOKENS),
        "decoder": count * (prompt + TARGET_TOKENS),
    }
    if "encoder" in stage.parts:
        positions["encoder"] = count * encoder_positions
    copied = {*stage.parts, "head"} if stage.method == "full" and stage.precision == "bfloat16-mixed" else set()

    def needed(part: Part) -> int:
        copies = 2 * model.elements([part], linear=True) * (part in copied)
        return SAVED_OUTPUTS * positions.get(part, 0) * model.outputs([part]) * computed + copies

    if not ctx.gradient_checkpointing:
        return sum(needed(part) for part in {*positions, *copied})
    hidden = next(one.shape[1] for one in model.weights if one.part == "embedding")
    widths = {"decoder": hidden, "encoder": model.dimensions.encoder_width}
    stacks = [stack for stack in model.layers if stack in positions]
    entering = sum(positions[stack] * model.layers[stack] * widths[stack] for stack in stacks)
    largest = max(needed(stack) // max(model.layers[stack], 1) for stack in stacks)
    outside = sum(needed(part) for part in {*positions, *copied} - {*stacks})
    return entering * (2 if stage.precision == "bfloat16" else 4) + largest + outside


def _dequantized(stage: FineTuning, model: Layout) -> int:
    """Return the bytes of the matrices of a packed base, dequantized beside it."""
    packed = stage.base_quantizer.packed_parts if stage.base_quantizer else []
    return model.elements(packed, linear=True) * (4 if stage.precision == "float32" else 2)


def _decoding(stage: TranslationSettings | Importance, model: Layout, speech: Any, batch: int, width: int) -> int:
    tokens = _lengths(model, speech)[1]
    layer = model.layers["decoder"] * model.dimensions.cache_elements * width
    count = batch
    if isinstance(stage, Importance) and isinstance(speech, SpeechAmount):
        count = max(batch, speech.utterances)
    cached = count * (tokens + stage.max_new_tokens) * layer
    logits = batch * model.dimensions.vocabulary * 4 * LOGITS_COPIES
    return cached + logits


def _encoding(model: Layout, speech: Any, batch: int, width: int) -> int:
    """Return the bytes of one encoder layer's work on a batch."""
    layer = model.outputs(["encoder"]) // max(model.layers.get("encoder", 0), 1)
    return SAVED_OUTPUTS * batch * _lengths(model, speech)[0] * layer * width


def _lengths(model: Layout, speech: Any) -> tuple[int, int]:
    """Return the positions of the encoder, and of the decoder's prompt, for the longest utterance."""
    window = model.dimensions.encoder_positions
    positions = (
        min(window, round(speech.longest * POSITIONS_PER_SECOND)) if isinstance(speech, SpeechAmount) else window
    )
    return positions, positions // model.family.encoder_pooling + PROMPT_TOKENS
