"""Quantization methods, one file each, behind one interface.

A config names a method by its file: ``{method: nf4, double_quant: true}`` is an instance of the class in
``stc/quantization/nf4.py``. A method elsewhere is named by its dotted path (``method: my_package.my_method``), and by
:data:`CUSTOM_METHODS` where no config names it. No module here imports torch before it is used.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationInfo, field_validator

from stc.errors import ConfigError, Fault, ModelError, field_error, suggestion, validate_model
from stc.system.extension_lookup import class_by_name, module_names

if TYPE_CHECKING:
    import torch

    from stc.system.safetensors_headers import Stored

PACKABLE = ("encoder", "projector", "decoder")
"""Parts whose linear layers can be packed. Embedding and head stay in bfloat16: rounding them costs most."""

PLAIN = "bfloat16"
"""The value for a part that is not packed."""

CUSTOM_METHODS = "STC_QUANTIZERS"
"""An environment variable with the dotted paths of methods outside of stc that folders may be packed by, separated by
colons. Methods that a config names are added, for child processes. A folder cannot name its method: it may be a
stranger's, and importing what it names would run the stranger's code."""


class Quantizer(BaseModel, ABC):
    """A quantization method with its settings.

    Constants and class methods hold for any folder that the method wrote, whatever its settings were.

    Attributes:
        parts: how the linear layers of each part are stored: by this method, or in ``bfloat16``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    VERSION: ClassVar[int]
    """Raised when the same settings give other weights; part of the identity of quantized models."""

    BITS: ClassVar[int]
    """Bits of a packed weight. A stored element has 8."""

    LIBRARY: ClassVar[str]
    """The package that computes with packed weights, by the name that it is installed by."""

    IMPORT_BEFORE_LOADING: ClassVar[str | None] = None
    """The module to import before ``from_pretrained``, if transformers does not know the method by itself."""

    STORED_DTYPES: ClassVar[tuple[str, ...]]
    """The types, by safetensors' names, that packed weights and their state have in a folder beside floating ones."""

    EXACT_SETTINGS: ClassVar[Mapping[str, Any]] = {}
    """Attributes of packed layers, with the values for the most precise computation. They are set before computing in
    float32 and before training, also by the independent check."""

    TRAINABLE: ClassVar[bool] = False
    """True if adapters can be trained on it: its layers propagate gradients, and it has :meth:`dequantize_layer`."""

    MAX_ERROR: ClassVar[float]
    """The largest error of a layer's output, relative in norm, on a machine where the method works."""

    VLLM: ClassVar[str | None] = None
    """Why vLLM cannot load a folder of it; empty if it can, None if that is not known."""

    method: str
    parts: dict[str, str] = Field(default={}, validate_default=True)

    @field_validator("parts")
    @classmethod
    def _check_parts(cls, parts: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        method = info.data.get("method", cls.model_fields["method"].default)
        faults = []
        for part, stored in parts.items():
            if part not in PACKABLE:
                faults.append(
                    Fault(part, stored, f"no such part; parts are {', '.join(PACKABLE)}{suggestion(part, PACKABLE)}")
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
            raise field_error(*faults)
        return chosen

    @property
    def packed_parts(self) -> list[str]:
        """The parts whose linear layers are packed."""
        return [part for part, stored in self.parts.items() if stored == self.method]

    @abstractmethod
    def transformers_config(self, compute_dtype: str, skipped: Sequence[str]) -> Any:
        """Return the argument of ``from_pretrained(quantization_config=…)`` that quantizes while loading.

        Args:
            skipped: dotted names of the modules that are not packed, with all modules inside them.
        """

    @abstractmethod
    def packed_bytes(self, shape: tuple[int, ...]) -> float:
        """Return the bytes of a packed matrix in a folder with its state, to within 1 %."""

    @classmethod
    @abstractmethod
    def matches_config(cls, quantization_config: Mapping[str, Any]) -> bool:
        """Return whether the ``quantization_config`` of a config.json is of this method."""

    @classmethod
    @abstractmethod
    def set_compute_dtype(cls, quantization_config: dict[str, Any], dtype: str) -> None:
        """Edit the ``quantization_config`` of a config.json in place to compute in ``dtype``."""

    @classmethod
    @abstractmethod
    def is_state(cls, name: str) -> bool:
        """Return whether a stored tensor is quantization state (scales, code books) and not a weight."""

    @classmethod
    @abstractmethod
    def logical_shape(cls, name: str, tensors: Mapping[str, Stored]) -> tuple[int, ...]:
        """Return the shape of the stored weight ``name`` before packing."""

    @classmethod
    @abstractmethod
    def missing_state(cls, tensors: Mapping[str, Stored]) -> list[str]:
        """Return the names of quantization state that packed weights need and the folder lacks."""

    @classmethod
    @abstractmethod
    def layer_type(cls) -> type:
        """Return the class of packed linear layers. Imports the library."""

    @abstractmethod
    def quantize_layer(self, layer: torch.nn.Linear, compute_dtype: torch.dtype) -> torch.nn.Module:
        """Return a linear layer packed as by ``from_pretrained``, on the same device."""

    @classmethod
    def dequantize_layer(cls, layer: Any) -> torch.Tensor:
        """Return the matrix that a packed layer computes with."""
        raise NotImplementedError(f"{cls.__name__} cannot dequantize layers")

    @classmethod
    def packed_layers(cls, model: torch.nn.Module) -> dict[str, Any]:
        """Return the packed layers of a model, by dotted name."""
        kind = cls.layer_type()
        return {name: module for name, module in model.named_modules() if isinstance(module, kind)}

    @classmethod
    def compute_exactly(cls, model: torch.nn.Module) -> None:
        """Set :data:`EXACT_SETTINGS` in every packed layer. Weights stay as they are."""
        for layer in cls.packed_layers(model).values():
            for name, value in cls.EXACT_SETTINGS.items():
                setattr(layer, name, value)

    @classmethod
    def register(cls) -> None:
        """Make the method known to transformers."""
        if cls.IMPORT_BEFORE_LOADING:
            import_module(cls.IMPORT_BEFORE_LOADING)


def methods() -> list[str]:
    """Return the names of stc's own methods."""
    return module_names("stc.quantization")


def quantizer(settings: Mapping[str, Any], prefix: str = "quant") -> Quantizer:
    """Return the quantizer that a config describes.

    Args:
        prefix: the key of the settings, for error messages.

    Raises:
        ConfigError: ``method`` is missing or unknown, or a setting is not one of the method's.
    """
    method_class = _class_of(settings.get("method"), f"{prefix}.method" if prefix else "method")
    found = validate_model(method_class, settings, prefix)
    if "." in found.method and found.method not in _custom_methods():
        os.environ[CUSTOM_METHODS] = ":".join([*_custom_methods(), found.method])
    return found


def quantizer_of(config: Mapping[str, Any]) -> type[Quantizer] | None:
    """Return the method that a model with this config.json is quantized by; None if it is not quantized.

    Raises:
        ModelError: stc does not know the method.
        ConfigError: :data:`CUSTOM_METHODS` names a method that does not exist.
    """
    stored = config.get("quantization_config")
    if not stored:
        return None
    known = [*methods(), *_custom_methods()]
    for method in known:
        if (found := _class_of(method, CUSTOM_METHODS)).matches_config(stored):
            return found
    raise ModelError(
        f"quantized by {stored.get('quant_method')!r}, which is none of {', '.join(known)}; {CUSTOM_METHODS}="
        "PACKAGE.MODULE names one of yours"
    )


def has_packed_layers(model: Any, modules: Iterable[torch.nn.Module]) -> bool:
    """Return whether one of some modules of a transformers model is or contains a packed layer."""
    method = quantizer_of(model.config.to_dict())
    return method is not None and any(method.packed_layers(module) for module in modules)


def _custom_methods() -> list[str]:
    return [name for name in os.environ.get(CUSTOM_METHODS, "").split(":") if name]


def _class_of(method: object, key: str) -> type[Quantizer]:
    return class_by_name("stc.quantization", method, Quantizer, key)  # type: ignore[type-abstract]


def _from_settings(value: Any) -> Any:
    if isinstance(value, Quantizer):
        return value
    if not isinstance(value, Mapping):
        raise field_error(Fault("", value, "must be a mapping with a method and its settings"))
    try:
        return quantizer(value, prefix="")
    except ConfigError as error:
        raise field_error(*error.faults) from None


Quant = Annotated[SerializeAsAny[Quantizer], BeforeValidator(_from_settings)]
"""The type of a field that is given as a mapping: the name of a method, and its settings."""
