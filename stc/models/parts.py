"""The weights and linear layers of a model by part: what is trained in full, and where LoRA is put."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor, nn

from stc.errors import ModelError
from stc.models.architecture import Part
from stc.models.load_and_save import Translator


def part_parameters(translator: Translator, parts: Iterable[Part]) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the trainable parameters of ``parts`` with their names, each once.

    Parameters that the model freezes, such as sinusoidal positions, are left out.
    """
    is_in_parts = _name_filter(translator, parts)
    for name, parameter in translator.model.named_parameters():
        if parameter.requires_grad and is_in_parts(name):
            yield name, parameter


def part_state(translator: Translator, part: Part) -> dict[str, Tensor]:
    """Return the weights and buffers of one part by name, without copying them."""
    is_in_part = _name_filter(translator, [part])
    return {name: tensor for name, tensor in translator.model.state_dict().items() if is_in_part(name)}


def lora_targets(translator: Translator, parts: Iterable[Part]) -> list[str]:
    """Return the dotted names of every linear layer of ``parts``, for ``LoraConfig(target_modules=…)``.

    The names are full ones, because a short one such as ``q_proj`` would match in every part.

    Raises:
        ModelError: a part has no linear layer.
    """
    targets: list[str] = []
    linear = [name for name, module in translator.model.named_modules() if isinstance(module, nn.Linear)]
    for part in parts:
        found = list(filter(_name_filter(translator, [part]), linear))
        if not found:
            raise ModelError(f"part {part!r} has no linear layer for LoRA to adapt")
        targets += found
    return targets


def _name_filter(translator: Translator, parts: Iterable[Part]) -> Callable[[str], bool]:
    prefixes = tuple(f"{module}." for part in parts for module in translator.architecture.parts.get(part, ()))
    return lambda name: f"{name}.".startswith(prefixes)
