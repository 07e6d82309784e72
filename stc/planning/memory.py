"""How much memory and disk the stages to run take, and how much there is.

Disk is the size of the models and features to come; whatever else a run writes is small, or linked and not copied.
Memory is an estimate from the largest tensors, in bytes:

- weights: parameters × the width of the precision, 4 or 2; of packed ones what the folder has.
- training: AdamW's two moments, each as wide as the parameter or a byte, of what is trained; three times the logits of
  the targets in float32; and the larger of two that take turns: the gradient, and what the backward pass needs, which
  is about twice the outputs of every linear layer for every position of a micro-batch, and under autocast copies of
  the matrices in bfloat16. Where a batch is cut into several micro-batches, the gradient of the first is there beside
  what the second needs.
- gradient checkpointing: of all layers their inputs, and the rest of the above of the largest one only.
- a packed base that is unpacked (``resources.unpack=true``): its matrices once more, as wide as is computed. ``auto``
  takes only what is free, and is not counted.
- decoding: keys and values of a batch, three times the logits of a step, and what one encoder layer makes of the audio,
  if there are no features in its place. A greedy search keeps those keys and values for all its utterances.
- what saves a model loads the folder again beside it, to compare.

The longest utterance counts, or the model's window where the data do not say. A tenth is added for all the rest.
docs/store.md compares it with what was measured.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stc.data.manifest import SpeechAmount
from stc.decoding.hypotheses import TranslationSettings
from stc.models.architecture import Part
from stc.models.layout import POSITIONS_PER_SECOND, WIDTH, Layout
from stc.models.options import Compute
from stc.pipeline.stage import Context, Stage
from stc.planning.disk import bytes_on_disk
from stc.planning.jobs import PlannedJob, device_for
from stc.pruning.greedy import Importance
from stc.stages.features import Features
from stc.training.fine_tuning import FineTuning
from stc.workers.stage import ParallelStage

PROMPT_TOKENS = 32
TARGET_TOKENS = 64  # of an utterance in training
KEPT = 2  # for the backward pass, of the outputs of linear layers
LOGITS = 3  # copies of the logits, in float32
SAFETY_FACTOR = 1.1


@dataclass(frozen=True)
class MemoryPeak:
    """The most memory a stage takes, estimated."""

    bytes: int
    stage: str = ""
    job: str = ""


def peak_memory(jobs: Sequence[PlannedJob]) -> MemoryPeak:
    """That of all stages which are to run, of the one that takes most."""
    found = [
        MemoryPeak(
            estimate_memory(row.step.node.stage, row.inputs, row.will_be, context)
            * _side_by_side(row.step.node.stage, job),
            row.step.name,
            job.name,
        )
        for job in jobs
        for context in [job.config.resources.context(device_for(job.config))]
        for row in job.rows
        if row.runs and row.step.node.stage is not None
    ]
    return max(found, key=lambda one: one.bytes, default=MemoryPeak(0))


def _side_by_side(stage: Stage, job: PlannedJob) -> int:
    """How many processes take that of the same memory; on GPUs, each has its own."""
    processes = job.config.resources.processes
    return processes if isinstance(stage, ParallelStage) and processes > 1 and device_for(job.config) == "cpu" else 1


def bytes_to_write(jobs: Sequence[PlannedJob]) -> int:
    """Bytes of the models, adapters and features that are to be made."""
    return sum(bytes_on_disk(row.will_be) for job in jobs for row in job.rows if row.runs)


def free_memory(device: str) -> int | None:
    """Of the GPU that a run uses, or of the machine; None where the GPU does not say."""
    if device != "cuda":
        import psutil

        return int(psutil.virtual_memory().available)
    query = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return None
    return int(answer[0]) * 2**20 if answer and answer[0].isdigit() else None


def estimate_memory(stage: Stage | None, inputs: Mapping[str, Any], will_be: Any, ctx: Context) -> int:
    """Bytes a stage takes at its peak; 0 where it has no model, or nothing is known of that."""
    model = inputs.get("model")
    if not isinstance(model, Layout):
        return 0
    if isinstance(stage, FineTuning):
        fixed = _unpacked(stage, model) if ctx.unpack is True else 0
        return round(SAFETY_FACTOR * (fixed + _training(stage, model, inputs, ctx)))
    dtype = stage.dtype if isinstance(stage, Compute) else "bfloat16"
    saved = 2 * _weights(will_be, dtype) if isinstance(will_be, Layout) else 0
    loaded = _weights(model, dtype)
    if isinstance(stage, TranslationSettings | Importance):
        loaded += _decoding(stage, model, inputs.get("data"), ctx.decode_batch, WIDTH[dtype])
    if isinstance(stage, Features) or (
        isinstance(stage, Importance | TranslationSettings) and "features" not in inputs
    ):
        loaded += _hearing(model, inputs.get("data"), ctx.decode_batch, WIDTH[dtype])
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
    logits = count * TARGET_TOKENS * model.dimensions.vocabulary * 4 * LOGITS
    return fixed + 2 * trained * moment + held + logits


def _backward(stage: FineTuning, model: Layout, speech: Any, count: int, ctx: Context) -> int:
    """What the forward pass of so many utterances leaves for the backward pass."""
    computed = 4 if stage.precision == "float32" else 2
    heard, read = _lengths(model, speech)
    positions: dict[Part, int] = {
        "projector": count * (read + TARGET_TOKENS),
        "decoder": count * (read + TARGET_TOKENS),
    }
    if "encoder" in stage.parts:
        positions["encoder"] = count * heard
    copied = {*stage.parts, "head"} if stage.method == "full" and stage.precision == "bfloat16-mixed" else set()

    def needed(part: Part) -> int:
        copies = 2 * model.elements([part], linear=True) * (part in copied)
        return KEPT * positions.get(part, 0) * model.outputs([part]) * computed + copies

    if not ctx.gradient_checkpointing:
        return sum(needed(part) for part in {*positions, *copied})
    hidden = next(one.shape[1] for one in model.weights if one.part == "embedding")
    widths = {"decoder": hidden, "encoder": model.dimensions.encoder_width}
    stacks = [stack for stack in model.layers if stack in positions]
    entering = sum(positions[stack] * model.layers[stack] * widths[stack] for stack in stacks)
    largest = max(needed(stack) // max(model.layers[stack], 1) for stack in stacks)
    outside = sum(needed(part) for part in {*positions, *copied} - {*stacks})
    return entering * (2 if stage.precision == "bfloat16" else 4) + largest + outside


def _unpacked(stage: FineTuning, model: Layout) -> int:
    """The matrices of a packed base, unpacked beside it."""
    packed = stage.base_quantizer.packed_parts if stage.base_quantizer else []
    return model.elements(packed, linear=True) * (4 if stage.precision == "float32" else 2)


def _decoding(stage: TranslationSettings | Importance, model: Layout, speech: Any, batch: int, width: int) -> int:
    tokens = _lengths(model, speech)[1]
    layer = model.layers["decoder"] * model.dimensions.cache_elements * width
    count = batch
    if isinstance(stage, Importance) and isinstance(speech, SpeechAmount):
        count = max(batch, speech.utterances)
    cached = count * (tokens + stage.max_new_tokens) * layer
    logits = batch * model.dimensions.vocabulary * 4 * LOGITS
    return cached + logits


def _hearing(model: Layout, speech: Any, batch: int, width: int) -> int:
    """Of one encoder layer's work on a batch."""
    layer = model.outputs(["encoder"]) // max(model.layers.get("encoder", 0), 1)
    return KEPT * batch * _lengths(model, speech)[0] * layer * width


def _lengths(model: Layout, speech: Any) -> tuple[int, int]:
    """Positions of the encoder and of the decoder, before anything is said, for the longest utterance."""
    window = model.dimensions.encoder_positions
    positions = (
        min(window, round(speech.longest * POSITIONS_PER_SECOND)) if isinstance(speech, SpeechAmount) else window
    )
    return positions, positions // model.family.encoder_pooling + PROMPT_TOKENS
