"""Low-rank adapters in a folder, as peft writes them: loading them onto a model and merging them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.errors import ModelError
from stc.models.weights import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_tensors, first_few

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

BASE_MODEL_KEY = "base_model_name_or_path"  # in an adapter's config: the model that the adapter is for
WRAPPED = "base_model.model."  # peft's prefix of weight names
BASE_LAYER = ".base_layer."  # in the names of weights of the base that an adapter carries


def attach_adapter(model: Any, adapter: Path) -> Any:
    """Return a model wrapped by ``peft``, with a trained adapter.

    For an adapter on the embedding or the head, peft also saves the base weight and would load it over the model's.

    Raises:
        ModelError: the adapter is damaged, is for other layers than the model has (peft ignores those), or carries a
            base weight that differs from the model's.
    """
    from peft import PeftModel, get_peft_model_state_dict

    tensors = adapter_tensors(adapter)
    carried = {name for name in tensors if BASE_LAYER in name}
    if foreign := sorted(_differing_base_weights(model, adapter, carried)):
        raise ModelError(f"{adapter} does not fit its base: {first_few(foreign)} differs from the base's weight")
    try:
        wrapped = PeftModel.from_pretrained(model, str(adapter))
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{adapter} does not fit its base: {error}") from error
    expected = set(get_peft_model_state_dict(wrapped, save_embedding_layers=False))
    if other := sorted((set(tensors) - carried) ^ expected):
        raise ModelError(f"{adapter} does not fit its base: {first_few(other)} is in one and not in the other")
    return wrapped


def _differing_base_weights(model: Any, adapter: Path, carried: Iterable[str]) -> Iterator[str]:
    import torch
    from safetensors import safe_open

    own = model.state_dict()
    with safe_open(adapter / ADAPTER_WEIGHTS, "pt") as file:
        for name in carried:
            base = own.get(name.removeprefix(WRAPPED).replace(BASE_LAYER, "."))
            if base is None or not torch.equal(file.get_tensor(name).float(), base.float().cpu()):
                yield name


def merge(translator: Translator, adapter: Path) -> None:
    """Add an adapter to the weights of an unquantized model, in place. Raises as :func:`attach_adapter`."""
    translator.model = attach_adapter(translator.model, adapter).merge_and_unload(safe_merge=True)


def merge_into(base: Path, adapter: Path, out: Path, device: str) -> None:
    """Add an adapter to its base in bfloat16, save the sum as a model folder, and compare the folder to the model.

    Raises:
        ModelError: the adapter does not fit the base, or the folder differs from the model in memory.
    """
    from stc.models.layer_removal import check_reload
    from stc.models.load_and_save import load, save

    translator = load(base, device=device, dtype="bfloat16")
    merge(translator, adapter)
    save(translator, out)
    check_reload(translator, out)


def adapter_config(adapter: Path) -> dict[str, Any]:
    """Return the parsed config of an adapter.

    Raises:
        ModelError: it is not JSON.
    """
    path = adapter / ADAPTER_CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from None
    return config


def set_base_model_name(adapter: Path, name: str | None) -> None:
    """Write into an adapter's config which model it is for; None leaves that open."""
    config = {**adapter_config(adapter), BASE_MODEL_KEY: name}
    (adapter / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
