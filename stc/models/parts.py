"""The parts of a model by name: what is trained in full, and what LoRA is put on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from stc.errors import ModelError
from stc.models.architecture import Part
from stc.models.checkpoint import Translator


def part_parameters(translator: Translator, parts: Iterable[Part]) -> Iterator[tuple[str, nn.Parameter]]:
    """The trainable parameters of ``parts``, by name, each once.

    What the model itself freezes (the encoder's sinusoidal positions) is not among them.
    """
    prefixes = _prefixes(translator, parts)
    for name, parameter in translator.model.named_parameters():
        if parameter.requires_grad and _inside(name, prefixes):
            yield name, parameter


def part_state(translator: Translator, part: Part) -> dict[str, Tensor]:
    """The weights and buffers of one part by name, not copied."""
    prefixes = _prefixes(translator, [part])
    return {name: tensor for name, tensor in translator.model.state_dict().items() if _inside(name, prefixes)}


def lora_targets(translator: Translator, parts: Iterable[Part]) -> list[str]:
    """The full dotted names of every linear layer of ``parts``, for ``LoraConfig(target_modules=…)``.

    Full names, because a short one such as ``q_proj`` would match in every part.

    Raises:
        ModelError: a part has no linear layer.
    """
    targets: list[str] = []
    linear = [name for name, module in translator.model.named_modules() if isinstance(module, nn.Linear)]
    for part in parts:
        found = [name for name in linear if _inside(name, _prefixes(translator, [part]))]
        if not found:
            raise ModelError(f"part {part!r} has no linear layer for LoRA to adapt")
        targets += found
    return targets


def _prefixes(translator: Translator, parts: Iterable[Part]) -> list[str]:
    modules = translator.architecture.parts
    return [prefix for part in parts for prefix in modules.get(part, ())]


def _inside(name: str, prefixes: list[str]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)
