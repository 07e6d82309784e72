"""The GPU engine gives the tokens of the CPU engine. Most tests run it on the CPU, without its CUDA graph."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from stc.data.manifest import Manifest
from stc.decoding.attention import KeyValueCache, attend_to_cache, attend_within_prompts
from stc.decoding.gpu_engine import GPUDecoder, generate_tokens
from stc.decoding.greedy import decode, embed_prompts
from stc.decoding.tokens import decode_texts
from stc.models.load_and_save import Translator, load
from stc.pruning.search.gpu import tokens_without_each
from stc.pruning.search.translations import decode_without_each


@pytest.fixture(scope="module")
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def encoded(translator: Translator, tiny_manifest: Path) -> list[Tensor]:
    return embed_prompts(translator, Manifest.load(tiny_manifest), batch_size=4)


def candidates_said(
    translator: Translator, encoded: list[Tensor], removed: list[int], candidates: list[int], batch_size: int
) -> list[tuple[int, list[str]]]:
    sizes = {"batch_size": batch_size, "max_new_tokens": 10}
    return list(decode_without_each(translator, encoded, removed, candidates, **sizes))


@pytest.fixture(scope="module", params=[([], [1, 2, 3, 4]), ([3], [1, 4])], ids=["whole", "pruned"])
def searched(
    request: pytest.FixtureRequest, translator: Translator, encoded: list[Tensor]
) -> tuple[list[int], list[int], list[tuple[int, list[str]]]]:
    """Removed layers, candidates, and the texts of each candidate by the CPU engine."""
    removed, candidates = request.param
    return removed, candidates, candidates_said(translator, encoded, removed, candidates, batch_size=8)


@torch.inference_mode()
def test_texts_are_those_of_the_cpus_engine(translator: Translator, encoded: list[Tensor]) -> None:
    expected = decode(translator, encoded, batch_size=8, max_new_tokens=16)
    assert decode_texts(translator, generate_tokens(translator, encoded, 16)) == expected


@torch.inference_mode()
def test_finished_utterance_gets_no_more_tokens(translator: Translator, encoded: list[Tensor]) -> None:
    said = decode(translator, encoded, batch_size=8, max_new_tokens=16)
    stated = translator.model.generation_config.eos_token_id
    translator.model.generation_config.eos_token_id = list(range(0, 2000, 8))
    try:
        expected = decode(translator, encoded, batch_size=8, max_new_tokens=16)
        found = decode_texts(translator, generate_tokens(translator, encoded, 16))
    finally:
        translator.model.generation_config.eos_token_id = stated
    assert found == expected
    assert sum(text != free for text, free in zip(found, said, strict=True)) > 1


@pytest.mark.parametrize("rows", [3, 8, 17, 40], ids=["batches", "one", "two at a time", "all at a time"])
@torch.inference_mode()
def test_candidates_that_share_steps_give_the_texts_of_each_alone(
    translator: Translator,
    encoded: list[Tensor],
    searched: tuple[list[int], list[int], list[tuple[int, list[str]]]],
    rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    removed, candidates, expected = searched
    monkeypatch.setattr("stc.pruning.search.translations.is_supported", lambda translator: True)
    found = candidates_said(translator, encoded, removed, candidates, batch_size=rows)
    assert found == expected
    assert len({tuple(texts) for _, texts in found}) == len(candidates)


@torch.inference_mode()
def test_nothing_that_was_decoded_is_lost_where_memory_runs_out(
    translator: Translator, encoded: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = candidates_said(translator, encoded, [], [1, 2, 3, 4], batch_size=8)
    decoded: list[tuple[int, int]] = []  # candidate, utterances

    def short_of_memory(*args: Any, rows: int, **rest: Any) -> Iterator[tuple[int, Tensor]]:
        for layer, tokens in tokens_without_each(*args, rows=rows, **rest):
            if rows == 4 and len(decoded) == 6:  # in the second batch, of which two candidates are known
                raise torch.OutOfMemoryError("simulated")
            decoded.append((layer, len(tokens)))
            yield layer, tokens

    monkeypatch.setattr("stc.pruning.search.translations.is_supported", lambda translator: True)
    monkeypatch.setattr("stc.pruning.search.translations.tokens_without_each", short_of_memory)
    found = candidates_said(translator, encoded, [], [1, 2, 3, 4], batch_size=4)
    assert found == expected
    assert decoded == [*((layer, 4) for layer in [1, 2, 3, 4, 1, 2]), *((layer, 2) for layer in [3, 4, 3, 4])]


@torch.inference_mode()
def test_one_token_takes_no_graph(
    translator: Translator, encoded: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GPUDecoder, "captured", lambda decoder, step: step())  # runs it as a graph would
    said = generate_tokens(translator, encoded, 1)
    assert said == [tokens[:1] for tokens in generate_tokens(translator, encoded, 4)]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_the_kernel_attends_to_what_the_plain_computation_does(dtype: torch.dtype, kv_heads: int) -> None:
    given = _ragged(dtype, kv_heads)
    plain = attend_to_cache(*given, 1, 0.3)
    query, key, value, memory = given
    moved = KeyValueCache(**{name: each.cuda() for name, each in vars(memory).items()})
    found = attend_to_cache(query.cuda(), key.cuda(), value.cuda(), moved, 1, 0.3)
    torch.testing.assert_close(found.cpu(), plain)
    torch.testing.assert_close(moved.generated.cpu(), memory.generated)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_prompts_attend_to_themselves_on_the_gpu(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(23, 4, 32).to(dtype) for _ in range(3))
    starts = torch.tensor([0, 7, 8, 23])
    exact = attend_within_prompts(query.float(), key.float(), value.float(), starts, 15, 0.3)
    found = attend_within_prompts(query.cuda(), key.cuda(), value.cuda(), starts.cuda(), 15, 0.3)
    # A mean of values, by weights that are rounded to the dtype, as it is itself.
    bound = max(torch.finfo(dtype).eps * float(value.abs().max()), 1e-5)
    assert float((found.cpu().float() - exact).abs().max()) <= bound


def _ragged(dtype: torch.dtype, kv_heads: int) -> tuple[Tensor, Tensor, Tensor, KeyValueCache]:
    """Three rows, of which the last has ended, with 7 decoded tokens behind them."""
    torch.manual_seed(0)
    memory = KeyValueCache(
        prompts=torch.randn(3, 2, kv_heads, 200, 32).to(dtype),
        generated=torch.randn(2, 2, 3, kv_heads, 12, 32).to(dtype),
        slots=torch.tensor([[0, 0, 0], [2, 1, 2]]),
        starts=torch.tensor([0, 150, 80]),
        lengths=torch.tensor([140, 50, 0]),
        step=torch.tensor([7]),
    )
    query = torch.randn(3, 4, 32).to(dtype)
    key, value = (torch.randn(3, kv_heads, 32).to(dtype) for _ in range(2))
    return query, key, value, memory
