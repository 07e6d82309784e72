"""A training that takes seconds, and a death in the middle of it."""

from __future__ import annotations

from typing import Any

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


class Steps:
    """A progress bar; with the update after so many steps the training dies of ``death``."""

    def __init__(self, last: int | None, death: Exception) -> None:
        self._last = last
        self._death = death
        self._done = 0

    def update(self, n: int = 1) -> None:
        self._done += n
        if self._last is not None and self._done > self._last:
            raise self._death
