"""Taking layers out of a model, and proving afterwards that the model is whole.

In the decoder three things must change together: the layers and the place each one believes to have in the
key-value cache, the number of layers in the config, and the config's list of layer types. With one left behind, a
model still computes but fails with a cache, or saves what loads back as something else; hence the checks. In the
encoder it is the layers and their number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stc.errors import ModelError
from stc.models.architecture import Stack
from stc.models.checkpoint import Translator, load
from stc.models.weights import some
from stc.quantization import stored_with

CHECKED_TOKENS = 12
# Largest difference, relative in the Euclidean norm, between logits that differ in the order of summation only.
CACHE_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}


def drop_decoder_layers(translator: Translator, layers: Collection[int]) -> None:
    """Remove decoder layers in place; ``layers`` are numbered as they are in the model given.

    Raises:
        ModelError: a layer does not exist or is protected.
    """
    _keep(translator, _others(translator, "decoder", layers))


def drop_encoder_layers(translator: Translator, layers: Collection[int]) -> None:
    """Remove encoder layers in place; as :func:`drop_decoder_layers`."""
    _keep_encoder(translator, _others(translator, "encoder", layers))


@contextmanager
def without_layers(translator: Translator, layers: Collection[int], *, encoder: Collection[int] = ()) -> Iterator[None]:
    """The model without some of its decoder and encoder layers, for as long as the context lasts. No weight is copied.

    Raises:
        ModelError: a layer does not exist or is protected.
    """
    kept = _others(translator, "encoder", encoder)
    with only_layers(translator, _others(translator, "decoder", layers)):
        tower, config = translator.architecture.encoder(translator.model), translator.model.config
        every = tower.layers
        try:
            _keep_encoder(translator, kept)
            yield
        finally:
            tower.layers = every
            translator.architecture.set_encoder_layers(config, range(len(every)))


@contextmanager
def only_layers(translator: Translator, layers: Sequence[int], *, norm: bool = True) -> Iterator[None]:
    """The decoder reduced to ``layers``, protected or not, for as long as the context lasts; without ``norm`` it
    gives what its last layer gives, and not the final norm of it."""
    decoder = translator.architecture.decoder(translator.model)
    config = vars(translator.model.config.get_text_config())
    every, described, final = decoder.layers, dict(config), decoder.norm
    try:
        _keep(translator, layers)
        if not norm:
            decoder.norm = nn.Identity()
        yield
    finally:
        decoder.layers, decoder.norm = every, final
        _number(translator)
        config.update(described)


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
    count = len(translator.architecture.decoder(model).layers)
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
    if (method := stored_with(model.config.to_dict())) is not None:
        for each in (model, reloaded.model):
            method.compute_exactly(each)
    saved, memory = reloaded.model.state_dict(), model.state_dict()
    if names := sorted(saved.keys() ^ memory.keys()):
        raise ModelError(f"{folder} and the model saved there differ in having {some(names)}")
    if names := [name for name, tensor in memory.items() if not _same(tensor, saved[name])]:
        raise ModelError(f"{folder} has other weights than the model saved there: {some(names)}")
    if not torch.equal(_heard(translator), _heard(reloaded)):
        raise ModelError(f"{folder} hears something else than the model saved there, with equal weights")
    tokens = _check_tokens(model)
    if not torch.equal(_logits(model, tokens), _logits(reloaded.model, tokens)):
        raise ModelError(f"{folder} gives other logits than the model saved there, from equal weights")


def _others(translator: Translator, stack: Stack, layers: Collection[int]) -> list[int]:
    """The layers of a stack that stay without ``layers``, all of which must be ones that can go."""
    family, model = translator.architecture, translator.model
    count = len((family.decoder(model) if stack == "decoder" else family.encoder(model)).layers)
    protected = family.protected_layers(count)
    allowed = [layer for layer in range(count) if layer not in protected]
    if wrong := sorted(set(layers) - set(allowed)):
        which = f"{allowed[0]} to {allowed[-1]}" if allowed else "none"
        raise ModelError(
            f"{stack} layer {', '.join(map(str, wrong))} cannot be removed: of {count} layers, {which} can"
        )
    return [layer for layer in range(count) if layer not in layers]


def _keep(translator: Translator, kept: Sequence[int]) -> None:
    decoder = translator.architecture.decoder(translator.model)
    decoder.layers = nn.ModuleList([decoder.layers[index] for index in kept])
    _number(translator)
    translator.architecture.set_decoder_layers(translator.model.config, kept)


def _keep_encoder(translator: Translator, kept: Sequence[int]) -> None:
    tower = translator.architecture.encoder(translator.model)
    tower.layers = nn.ModuleList([tower.layers[index] for index in kept])
    translator.architecture.set_encoder_layers(translator.model.config, kept)


def _number(translator: Translator) -> None:
    for index, layer in enumerate(translator.architecture.decoder(translator.model).layers):
        translator.architecture.set_layer_index(layer, index)


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
    return translator.architecture.hear(translator.model, batch).states


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found.float() - expected.float()).norm() / expected.float().norm())


def _same(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and torch.equal(first, second)
