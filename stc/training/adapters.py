"""Low-rank adapters on a plain base (LoRA) or a quantized base (QLoRA).

Adapters are merged into the bfloat16 base, or kept beside the base they were trained on. Merging them into quantized
weights would round the sum twice.
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
    from stc.models.load_and_save import Translator


def load_base(folder: Path, recipe: Recipe, device: str) -> Translator:
    """Return the base that adapters are trained on, quantized for ``qlora``."""
    from stc.models.load_and_save import load

    return load(folder, device=device, dtype=recipe.weights_dtype, quantize=recipe.base_quantizer)


def add_adapters(translator: Translator, recipe: Recipe) -> Any:
    """Put new adapters on the linear layers of the recipe's parts, and freeze everything else.

    The model is changed in place. Returns its ``peft`` wrapper.
    """
    from peft import LoraConfig, get_peft_model

    assert recipe.lora is not None  # checked by the recipe
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
    """Write the adapters as ``peft`` does, in bfloat16: adapter_config.json and adapter_model.safetensors."""
    for parameter in adapter_parameters(wrapped):
        parameter.data = parameter.data.to(torch.bfloat16)
    wrapped.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()  # an empty model card
    set_base_model_name(folder, None)  # peft writes a path of this machine, which is of no use elsewhere
