"""A recipe holds together: adapters go with qlora and nothing else, and every field is in its range."""

from typing import Any

import pytest
from pydantic import ValidationError

from stc.training.recipe import Recipe

FULL: dict[str, Any] = {
    "method": "full",
    "parts": ["decoder"],
    "epochs": 1,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "beta2": 0.999,
    "max_grad_norm": 1.0,
    "label_smoothing": 0.0,
    "precision": "float32",
    "seed": 0,
}
LORA = {"r": 4, "alpha": 8, "rslora": True, "dropout": 0.0}


def test_adapters_and_qlora_need_each_other() -> None:
    assert Recipe(**FULL).lora is None
    assert Recipe(**FULL | {"method": "qlora", "lora": LORA}).lora is not None
    with pytest.raises(ValidationError, match="qlora needs lora"):
        Recipe(**FULL | {"method": "qlora"})
    with pytest.raises(ValidationError, match="full takes no lora"):
        Recipe(**FULL | {"lora": LORA})


def test_the_default_optimizer_is_not_part_of_the_identity() -> None:
    assert "optimizer" not in Recipe(**FULL).model_dump(mode="json")
    assert "optimizer" not in Recipe(**FULL | {"optimizer": "adamw"}).model_dump(mode="json")
    assert Recipe(**FULL | {"optimizer": "adamw_8bit"}).model_dump(mode="json")["optimizer"] == "adamw_8bit"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("parts", []),
        ("parts", ["tail"]),
        ("parts", ["decoder", "decoder"]),
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("warmup_steps", -1),
        ("beta2", 1.0),
        ("max_grad_norm", 0.0),
        ("label_smoothing", 1.0),
        ("precision", "float16"),
        ("optimizer", "adam"),
        ("seed", -1),
        ("epoch", 3),
    ],
)
def test_values_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Recipe(**FULL | {field: value})
