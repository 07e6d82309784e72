"""A training that takes seconds, adapters to be trained, and a death in the middle of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator
    from stc.training.recipe import Recipe

RECIPE: dict[str, Any] = {
    "method": "full",
    "parts": ["decoder"],
    "epochs": 2,
    "batch_size": 4,
    "learning_rate": 3e-3,
    "schedule": "cosine",
    "warmup_steps": 1,
    "weight_decay": 0.01,
    "beta2": 0.99,
    "max_grad_norm": 1.0,
    "label_smoothing": 0.0,
    "precision": "float32",
    "seed": 0,
}


def lora(dropout: float) -> dict[str, Any]:
    return {"method": "lora", "lora": {"r": 4, "alpha": 8, "rslora": True, "dropout": dropout}}


def adapted(folder: Path, device: str = "cpu", **fields: Any) -> tuple[Translator, Recipe, Any]:
    """A model in train mode with adapters on every part that takes some, neither factor of which is zero; the recipe,
    with ``fields`` in place of its own; and peft's wrapper."""
    import torch

    from stc.training.adapters import adapter_parameters, add_adapters, load_base
    from stc.training.recipe import Recipe

    parts = ["encoder", "projector", "decoder"]
    recipe = Recipe.model_validate({**RECIPE, **lora(0.0), "parts": parts, **fields})
    base = load_base(folder, recipe, device)
    wrapped = add_adapters(base, recipe)
    torch.manual_seed(1)
    for parameter in adapter_parameters(wrapped):
        torch.nn.init.normal_(parameter, std=0.1)
    base.model.train()
    return base, recipe, wrapped


class Steps:
    """A progress bar; with the update after so many steps the training dies of ``death``."""

    def __init__(self, last: int | None, death: Exception) -> None:
        self._last = last
        self._death = death
        self._done = 0

    def update(self, n: int = 1, note: str = "") -> None:
        self._done += n
        if self._last is not None and self._done > self._last:
            raise self._death
