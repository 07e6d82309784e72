"""The files of a model folder, decided here for everything that loads, counts, exports or checks a model.

transformers takes ``model.safetensors`` before an index, silently loads an adapter that lies beside the weights, and
follows an index out of the folder. A folder is refused if transformers would load something else than what is counted
and identified.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stc.errors import ModelError
from stc.models import architecture, read_config
from stc.models.architecture import Architecture
from stc.models.generation_config import GenerationSettings
from stc.models.weights import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    adapter_tensors,
    attached_adapter,
    first_few,
    refuse_other_weights,
)
from stc.quantization import Quantizer, quantizer_of
from stc.store.artifact import RECORD_FILE
from stc.system.read_files import read_json
from stc.system.safetensors_headers import Stored, tensors_of

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
OTHER_FILES = ("*.json", "*.txt", "*.jinja", "additional_chat_templates/*.jinja", "LICENSE*", "NOTICE*")
"""The files of a model beside its weights: config, processor, tokenizer, templates and licences."""
FLOATS = ("BF16", "F16", "F32", "F64")
"""Types of weights that are not packed. transformers would cast others without their scales."""


class _Index(BaseModel):
    weight_map: dict[str, str]


@dataclass(frozen=True)
class ParameterCounts:
    """Two sizes, which are equal for a model that is not quantized.

    Attributes:
        parameters: a packed weight counts with its shape before packing.
        packed_elements: elements of the weight tensors as stored: two 4-bit weights share one.
    """

    parameters: int
    packed_elements: int


@dataclass(frozen=True)
class ModelFolder:
    """A complete model folder, by the headers of its files.

    Attributes:
        config: its config.json.
        tensors: the model's own tensors, by name.
        adapter: the folder of the low-rank adapter that belongs to the model, or None.
        adapted: the adapter's tensors, by name; empty without one.
    """

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    adapter: Path | None
    adapted: Mapping[str, Stored]

    @classmethod
    def of(cls, path: Path) -> ModelFolder:
        """Read a model folder.

        Raises:
            ModelError: a file is missing or damaged, the weights are not those that config.json describes, or the
                folder has others beside them.
        """
        if (path / ADAPTER_CONFIG).is_file() and not (path / "config.json").is_file():
            raise ModelError(f"{path} is an adapter and no model: merge it into its base, or name the base")
        config = read_config(path)
        if (path / ADAPTER_CONFIG).exists():
            raise ModelError(
                f"{path} has an adapter ({ADAPTER_CONFIG}) beside its weights, which transformers silently loads: "
                "remove it if it is merged into them, else move it elsewhere"
            )
        tensors = _tensors(path)
        GenerationSettings.read(path)
        adapter = attached_adapter(path)
        found = cls(path, config, tensors, adapter, {} if adapter is None else adapter_tensors(adapter))
        found._check_weight_types()
        return found

    @property
    def family(self) -> Architecture:
        return architecture(self.config["model_type"])

    @cached_property
    def quantizer(self) -> type[Quantizer] | None:
        """The method that its weights are packed by."""
        return quantizer_of(self.config)

    @property
    def versions(self) -> dict[str, int]:
        """The versions above 1 of its family, its quantizer and its decoding. Decoding is version 2 for a model that
        ``generate`` decodes, whose results differ from those of stc's own engines."""
        found = {
            "family": self.family.VERSION,
            "quantizer": self.quantizer.VERSION if self.quantizer else 1,
            "decoding": 2 if self.family.unsupported_by_engines(self.config) else 1,
        }
        return {name: version for name, version in found.items() if version > 1}

    @cached_property
    def logical_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every weight of the model, by its name on disk; of a packed one, its shape before packing."""
        method, tensors = self.quantizer, self.tensors
        if method is None:
            return {name: tensor.shape for name, tensor in tensors.items()}
        return {name: method.logical_shape(name, tensors) for name in tensors if not method.is_state(name)}

    @property
    def counts(self) -> ParameterCounts:
        """Its size with the adapter that belongs to it. Tied weights count once, quantization state does not count."""
        adapter = sum(tensor.elements for tensor in self.adapted.values())
        return ParameterCounts(
            parameters=sum(map(math.prod, self.logical_shapes.values())) + adapter,
            packed_elements=sum(self.tensors[name].elements for name in self.logical_shapes) + adapter,
        )

    @property
    def weight_files(self) -> list[Path]:
        """The safetensors files, with the adapter's."""
        return sorted({tensor.file for tensor in (*self.tensors.values(), *self.adapted.values())})

    @property
    def weight_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.weight_files)

    @property
    def files(self) -> list[Path]:
        """Every file of the model. The folder may also have pickled weights, other checkpoints and code."""
        adapter = [self.adapter / ADAPTER_CONFIG] if self.adapter else []
        return sorted({*_other_files(self.path), *self.weight_files, *adapter})

    def _check_weight_types(self) -> None:
        method = self.quantizer
        types = FLOATS if method is None else (*FLOATS, *method.STORED_DTYPES)
        if others := [f"{name} ({one.dtype})" for name, one in self.tensors.items() if one.dtype not in types]:
            raise ModelError(
                f"{self.path} has {first_few(others)}: weights of type {', '.join(types)} are understood"
                + (", as config.json has no quantization" if method is None else "")
            )
        if method is not None and (missing := method.missing_state(self.tensors)):
            raise ModelError(f"{self.path} lacks {first_few(missing)}")


def count_parameters(folder: Path) -> ParameterCounts:
    """Count a model folder; raises as :meth:`ModelFolder.of`."""
    return ModelFolder.of(folder).counts


def files_of_adapter(adapter: Path) -> list[Path]:
    """Return every file of an adapter's own folder; raises as :func:`stc.models.weights.adapter_tensors`."""
    adapter_tensors(adapter)
    return sorted({*_other_files(adapter), adapter / ADAPTER_WEIGHTS})


def _other_files(folder: Path) -> set[Path]:
    """Return the files of :data:`OTHER_FILES`, without stc's record, which describes this machine."""
    found = {file for pattern in OTHER_FILES for file in folder.glob(pattern) if file.is_file()}
    return {file for file in found if not file.name.startswith(".")} - {folder / RECORD_FILE}


def _tensors(folder: Path) -> dict[str, Stored]:
    if (folder / INDEX).exists():
        return _sharded_tensors(folder)
    try:
        tensors = tensors_of(folder / SINGLE)
    except FileNotFoundError:
        pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        hint = f" ({first_few(pickled)} is pickled, which is never loaded)" if pickled else ""
        raise ModelError(f"{folder} has neither {SINGLE} nor {INDEX}{hint}") from None
    refuse_other_weights(folder, {SINGLE})
    return tensors


def _sharded_tensors(folder: Path) -> dict[str, Stored]:
    if (folder / SINGLE).exists():
        raise ModelError(
            f"{folder} has both {SINGLE}, which transformers loads, and {INDEX}, which lists other files: "
            "move those that are not the model elsewhere"
        )
    listed = read_json(folder / INDEX, _Index, error=ModelError).weight_map
    shards = sorted(set(listed.values()))
    if outside := [shard for shard in shards if Path(shard).name != shard or not shard.endswith(".safetensors")]:
        names = first_few(outside)
        raise ModelError(f"{folder / INDEX} lists {names}: a .safetensors file of the same folder is needed")
    if missing := [shard for shard in shards if not (folder / shard).is_file()]:
        raise ModelError(f"{folder} lacks {first_few(missing)}, which {INDEX} lists")
    refuse_other_weights(folder, shards)
    tensors: dict[str, Stored] = {}
    for shard in shards:
        found = tensors_of(folder / shard)
        if twice := sorted(tensors.keys() & found.keys()):
            other = tensors[twice[0]].file.name
            raise ModelError(f"{folder / shard} has {first_few(twice)}, which {other} has as well")
        tensors |= found
    if absent := sorted(listed.keys() - tensors.keys()):
        raise ModelError(f"{folder}: {first_few(absent)} is listed in {INDEX} and in none of its files")
    return tensors
