"""A stage's record as a sentence for people, for the card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stc.export.history import LineageStep
from stc.quantization import PACKABLE
from stc.training.recipe import QLORA


def describe_step(step: LineageStep) -> str:
    """What a stage did; only its name where there is no better word for it here."""
    tell = _TOLD.get(step.stage)
    return tell(step) if tell else f"Stage `{step.stage}` of stc."


def _pretrained(step: LineageStep) -> str:
    return f"Trained from random weights, in {step.config['steps']:,} steps of {step.config['batch_size']:,} examples."


def _finetuned(step: LineageStep) -> str:
    config = step.config
    parts = ", ".join(config["parts"])
    how = f"every weight of {parts}"
    if lora := config.get("lora"):
        how = f"adapters of rank {lora['r']} on the linear layers of {parts}"
        packed_by = (config.get("quant") or {"method": QLORA})["method"]
        how += f", over a base packed by {packed_by}" if config["method"] == "qlora" else ""
    epochs = f"{config['epochs']} epoch{'s' * (config['epochs'] > 1)}"
    taught = ", learning a teacher's distribution at every token" if config.get("distillation") else ""
    return (
        f"Fine-tuned: {how}; {epochs} in batches of {config['batch_size']} at a learning rate of at most "
        f"{config['learning_rate']:g}{_on(step.data.get('facts', {}))}{taught}."
    )


def _on(facts: Mapping[str, Any]) -> str:
    """The data of a training, by the facts of its manifest."""
    if "pairs" in facts:
        return (
            f", on {facts['pairs']:,} pairs of speech and text: {facts['originals']:,} from the data, the others "
            "translations by the model that was to be imitated (sequence-level distillation)"
        )
    if "utterances" in facts:
        hours = f" ({facts['seconds'] / 3600:.3g} hours)" if "seconds" in facts else ""
        return f", on {facts['utterances']:,} utterances{hours}"
    return ""


def _pruned(step: LineageStep) -> str:
    stacks = {"decoder": "layers_removed", "encoder": "encoder_layers_removed"}
    parts = []
    for stack, key in stacks.items():
        if removed := step.facts[key]:
            total = len(removed) + step.facts[f"{stack}_layers"]
            parts.append(
                f"{len(removed)} of {total} {stack} layers removed (counted from 0: {', '.join(map(str, removed))})"
            )
    return f"Pruned: {'; '.join(parts)}."


def _quantized(step: LineageStep) -> str:
    quant = step.config["quant"]
    parts = [part for part in PACKABLE if quant.get("parts", {}).get(part) == quant["method"]]
    settings = [f"{key} {value}" for key, value in quant.items() if key not in ("method", "parts")]
    where = f" of {', '.join(parts)}" if parts else ""
    said = f" ({', '.join(settings)})" if settings else ""
    return f"Quantized: the linear layers{where} by {quant['method']}{said}; the rest is bfloat16."


def _merged(step: LineageStep) -> str:
    return "Adapters that were trained for it were added to its weights."


def _attached(step: LineageStep) -> str:
    return "Adapters that were trained for it are kept beside it, in the folder `adapter`."


_TOLD = {
    "pretrain": _pretrained,
    "finetune": _finetuned,
    "adapt": _finetuned,
    "prune": _pruned,
    "quantize": _quantized,
    "merge": _merged,
    "attach": _attached,
}
