"""Low-rank adapters in a folder, as peft writes them, put on a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.errors import ModelError
from stc.models.weights import adapter_tensors, some

if TYPE_CHECKING:
    from stc.models.checkpoint import Translator


def put_on(model: Any, adapter: Path) -> Any:
    """The ``peft`` wrapper of a model with a trained adapter.

    Raises:
        ModelError: the adapter is damaged, or is for other layers than the model has; peft itself passes over weights
            that have no place.
    """
    from peft import PeftModel, get_peft_model_state_dict

    trained = adapter_tensors(adapter)
    try:
        wrapped = PeftModel.from_pretrained(model, str(adapter))
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{adapter} does not fit its base: {error}") from error
    if other := sorted(set(trained) ^ set(get_peft_model_state_dict(wrapped, save_embedding_layers=False))):
        raise ModelError(f"{adapter} does not fit its base: {some(other)} is in one and not in the other")
    return wrapped


def merge(translator: Translator, adapter: Path) -> None:
    """Add an adapter to the weights of an unquantized model, in place.

    Raises:
        ModelError: as :func:`put_on`.
    """
    translator.model = put_on(translator.model, adapter).merge_and_unload(safe_merge=True)
