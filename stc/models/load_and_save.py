"""Model folders: load one completely or not at all, and save one that loads without stc."""

from __future__ import annotations

import gc
import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stc.errors import ModelError
from stc.models.architecture import Architecture
from stc.models.engine_interface import FastPath
from stc.models.folder import ModelFolder
from stc.models.generation_config import GENERATION_FILE, GenerationSettings
from stc.models.prompts import load_processor
from stc.models.shapes import shapes_of
from stc.models.weights import first_few
from stc.quantization import Quantizer, quantizer_of
from stc.system.memory import give_back_large_blocks

LOG = logging.getLogger(__name__)

SHARD_BYTES = 4_000_000_000  # the most of one weight file that is saved
MAX_PACKING = 2  # the most weights that share one stored element


@dataclass
class Translator:
    """A model in evaluation mode with its processor, and the folder that it came from."""

    model: Any
    processor: Any
    architecture: Architecture
    folder: Path

    @property
    def unsupported_by_engines(self) -> str:
        """Return, in words, what stc's own engines cannot compute of the model as it is now; empty if nothing."""
        return self.architecture.unsupported_by_engines(self.model.config.to_dict())

    @property
    def fast_path(self) -> FastPath:
        """The model's family.

        Raises:
            ModelError: stc's engines do not compute models of the family.
        """
        if not isinstance(self.architecture, FastPath):
            raise ModelError(f"{self.folder} has {self.unsupported_by_engines}")
        return self.architecture


def load(
    folder: Path, *, device: str, dtype: str, attention: str = "sdpa", quantize: Quantizer | None = None
) -> Translator:
    """Load a model folder, with the adapter that belongs to it if it has one.

    Args:
        folder: a Hugging Face folder with safetensors weights.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        dtype: the precision of computing, ``float32`` or ``bfloat16``. The packed weights of a quantized folder stay
            packed, and their layers compute in it.
        attention: ``sdpa`` or ``eager``.
        quantize: a method to quantize the weights by while they are loaded, for a folder that is not quantized.

    Raises:
        ModelError: the config, the processor or a weight file is missing or damaged, or a weight is missing, surplus or
            of another shape than the config says. The message names all of them.
    """
    import_transformers()
    give_back_large_blocks()
    found = ModelFolder.of(folder)
    family, stored_by = found.family, found.quantizer
    if stored_by is not None and quantize is not None:
        raise ModelError(f"{folder} is quantized already: {quantize.method} is for a folder that is not")

    try:
        config = family.model_class().config_class.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # transformers raises many kinds for a meaningless field
        raise ModelError(f"{folder / 'config.json'} is no config of {family.model_type}: {error}") from error
    processor = load_processor(folder, family)
    generation = GenerationSettings.read(folder)
    computing = getattr(torch, dtype)
    # cuDNN plans its attention anew for every shape, and here few batches have the shape of the one before.
    torch.backends.cuda.enable_cudnn_sdp(False)
    _refuse_oversized_config(found)
    settings: dict[str, Any] = {}
    method = stored_by or quantize
    if method is not None:
        method.register()
    if stored_by is not None:
        stored_by.set_compute_dtype(config.quantization_config, dtype)
    elif quantize is not None:
        unpacked = [name for part, names in family.parts.items() if part not in quantize.packed_parts for name in names]
        settings["quantization_config"] = quantize.transformers_config(dtype, unpacked)

    with _quiet(*[method.LIBRARY] if method else []) as report:
        try:
            model, info = family.model_class().from_pretrained(
                folder,
                config=config,
                dtype=computing,
                attn_implementation=attention,
                device_map={"": device},
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # so that all faults are listed together
                output_loading_info=True,
                **settings,
            )
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # of many kinds, as above
            raise ModelError("\n".join([f"{folder} cannot be loaded: {error}", *report])) from error
    _refuse_incomplete(folder, info)
    _set_greedy_decoding(model, folder, generation)
    if stored_by is not None:
        _cast_plain_weights(model, stored_by, computing)
    for name in family.fixed_weights:
        model.get_parameter(name).requires_grad_(False)
    if found.adapter is not None:
        _load_adapter(model, found.adapter, stored_by, computing)
    if method is not None and (dtype == "float32" or quantize is not None):
        method.compute_exactly(model)
    translator = Translator(model.eval(), processor, family, folder)
    if unsupported := translator.unsupported_by_engines:
        LOG.warning("%s has %s: transformers' generate decodes, which is slower", folder, unsupported)
    return translator


def import_transformers() -> None:
    """Import what every model needs of transformers, in two thirds of the usual time.

    transformers imports scikit-learn if it is installed, for a way of decoding that stc does not use. Garbage
    collection would search the libraries' objects again and again, all of which stay.
    """
    from transformers import utils

    available, collects = utils.is_sklearn_available, gc.isenabled()
    utils.is_sklearn_available = lambda: False
    gc.disable()
    try:
        from transformers import GenerationMixin, PreTrainedModel  # noqa: F401
    finally:
        utils.is_sklearn_available = available
        if collects:
            gc.enable()


def save(translator: Translator, folder: Path) -> None:
    """Write a model folder: weights in bfloat16 (packed ones packed) in shards, config, processor, chat template.

    Weights get the names of a published checkpoint. transformers would double a prefix of a model that was not loaded
    from a folder.

    Raises:
        ModelError: the model has an adapter.
    """
    model = translator.model
    if getattr(model, "peft_config", None):
        raise ModelError(f"{translator.folder} has an adapter, which has to be merged before the model is saved")
    is_packed = _packed_weight_filter(model, quantizer_of(model.config.to_dict()))
    state = {
        translator.architecture.stored_name(name): tensor
        if is_packed(name) or not tensor.is_floating_point()
        else tensor.to(torch.bfloat16)
        for name, tensor in model.state_dict().items()
    }
    quantizer = vars(model).pop("hf_quantizer", None)  # with it, transformers saves its own state and not this one
    try:
        with _quiet():
            model.save_pretrained(folder, state_dict=state, save_original_format=False, max_shard_size=SHARD_BYTES)
    finally:
        if quantizer is not None:
            model.hf_quantizer = quantizer
    translator.processor.save_pretrained(folder)
    _set_stored_dtype(folder / "config.json")


def _set_greedy_decoding(model: Any, folder: Path, found: GenerationSettings | None) -> None:
    """Give a model the special tokens of its folder, or else of its config, and no other generation setting."""
    from transformers import GenerationConfig

    if found is None:
        found = GenerationSettings.model_validate(model.generation_config.to_dict())
    elif found.left_out:
        LOG.info("%s: left out %s, which stc does not use", folder / GENERATION_FILE, first_few(found.left_out))
    model.generation_config = GenerationConfig(**found.greedy)


def _load_adapter(model: Any, adapter: Path, method: type[Quantizer] | None, dtype: torch.dtype) -> None:
    with _quiet():
        try:
            info = model.load_adapter(str(adapter))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # peft raises many kinds for a meaningless config
            raise ModelError(f"{adapter} does not fit {adapter.parent}: {error}") from error
    if missing := sorted(info.missing_keys):
        raise ModelError(f"{adapter} lacks {first_few(missing)}")
    _cast_plain_weights(model, method, dtype)  # transformers chooses its own precision for adapters


def _cast_plain_weights(model: Any, method: type[Quantizer] | None, dtype: torch.dtype) -> None:
    """Cast what is not packed to ``dtype``. transformers leaves it as stored in a quantized folder."""
    is_packed = _packed_weight_filter(model, method)
    for name, parameter in model.named_parameters():
        if parameter.is_floating_point() and not is_packed(name):
            parameter.data = parameter.data.to(dtype)


def _packed_weight_filter(model: Any, method: type[Quantizer] | None) -> Callable[[str], bool]:
    """Return a function that says of a name whether it is a packed weight or quantization state. Biases are neither."""
    if method is None:
        return lambda name: False
    packed = tuple(f"{name}." for name in method.packed_layers(model))
    biases = {f"{name}bias" for name in packed}
    return lambda name: name.startswith(packed) and name not in biases


def _set_stored_dtype(path: Path) -> None:
    """Write bfloat16 into a config.json, where transformers has put the precision of computing."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for section in (config, *(value for value in config.values() if isinstance(value, dict))):
        if "dtype" in section:
            section["dtype"] = "bfloat16"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _refuse_oversized_config(found: ModelFolder) -> None:
    """Refuse a config that describes far more than there is: transformers would allocate all of it before it misses a
    weight."""
    described = sum(map(math.prod, shapes_of(found.config).values()))
    stored = sum(tensor.elements for tensor in found.tensors.values())
    if described > MAX_PACKING * stored:
        raise ModelError(
            f"{found.path / 'config.json'} describes {described:,} parameters, and the weights beside it have "
            f"{stored:,} elements"
        )


def _refuse_incomplete(folder: Path, info: dict[str, Any]) -> None:
    faults = []
    if missing := sorted(info["missing_keys"]):
        faults.append(f"lacks {first_few(missing)}")
    if unexpected := sorted(info["unexpected_keys"]):
        faults.append(f"has {first_few(unexpected)}, which its config has no place for")
    if mismatched := sorted(info["mismatched_keys"]):
        shapes = (f"{name} {list(found)} for {list(wanted)}" for name, found, wanted in mismatched)
        faults.append(f"has weights of another shape than its config says: {first_few(shapes)}")
    if faults:
        raise ModelError(f"{folder} " + "; ".join(faults))


@contextmanager
def _quiet(*libraries: str) -> Iterator[list[str]]:
    """Hide transformers' progress bars and load report, and warnings of further libraries, inside the block. Yields the
    lines of the report."""
    from transformers.utils import logging as transformers_logging

    report: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: report.append(record.getMessage())  # type: ignore[method-assign]
    loading = logging.getLogger("transformers.modeling_utils")
    levels = {logger: logger.level for logger in map(logging.getLogger, libraries)}
    bars, propagates = transformers_logging.is_progress_bar_enabled(), loading.propagate
    loading.addHandler(handler)
    loading.propagate = False
    for logger in levels:
        logger.setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    try:
        yield report
    finally:
        loading.removeHandler(handler)
        loading.propagate = propagates
        for logger, level in levels.items():
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()
