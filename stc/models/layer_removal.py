"""Removing layers from a model, and checking afterwards that the model is consistent.

In the decoder three things must change together: the layers with their indices in the key-value cache, the number of
layers in the config, and the config's list of layer types. If one is forgotten, a model still computes, but fails with
a cache or loads back as something else. Hence the checks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stc.errors import ModelError
from stc.models.architecture import Stack, protected_layers
from stc.models.load_and_save import Translator, load
from stc.models.weights import first_few
from stc.quantization import quantizer_of

CHECKED_TOKENS = 12
# Largest difference, relative in the Euclidean norm, between logits that differ in the order of summation only.
CACHE_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}


def drop_layers(translator: Translator, stack: Stack, layers: Collection[int]) -> None:
    """Remove layers of a stack in place. ``layers`` are numbered as in the model before.

    Raises:
        ModelError: a layer does not exist or is protected.
    """
    _keep(translator, stack, _remaining(translator, stack, layers))


@contextmanager
def without_layers(translator: Translator, removed: Mapping[Stack, Collection[int]]) -> Iterator[None]:
    """Leave out layers of some stacks inside the block. No weight is copied.

    Raises:
        ModelError: a layer does not exist or is protected.
    """
    kept = {stack: _remaining(translator, stack, layers) for stack, layers in removed.items() if layers}
    with _reduced(translator, kept):
        yield


@contextmanager
def only_layers(translator: Translator, layers: Sequence[int], *, norm: bool = True) -> Iterator[None]:
    """Reduce the decoder to ``layers``, protected or not, inside the block. Without ``norm``, it returns its last
    layer's output without the final norm."""
    family = translator.architecture
    decoder = family.stack(translator.model, "decoder")
    final = getattr(decoder, family.final_norm)
    with _reduced(translator, {"decoder": layers}):
        try:
            if not norm:
                setattr(decoder, family.final_norm, nn.Identity())
            yield
        finally:
            setattr(decoder, family.final_norm, final)


@contextmanager
def _reduced(translator: Translator, kept: Mapping[Stack, Sequence[int]]) -> Iterator[None]:
    config = translator.model.config
    sections = [vars(one) for one in (config, *(getattr(config, name) for name in config.sub_configs))]
    fields = [dict(section) for section in sections]
    whole = {stack: translator.architecture.layers_of(translator.model, stack) for stack in kept}
    try:
        for stack, layers in kept.items():
            _keep(translator, stack, layers)
        yield
    finally:
        for stack, modules in whole.items():
            _set_layers(translator, stack, modules)
        for section, before in zip(sections, fields, strict=True):
            section.update(before)


def check_cache(translator: Translator) -> None:
    """Compare decoding token by token with the key-value cache to one pass over all tokens without it.

    Raises:
        ModelError: the cache fails, is filled in the wrong places, or gives other logits.
    """
    model = translator.model
    tokens = _check_tokens(model)
    whole = _logits(model, tokens)
    steps, cache = [], None
    with torch.no_grad():
        try:
            for position in range(tokens.shape[1]):
                out = model(input_ids=tokens[:, position : position + 1], past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                steps.append(out.logits)
        except (IndexError, KeyError) as error:
            raise ModelError(f"decoder layers and key-value cache do not fit each other: {error}") from error
    count = len(translator.architecture.layers_of(model, "decoder"))
    lengths = [int(cache.get_seq_length(layer)) for layer in range(len(cache.layers))] if cache is not None else []
    if lengths != [tokens.shape[1]] * count:
        raise ModelError(
            f"key-value cache of {count} decoder layers holds {lengths} positions, not {tokens.shape[1]} each"
        )
    difference = _relative(torch.cat(steps, dim=1), whole)
    if not difference <= CACHE_TOLERANCE[whole.dtype]:
        raise ModelError(f"logits with and without the key-value cache differ by {difference:.2g} (relative)")


def check_reload(translator: Translator, folder: Path) -> None:
    """Load the folder that a model was saved to, and compare it exactly: every weight, the encoder's output for a fixed
    sound, and the logits.

    The weights in memory must be exact in bfloat16, as those of a model loaded from a folder are.

    Raises:
        ModelError: the folder does not load, or differs. The message names the weights.
    """
    model = translator.model
    text = model.config.get_text_config()
    dtype = str(model.dtype).removeprefix("torch.")
    reloaded = load(folder, device=str(model.device), dtype=dtype, attention=text._attn_implementation)
    if (method := quantizer_of(model.config.to_dict())) is not None:
        for each in (model, reloaded.model):
            method.compute_exactly(each)
    saved, memory = reloaded.model.state_dict(), model.state_dict()
    if names := sorted(saved.keys() ^ memory.keys()):
        raise ModelError(f"{first_few(names)} is in only one of {folder} and the model saved there")
    if names := [
        name for name, one in memory.items() if one.dtype != saved[name].dtype or not torch.equal(one, saved[name])
    ]:
        raise ModelError(f"{folder} has other weights than the model saved there: {first_few(names)}")
    if not torch.equal(_encoded_sound(translator), _encoded_sound(reloaded)):
        raise ModelError(
            f"{folder} encodes a sound otherwise than the model saved there, although the weights are equal"
        )
    tokens = _check_tokens(model)
    if not torch.equal(_logits(model, tokens), _logits(reloaded.model, tokens)):
        raise ModelError(f"{folder} gives other logits than the model saved there, although the weights are equal")


def _remaining(translator: Translator, stack: Stack, layers: Collection[int]) -> list[int]:
    """Return the layers of a stack that remain without ``layers``; raises ModelError if one cannot be removed."""
    if stack not in (known := translator.architecture.stacks):
        raise ModelError(f"{translator.folder} has no {stack}; it has {', '.join(known)}")
    count = len(translator.architecture.layers_of(translator.model, stack))
    protected = protected_layers(count)
    allowed = [layer for layer in range(count) if layer not in protected]
    if wrong := sorted(set(layers) - set(allowed)):
        which = f"{allowed[0]} to {allowed[-1]}" if allowed else "none"
        raise ModelError(
            f"{stack} layer {', '.join(map(str, wrong))} cannot be removed: of {count} layers, {which} can"
        )
    return [layer for layer in range(count) if layer not in layers]


def _keep(translator: Translator, stack: Stack, kept: Sequence[int]) -> None:
    layers = translator.architecture.layers_of(translator.model, stack)
    _set_layers(translator, stack, nn.ModuleList([layers[index] for index in kept]))
    translator.architecture.keep_layers(translator.model.config, stack, kept)


def _set_layers(translator: Translator, stack: Stack, layers: nn.ModuleList) -> None:
    """Make ``layers`` those of a stack, and set their indices in the key-value cache."""
    family = translator.architecture
    setattr(family.stack(translator.model, stack), family.stacks[stack].rpartition(".")[2], layers)
    for index, layer in enumerate(layers):
        for module in layer.modules():
            if getattr(module, "layer_idx", None) is not None:
                module.layer_idx = index  # type: ignore[assignment]


def _check_tokens(model: Any) -> Tensor:
    """Return fixed token ids, (1, tokens), spread over the first half of the vocabulary, which has no special ones."""
    vocabulary = model.get_input_embeddings().num_embeddings
    return (torch.arange(CHECKED_TOKENS, device=model.device) * 7919 % (vocabulary // 2))[None]


@torch.no_grad()
def _logits(model: Any, tokens: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits


@torch.no_grad()
def _encoded_sound(translator: Translator) -> Tensor:
    """Return the encoder's states for a fixed sound as long as the window: (positions, encoder width)."""
    extractor = translator.processor.feature_extractor
    shape = (1, extractor.feature_size, extractor.nb_max_frames)
    device = translator.model.device
    batch = {
        "input_features": torch.arange(shape[1] * shape[2], device=device).sin().reshape(shape),
        "feature_attention_mask": torch.ones(shape[0], shape[2], dtype=torch.int64, device=device),
    }
    return translator.architecture.encode_audio(translator.model, batch).states


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected.float()).norm() / expected.float().norm())
