"""Quantization methods, one file each, behind one interface.

A method is named by its file: ``{method: nf4, double_quant: true}`` in a config is an instance of the class that
``stc/quantization/nf4.py`` exports as ``QUANTIZER``. No module here imports torch before it is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from stc.errors import ConfigError, Fault, ModelError, misfit, nearest, validated

if TYPE_CHECKING:
    from stc.system.safetensors_headers import Stored

PACKABLE = ("encoder", "projector", "decoder")
"""Parts whose linear layers can be packed. Embedding and head stay in bfloat16: rounding them costs most."""

PLAIN = "bfloat16"
"""What stands for a part that is not packed."""


class Quantizer(BaseModel, ABC):
    """A quantization method with its settings.

    Class methods answer for any folder the method wrote, whatever its settings were.

    Attributes:
        parts: how the linear layers of each part are stored: by this method, or in ``bfloat16``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    VERSION: ClassVar[int]
    """Raised when the same settings give other weights; part of the identity of what was quantized."""

    BITS: ClassVar[int]
    """Of a packed weight itself; 8 to an element of what is stored."""

    method: str
    parts: dict[str, str] = Field(default={}, validate_default=True)

    @field_validator("parts")
    @classmethod
    def _by_one_method(cls, parts: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        method = info.data.get("method", cls.model_fields["method"].default)
        faults = []
        for part, stored in parts.items():
            if part not in PACKABLE:
                faults.append(
                    Fault(part, stored, f"no such part; parts are {', '.join(PACKABLE)}{nearest(part, PACKABLE)}")
                )
            elif stored not in (method, PLAIN):
                allowed = (
                    f"must be {method} or {PLAIN}: methods cannot be mixed, since a model's config.json names one and "
                    "transformers applies it to all it packs"
                )
                faults.append(Fault(part, stored, allowed))
        chosen = {part: parts.get(part, method) for part in PACKABLE}
        if not faults and method not in chosen.values():
            others = tuple(parts.items())
            faults.append(Fault("", parts, f"at least one part must be {method}", others=others))
        if faults:
            raise misfit(*faults)
        return chosen

    @property
    def packed(self) -> list[str]:
        """The parts whose linear layers are packed."""
        return [part for part, stored in self.parts.items() if stored == self.method]

    @abstractmethod
    def transformers_config(self, compute_dtype: str, kept: Sequence[str]) -> Any:
        """What ``from_pretrained(quantization_config=…)`` takes to quantize while loading.

        Args:
            kept: dotted names of the modules that are not to be packed, with all that is in them.
        """

    @abstractmethod
    def packed_bytes(self, shape: tuple[int, ...]) -> float:
        """Return about how many bytes of a folder a packed matrix takes, with its scales and what else belongs to it;
        to within 1 % of the file."""

    @classmethod
    @abstractmethod
    def wrote(cls, quantization_config: Mapping[str, Any]) -> bool:
        """Whether the ``quantization_config`` of a config.json is this method's."""

    @classmethod
    @abstractmethod
    def set_compute_dtype(cls, quantization_config: dict[str, Any], dtype: str) -> None:
        """Edit a config.json's ``quantization_config`` in place to compute in ``dtype``."""

    @classmethod
    @abstractmethod
    def is_state(cls, name: str) -> bool:
        """Whether a stored tensor is quantization state (scales, code books) rather than a weight."""

    @classmethod
    @abstractmethod
    def logical_shape(cls, name: str, tensors: Mapping[str, Stored]) -> tuple[int, ...]:
        """Return the shape that the stored weight ``name`` has when it is unpacked."""

    @classmethod
    @abstractmethod
    def missing_state(cls, tensors: Mapping[str, Stored]) -> list[str]:
        """Names of quantization state that packed weights need and the folder has not."""

    @classmethod
    @abstractmethod
    def compute_exactly(cls, model: Any) -> None:
        """Have every quantized layer compute as precisely as the method can, and leave its weights as loaded."""


def methods() -> list[str]:
    """The known methods: the files of this package."""
    return sorted(module.name for module in iter_modules(__path__))


def quantizer(settings: Mapping[str, Any]) -> Quantizer:
    """The quantizer a config describes.

    Raises:
        ConfigError: ``method`` is missing or unknown, or a setting is not one of the method's.
    """
    known = methods()
    method = settings.get("method")
    if method not in known:
        raise ConfigError([Fault("quant.method", method, f"one of {', '.join(known)}{nearest(str(method), known)}")])
    return validated(_class_of(method), settings, "quant")


def stored_with(config: Mapping[str, Any]) -> type[Quantizer] | None:
    """The method a model folder with this config.json is quantized by; None for one that is not quantized.

    Raises:
        ModelError: it is quantized by a method stc does not know.
    """
    stored = config.get("quantization_config")
    if not stored:
        return None
    for method in methods():
        if (found := _class_of(method)).wrote(stored):
            return found
    raise ModelError(f"quantized by {stored.get('quant_method')!r}, which is none of {', '.join(methods())}")


def _class_of(method: str) -> type[Quantizer]:
    found: type[Quantizer] = import_module(f"stc.quantization.{method}").QUANTIZER
    return found
