"""The CPU engine: utterances that share a beginning and calls of attention get the texts of each alone."""

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from stc.data.manifest import Manifest
from stc.decoding import gpu_engine as packed
from stc.decoding.cpu_engine import GROUP_SIZE, SharedPrefixPrompts, generate_tokens, group_rows
from stc.decoding.greedy import embed_prompts, translate
from stc.decoding.tokens import decode_texts
from stc.models.create_qwen2_audio import create
from stc.models.load_and_save import Translator, load


@pytest.fixture(scope="module")
def translator(tiny_model: Path) -> Translator:
    return load(tiny_model, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def rows(translator: Translator, tiny_manifest: Path) -> list[torch.Tensor]:
    return embed_prompts(translator, Manifest.load(tiny_manifest), batch_size=4)


@torch.inference_mode()
def test_what_all_prompts_begin_with_is_computed_once(translator: Translator, rows: list[torch.Tensor]) -> None:
    prompts = SharedPrefixPrompts.of(rows, 12)
    assert prompts.shared > 1
    assert len(prompts.embeddings) == sum(map(len, rows)) - (len(rows) - 1) * prompts.shared
    torch.testing.assert_close(prompts.embeddings[prompts.tokens], torch.cat(rows), rtol=0, atol=0)
    assert generate_tokens(translator, rows, 12) == [generate_tokens(translator, [row], 12)[0] for row in rows]


@torch.inference_mode()
def test_prompts_may_begin_differently(translator: Translator, rows: list[torch.Tensor]) -> None:
    differ = [row[number:] for number, row in enumerate(rows)]
    assert SharedPrefixPrompts.of(differ, 12).shared == 0
    assert generate_tokens(translator, differ, 12) == packed.generate_tokens(translator, differ, 12)


@torch.inference_mode()
def test_memory_that_was_used_before_changes_nothing(
    translator: Translator, rows: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = generate_tokens(translator, rows, 12)
    zeros = torch.Tensor.new_zeros
    monkeypatch.setattr(torch.Tensor, "new_zeros", lambda self, *size: zeros(self, *size) + 1e3)
    assert generate_tokens(translator, rows, 12) == expected


def test_heads_that_share_keys_give_the_texts_of_generate(
    translator: Translator, tiny_model: Path, tiny_manifest: Path, tmp_path: Path
) -> None:
    config = AutoConfig.from_pretrained(tiny_model)
    config.text_config.num_key_value_heads = 1
    sharing = create(tmp_path / "model", config=config, processor=translator.processor, seed=0)
    manifest = Manifest.load(tiny_manifest)
    found = translate(sharing, manifest, batch_size=8, max_new_tokens=12)
    with torch.inference_mode():
        alone = []
        for row in embed_prompts(sharing, manifest, batch_size=4):
            tokens = sharing.model.generate(inputs_embeds=row[None], max_new_tokens=12, do_sample=False)
            alone += decode_texts(sharing, tokens.tolist())
    assert found == alone
    assert len(set(found)) > 1


def test_rows_are_grouped_with_their_neighbours() -> None:
    rows = [0, 1, GROUP_SIZE - 1, GROUP_SIZE, 3 * GROUP_SIZE + 2]
    assert group_rows(rows) == [(0, GROUP_SIZE), (GROUP_SIZE, GROUP_SIZE + 1), (3 * GROUP_SIZE + 2, 3 * GROUP_SIZE + 3)]
    assert group_rows([]) == []
