"""Quantization methods, one file each, behind one interface.

A method is named by its file: ``{method: nf4, double_quant: true}`` in a config is an instance of the class that
``stc/quantization/nf4.py`` exports as ``QUANTIZER``. No module here imports torch before it is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from stc.errors import ConfigError, Fault, ModelError, nearest

if TYPE_CHECKING:
    from stc.models.weights import Stored


class Quantizer(BaseModel, ABC):
    """A quantization method with its settings.

    Class methods answer for any folder the method wrote, whatever its settings were.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    VERSION: ClassVar[int]
    """Raised when the same settings give other weights; part of the identity of what was quantized."""

    method: str

    @abstractmethod
    def transformers_config(self, compute_dtype: str) -> Any:
        """What ``from_pretrained(quantization_config=…)`` takes to quantize while loading."""

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
    def logical_elements(cls, name: str, tensors: Mapping[str, Stored]) -> int:
        """How many parameters the stored weight ``name`` stands for."""

    @classmethod
    @abstractmethod
    def missing_state(cls, tensors: Mapping[str, Stored]) -> list[str]:
        """Names of quantization state that packed weights need and the folder has not."""

    @classmethod
    @abstractmethod
    def compute_exactly(cls, model: Any) -> None:
        """Have every quantized layer compute in the precision of its input, and leave its weights as loaded."""


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
    try:
        return _class_of(method).model_validate(dict(settings))
    except ValidationError as error:
        fields = list(_class_of(method).model_fields)
        faults = []
        for fault in error.errors():
            key = ".".join(map(str, fault["loc"]))
            allowed = f"one of {', '.join(fields)}{nearest(key, fields)}" if key not in fields else fault["msg"]
            faults.append(Fault(f"quant.{key}", fault["input"], allowed))
        raise ConfigError(faults) from None


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
