"""Taking layers out of a model, and proving afterwards that the model is whole.

In the decoder three things must change together: the layers and the place each one believes to have in the
key-value cache, the number of layers in the config, and the config's list of layer types. With one left behind, a
model still computes but fails with a cache, or saves what loads back as something else; hence the checks. In the
encoder it is the layers and their number.
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
from stc.models.checkpoint import Translator, load
from stc.models.weights import first_few
from stc.quantization import quantizer_of

CHECKED_TOKENS = 12
# Largest difference, relative in the Euclidean norm, between logits that differ in the order of summation only.
CACHE_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}


def drop_layers(translator: Translator, stack: Stack, layers: Collection[int]) -> None:
    """Remove layers of a stack in place; ``layers`` are numbered as they are in the model given.

    Raises:
        ModelError: a layer does not exist or is protected.
    """
    _keep(translator, stack, _others(translator, stack, layers))


@contextmanager
def without_layers(translator: Translator, removed: Mapping[Stack, Collection[int]]) -> Iterator[None]:
    """Leave out some of the layers of some stacks, for as long as the context lasts. No weight is copied.

    Raises:
        ModelError: a layer does not exist or is protected.
    """
    kept = {stack: _others(translator, stack, layers) for stack, layers in removed.items() if layers}
    with _reduced(translator, kept):
        yield


@contextmanager
def only_layers(translator: Translator, layers: Sequence[int], *, norm: bool = True) -> Iterator[None]:
    """Reduce the decoder to ``layers``, protected or not, for as long as the context lasts; without ``norm`` it
    gives what its last layer gives, and not the final norm of it."""
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
    described = [dict(section) for section in sections]
    every = {stack: translator.architecture.layers_of(translator.model, stack) for stack in kept}
    try:
        for stack, layers in kept.items():
            _keep(translator, stack, layers)
        yield
    finally:
        for stack, whole in every.items():
            _put(translator, stack, whole)
        for section, before in zip(sections, described, strict=True):
            section.update(before)


def check_cache(translator: Translator) -> None:
    """Compare decoding one token at a time, with the key-value cache, to one pass over all of them without it.

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
    """Load the folder a model was saved to, and compare it to the model, exactly: every weight, what the encoder
    makes of a sound, and the logits.

    The weights in memory must be what bfloat16 can hold, as those of a model loaded from a folder are.

    Raises:
        ModelError: as :func:`stc.models.checkpoint.load`, or naming the weights that differ.
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
        raise ModelError(f"{folder} and the model saved there differ in having {first_few(names)}")
    if names := [name for name, tensor in memory.items() if not _same(tensor, saved[name])]:
        raise ModelError(f"{folder} has other weights than the model saved there: {first_few(names)}")
    if not torch.equal(_heard(translator), _heard(reloaded)):
        raise ModelError(f"{folder} hears something else than the model saved there, with equal weights")
    tokens = _check_tokens(model)
    if not torch.equal(_logits(model, tokens), _logits(reloaded.model, tokens)):
        raise ModelError(f"{folder} gives other logits than the model saved there, from equal weights")


def _others(translator: Translator, stack: Stack, layers: Collection[int]) -> list[int]:
    """The layers of a stack that stay without ``layers``, all of which must be ones that can go."""
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
    _put(translator, stack, nn.ModuleList([layers[index] for index in kept]))
    translator.architecture.keep_layers(translator.model.config, stack, kept)


def _put(translator: Translator, stack: Stack, layers: nn.ModuleList) -> None:
    """Make ``layers`` those of a stack, and tell each its place, which is where it keeps its keys and values in the
    cache."""
    family = translator.architecture
    setattr(family.stack(translator.model, stack), family.stacks[stack].rpartition(".")[2], layers)
    for index, layer in enumerate(layers):
        for module in layer.modules():
            if getattr(module, "layer_idx", None) is not None:
                module.layer_idx = index  # type: ignore[assignment]


def _check_tokens(model: Any) -> Tensor:
    """Fixed token ids, (1, tokens), spread over the vocabulary and without a special token at the end of it."""
    vocabulary = model.get_input_embeddings().num_embeddings
    return (torch.arange(CHECKED_TOKENS, device=model.device) * 7919 % (vocabulary // 2))[None]


@torch.no_grad()
def _logits(model: Any, tokens: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=tokens, use_cache=False).logits
    return logits


@torch.no_grad()
def _heard(translator: Translator) -> Tensor:
    """The encoder's states for a fixed sound as long as the window: (positions, encoder width)."""
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


def _same(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and torch.equal(first, second)
