import shutil
from collections.abc import Callable
from pathlib import Path

import bitsandbytes
import pytest
import torch
from safetensors.torch import load_file, save_file

from stc.errors import ModelError
from stc.models import read_config
from stc.models.folder import ModelFolder
from stc.models.layer_removal import check_cache, check_reload
from stc.models.load_and_save import Translator, load, save
from stc.models.qwen2_audio_config import published_config
from stc.quantization.nf4 import NF4

Logits = Callable[[Translator], torch.Tensor]


@pytest.fixture(scope="module")
def packed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nf4") / "packed"
    save(load(tiny_model, device="cpu", dtype="bfloat16", quantize=NF4()), folder)
    return folder


def test_sizes_of_the_published_shape_with_24_layers() -> None:
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration
    from transformers.integrations import replace_with_bnb_linear

    shape = published_config()
    shape["text_config"]["num_hidden_layers"] = 24
    with torch.device("meta"):
        model = Qwen2AudioForConditionalGeneration(Qwen2AudioConfig(**shape))
    assert sum(weight.numel() for weight in model.parameters()) == 6_777_929_728
    kept = ["lm_head"]
    replace_with_bnb_linear(model, kept, NF4().transformers_config("bfloat16", kept))
    packed = {id(m.weight) for m in model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    assert sum(w.numel() // 2 if id(w) in packed else w.numel() for w in model.parameters()) == 4_032_233_472


def test_float32_computes_in_float32(packed: Path, tiny_model: Path, logits: Logits) -> None:
    quantized = load(packed, device="cpu", dtype="float32")
    unpacked = load(tiny_model, device="cpu", dtype="float32")
    for name, module in quantized.model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.weight.quant_state.dtype = torch.float32
            weight = bitsandbytes.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
            unpacked.model.get_submodule(name).weight.data = weight
    found = logits(quantized)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, logits(unpacked), atol=1e-4, rtol=1e-4)


def test_float32_decodes_alike_with_and_without_cache(packed: Path) -> None:
    check_cache(load(packed, device="cpu", dtype="float32"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reload_is_the_model_in_memory(tiny_model: Path, tmp_path: Path, dtype: str) -> None:
    translator = load(tiny_model, device="cpu", dtype=dtype, quantize=NF4())
    save(translator, tmp_path / "packed")
    check_reload(translator, tmp_path / "packed")
    assert read_config(tmp_path / "packed")["quantization_config"]["bnb_4bit_compute_dtype"] == dtype


def test_base_quantized_for_training_passes_gradients_after_an_evaluation(tiny_model: Path) -> None:
    model = load(tiny_model, device="cpu", dtype="float32", quantize=NF4()).model
    with torch.no_grad():
        model(input_ids=torch.arange(1, 30)[None])
    model.train()
    embeds = model.get_input_embeddings()(torch.arange(1, 30)[None]).detach().requires_grad_()
    model(inputs_embeds=embeds).logits.square().mean().backward()
    through_layers = embeds.grad
    before = load(tiny_model, device="cpu", dtype="float32", quantize=NF4()).model.train()
    embeds = embeds.detach().requires_grad_()
    before(inputs_embeds=embeds).logits.square().mean().backward()
    assert torch.equal(through_layers, embeds.grad)


@pytest.mark.parametrize("record", [b"[]", b"{", b'{"quant_type": "nf4", "shape": ["64"]}', b"[" * 10_000])
def test_invalid_record_is_named(packed: Path, tmp_path: Path, record: bytes) -> None:
    folder = Path(shutil.copytree(packed, tmp_path / "copy"))
    weights = load_file(folder / "model.safetensors")
    name = "language_model.model.layers.1.mlp.up_proj.weight.quant_state.bitsandbytes__nf4"
    weights[name] = torch.tensor(list(record), dtype=torch.uint8)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match=name):
        ModelFolder.of(folder)
