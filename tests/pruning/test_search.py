"""Sharing the layers below a candidate changes no text."""

from pathlib import Path

import pytest

from stc.data.manifest import Manifest
from stc.decoding.cpu_engine import SharedPrefixPrompts
from stc.decoding.greedy import decode, embed_prompts
from stc.models.layer_removal import without_layers
from stc.models.load_and_save import Translator, load
from stc.pruning.search.translations import LayersByStack, decode_without_each, translations_without_each


@pytest.fixture(scope="module")
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.mark.parametrize(("removed", "candidates"), [([], [1, 2, 3, 4]), ([3], [4, 1]), ([1, 4], [2])])
@pytest.mark.parametrize("batch_size", [3, 8])
def test_texts_are_those_of_the_model_without_the_layers(
    translator: Translator, tiny_manifest: Path, removed: list[int], candidates: list[int], batch_size: int
) -> None:
    encoded = embed_prompts(translator, Manifest.load(tiny_manifest), batch_size=4)
    settings = {"batch_size": batch_size, "max_new_tokens": 16}
    found = dict(decode_without_each(translator, encoded, removed, candidates, **settings))
    assert sorted(found) == sorted(candidates)
    for candidate, texts in found.items():
        with without_layers(translator, {"decoder": [*removed, candidate]}):
            assert texts == decode(translator, encoded, **settings)
    assert len({tuple(texts) for texts in found.values()}) == len(candidates)


def test_a_layer_below_a_candidate_works_on_the_prompts_once(translator: Translator, tiny_manifest: Path) -> None:
    encoded = embed_prompts(translator, Manifest.load(tiny_manifest), batch_size=4)
    tokens: list[int] = []
    lowest = translator.architecture.layers_of(translator.model, "decoder")[0]
    handle = lowest.mlp.register_forward_hook(lambda module, args, out: tokens.append(len(args[0])))
    for _ in decode_without_each(translator, encoded, [], [1, 2, 3, 4], batch_size=8, max_new_tokens=2):
        pass
    handle.remove()
    assert [each for each in tokens if each > 8] == [len(SharedPrefixPrompts.of(encoded, 2).embeddings)]


def test_candidates_of_both_stacks_are_encoded_by_the_encoder_that_is_left(
    planted_model: Path, tiny_manifest: Path
) -> None:
    planted = load(planted_model, device="cpu", dtype="float32")
    manifest = Manifest.load(tiny_manifest)
    settings = {"batch_size": 8, "max_new_tokens": 16}
    removed: LayersByStack = {"decoder": [4], "encoder": [3]}
    candidates: LayersByStack = {"decoder": [1, 3], "encoder": [1]}
    found = list(translations_without_each(planted, manifest, removed, candidates, **settings))
    assert [(stack, layer) for stack, layer, _ in found] == [("decoder", 1), ("decoder", 3), ("encoder", 1)]
    for stack, layer, texts in found:
        gone = {**removed, stack: [*removed[stack], layer]}
        with without_layers(planted, gone):
            assert texts == decode(planted, embed_prompts(planted, manifest, batch_size=4), **settings)


def test_the_model_is_complete_afterwards(translator: Translator, tiny_manifest: Path) -> None:
    encoded = embed_prompts(translator, Manifest.load(tiny_manifest), batch_size=4)
    before = decode(translator, encoded, batch_size=8, max_new_tokens=8)
    walk = decode_without_each(translator, encoded, [2], [1, 3], batch_size=8, max_new_tokens=8)
    next(walk)
    walk.close()
    assert decode(translator, encoded, batch_size=8, max_new_tokens=8) == before
