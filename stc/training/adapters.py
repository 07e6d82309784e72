"""Low-rank adapters, on a base as it is (LoRA) or packed (QLoRA), and what becomes of them.

Merging into packed weights would round the sum once more than a later quantization does, so adapters are merged into
the base in bfloat16, or kept beside the base they were trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from stc.models.adapters import set_base_model_name
from stc.models.parts import lora_targets
from stc.training.recipe import Recipe

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator


def load_base(folder: Path, recipe: Recipe, device: str) -> Translator:
    """Return the base that adapters are trained on: packed for ``qlora``."""
    from stc.models.checkpoint import load

    compute = "float32" if recipe.precision == "float32" else "bfloat16"
    return load(folder, device=device, dtype=compute, quantize=recipe.base_quantizer)


def add_adapters(translator: Translator, recipe: Recipe) -> Any:
    """Put fresh adapters on the linear layers of the recipe's parts, in place, and freeze everything else.

    Returns:
        the ``peft`` wrapper of the same model.
    """
    from peft import LoraConfig, get_peft_model

    assert recipe.lora is not None  # the recipe's own check
    torch.manual_seed(recipe.seed)  # the adapters' first factor is random, the second is zero
    wrapped = get_peft_model(
        translator.model,
        LoraConfig(
            r=recipe.lora.r,
            lora_alpha=recipe.lora.alpha,
            lora_dropout=recipe.lora.dropout,
            use_rslora=recipe.lora.rslora,
            target_modules=lora_targets(translator, recipe.parts),
        ),
    )
    for parameter in adapter_parameters(wrapped):
        parameter.data = parameter.data.to(torch.bfloat16 if recipe.precision == "bfloat16" else torch.float32)
    return wrapped


def adapter_parameters(wrapped: Any) -> list[nn.Parameter]:
    return [parameter for parameter in wrapped.parameters() if parameter.requires_grad]


def save_adapters(wrapped: Any, folder: Path) -> None:
    """Write the adapters as ``peft`` does, adapter_config.json and adapter_model.safetensors; weights in bfloat16."""
    for parameter in adapter_parameters(wrapped):
        parameter.data = parameter.data.to(torch.bfloat16)
    wrapped.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()  # a model card with nothing filled in
    set_base_model_name(folder, None)  # peft names a path of this machine, which says nothing elsewhere
