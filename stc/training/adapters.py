"""QLoRA: low-rank adapters on a 4-bit base, merged into the base in bfloat16 afterwards.

Merging into the 4-bit weights would round the sum to 4 bits once more than a later quantization does, so the
adapters leave the base they were trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from stc.errors import InputError
from stc.models.parts import lora_targets
from stc.training.recipe import Recipe

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator


def add_adapters(translator: Translator, recipe: Recipe) -> Any:
    """Put fresh adapters on the linear layers of the recipe's parts, in place, and freeze everything else.

    Returns:
        the ``peft`` wrapper of the same model.
    """
    from peft import LoraConfig, get_peft_model

    if recipe.lora is None:
        raise InputError("lora is missing: adapters need {r, alpha, rslora, dropout}")
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


def adapter_state(wrapped: Any) -> dict[str, torch.Tensor]:
    """A copy of the adapters' weights in main memory."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def merge_adapters(translator: Translator, recipe: Recipe, state: dict[str, torch.Tensor]) -> None:
    """Add trained adapters to the weights of an unquantized model, in place."""
    from peft import set_peft_model_state_dict

    wrapped = add_adapters(translator, recipe)
    set_peft_model_state_dict(wrapped, state)
    translator.model = wrapped.merge_and_unload()
