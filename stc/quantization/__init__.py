"""Quantization methods, one file each, behind one interface.

A method is named by its file: ``{method: nf4, double_quant: true}`` in a config is an instance of the class that
``stc/quantization/nf4.py`` defines. One that is elsewhere is named by its dotted path
(``method: my_package.my_method``), and where no config names it, by :data:`CUSTOM_METHODS`. No module here imports
torch before it is used.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationInfo, field_validator

from stc.errors import ConfigError, Fault, ModelError, field_error, suggestion, validate_model
from stc.system.extensions import class_by_name, module_names

if TYPE_CHECKING:
    import torch

    from stc.system.safetensors_headers import Stored

PACKABLE = ("encoder", "projector", "decoder")
"""Parts whose linear layers can be packed. Embedding and head stay in bfloat16: rounding them costs most."""

PLAIN = "bfloat16"
"""What stands for a part that is not packed."""

CUSTOM_METHODS = "STC_QUANTIZERS"
"""An environment variable: the dotted paths of methods outside of stc that folders may be packed by, a colon between
two. What a config names is added, for the processes that are started. A folder is not asked which: it may be a
stranger's, and importing what it names would run what it brings."""


class Quantizer(BaseModel, ABC):
    """A quantization method with its settings.

    Constants and class methods answer for any folder the method wrote, whatever its settings were.

    Attributes:
        parts: how the linear layers of each part are stored: by this method, or in ``bfloat16``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    VERSION: ClassVar[int]
    """Raised when the same settings give other weights; part of the identity of what was quantized."""

    BITS: ClassVar[int]
    """Of a packed weight itself; 8 to an element of what is stored."""

    LIBRARY: ClassVar[str]
    """The package that computes with packed weights, as it is installed by."""

    IMPORT_BEFORE_LOADING: ClassVar[str | None] = None
    """The module to import before ``from_pretrained``, where transformers does not know the method by itself."""

    STORED_DTYPES: ClassVar[tuple[str, ...]]
    """The types, by safetensors' names, that packed weights and their state have in a folder beside floating ones."""

    EXACT_SETTINGS: ClassVar[Mapping[str, Any]] = {}
    """Attributes of its layers, with the values by which they compute as precisely as the method can. Set before
    computing in float32 and before training; a witness without stc sets them as well."""

    TRAINABLE: ClassVar[bool] = False
    """Whether adapters can be trained on it: its layers pass gradients on, and :meth:`dequantize_layer` is there."""

    MAX_ERROR: ClassVar[float]
    """The most that a layer of it is off where it works, relative to the norm of the output."""

    VLLM: ClassVar[str | None] = None
    """Why vLLM cannot load a folder of it: empty where it can, None where that was not looked into."""

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
    def matches_config(cls, quantization_config: Mapping[str, Any]) -> bool:
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
    def layer_type(cls) -> type:
        """The module that its packed linear layers are; its library is imported for that."""

    @abstractmethod
    def quantize_layer(self, layer: torch.nn.Linear, compute_dtype: torch.dtype) -> torch.nn.Module:
        """A linear layer as it is once ``from_pretrained`` has packed it, on the device of the one given."""

    @classmethod
    def dequantize_layer(cls, layer: Any) -> torch.Tensor:
        """The matrix that a packed layer computes with."""
        raise NotImplementedError(f"{cls.__name__} unpacks no layers")

    @classmethod
    def packed_layers(cls, model: torch.nn.Module) -> dict[str, Any]:
        """The packed layers of a model, by dotted name."""
        kind = cls.layer_type()
        return {name: module for name, module in model.named_modules() if isinstance(module, kind)}

    @classmethod
    def compute_exactly(cls, model: torch.nn.Module) -> None:
        """Have every packed layer compute as precisely as the method can, and leave its weights as loaded."""
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


def quantizer(settings: Mapping[str, Any]) -> Quantizer:
    """Return the quantizer that a config describes.

    Raises:
        ConfigError: ``method`` is missing or unknown, or a setting is not one of the method's.
    """
    method = settings.get("method")
    found = validate_model(_class_of(method, "quant.method"), settings, "quant")
    if "." in found.method and found.method not in _yours():
        os.environ[CUSTOM_METHODS] = ":".join([*_yours(), found.method])
    return found


def quantizer_of(config: Mapping[str, Any]) -> type[Quantizer] | None:
    """Return the method that a model folder with this config.json is quantized by; None for one that is not quantized.

    Raises:
        ModelError: it is quantized by a method stc does not know.
        ConfigError: :data:`CUSTOM_METHODS` names one that is not there.
    """
    stored = config.get("quantization_config")
    if not stored:
        return None
    known = [*methods(), *_yours()]
    for method in known:
        if (found := _class_of(method, CUSTOM_METHODS)).matches_config(stored):
            return found
    raise ModelError(
        f"quantized by {stored.get('quant_method')!r}, which is none of {', '.join(known)}; {CUSTOM_METHODS}="
        "PACKAGE.MODULE names one of yours"
    )


def has_packed(model: Any, modules: Iterable[torch.nn.Module]) -> bool:
    """Return whether there is a packed layer among some modules of a transformers model, or within them."""
    method = quantizer_of(model.config.to_dict())
    return method is not None and any(method.packed_layers(module) for module in modules)


def _yours() -> list[str]:
    return [name for name in os.environ.get(CUSTOM_METHODS, "").split(":") if name]


def _class_of(method: object, key: str) -> type[Quantizer]:
    return class_by_name("stc.quantization", method, Quantizer, key)  # type: ignore[type-abstract]


def _by_method(value: Any) -> Any:
    if isinstance(value, Quantizer):
        return value
    if not isinstance(value, Mapping):
        raise field_error(Fault("", value, "must be a mapping with a method and its settings"))
    try:
        return quantizer(value)
    except ConfigError as error:
        raise field_error(*map(_below, error.faults)) from None


def _below(fault: Fault) -> Fault:
    """Return the fault with its keys as they are below ``quant``."""
    others = tuple((key.partition(".")[2], value) for key, value in fault.others)
    return replace(fault, key=fault.key.partition(".")[2], others=others)


Quant = Annotated[SerializeAsAny[Quantizer], BeforeValidator(_by_method)]
"""A field that a mapping is given for: the name of a method, and its settings."""
