"""The publication's sizes, reached by stc's own code at the shape of Qwen2-Audio-7B, with random weights.

    python benchmarks/proof_7b.py           one GPU of 80 GB, 20 GB of disk
    python benchmarks/proof_7b.py --tiny    the same steps at a small shape on the CPU

Builds the model, removes the eight decoder layers published for German, quantizes it to NF4 with double
quantization, saves it, has a process that imports transformers and no stc reload it and compute logits on a
fixed input, puts LoRA of rank 64 on the linear layers of encoder, projector and decoder, and trains it for a few
steps. Every figure that is known beforehand is compared to it. Writes proof_7b.json into the folder named by the
environment variable OUT, or here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from stc.data.collate import IGNORED, Batch
from stc.decoding.token_loss import translation_loss
from stc.models import architecture
from stc.models.create_qwen2_audio import build_processor, random_model
from stc.models.folder import count_parameters
from stc.models.layer_removal import check_cache, drop_layers
from stc.models.load_and_save import Translator, load, save
from stc.models.qwen2_audio_config import published_config
from stc.pipeline.stage import Context
from stc.stages.quantize import Quantize
from stc.store.artifact import Artifact, Kind
from stc.training.adapters import adapter_parameters, add_adapters
from stc.training.loop import train
from stc.training.recipe import Recipe

GERMAN = (13, 3, 20, 9, 29, 1, 19, 27)  # decoder layers in the order of their removal (Moslem, IWSLT 2025)
EXPECTED = {
    "parameters of the published shape": 8_397_094_912,
    "parameters with 24 decoder layers": 6_777_929_728,
    "packed elements in NF4": 4_032_233_472,
    "trainable with LoRA r 64 (%)": 2.4111,
    "largest difference of logits, fresh process": 0.0,
}
LARGEST_NF4_BYTES = 5_410_000_000
SPOKEN_FRAMES = 800  # 8 s; the rest of the window is padding
STEPS = 8  # of training the adapters
AUDIO_TOKENS = 200  # what the encoder makes of them
FRESH_PROCESS = """
import logging
import sys
logging.disable(logging.WARNING)
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2AudioForConditionalGeneration
from transformers.utils.logging import disable_progress_bar
disable_progress_bar()
folder, inputs, out, device = sys.argv[1:]
model = Qwen2AudioForConditionalGeneration.from_pretrained(folder, device_map={"": device})
for module in model.modules():  # on a CPU, the arithmetic of a GPU instead of a kernel of its own that rounds scales
    if hasattr(module, "support_avx512bf16_for_cpu"):
        module.support_avx512bf16_for_cpu = False
with torch.no_grad():
    logits = model(**{name: tensor.to(device) for name, tensor in load_file(inputs).items()}).logits
save_file({"logits": logits.cpu()}, out)
assert not [name for name in sys.modules if name.split(".")[0] == "stc"]
"""


def tiny_config() -> dict[str, Any]:
    """The published shape with everything narrow, so that the steps and not the figures are tried."""
    config = published_config()
    config["audio_config"] |= {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 128}
    config["text_config"] |= {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    return config


def fixed_input(config: Any, utterances: int = 1, after: int = 20) -> dict[str, torch.Tensor]:
    """Utterances of 8 s between 20 tokens and ``after`` more; noise as their features."""
    random = torch.Generator().manual_seed(0)
    before, following = (torch.randint(0, 150_000, (utterances, count), generator=random) for count in (20, after))
    frames = 2 * config.audio_config.max_source_positions
    heard = torch.full((utterances, AUDIO_TOKENS), config.audio_token_id)
    tokens = torch.cat([before, heard, following], dim=1)
    return {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "input_features": torch.randn(utterances, config.audio_config.num_mel_bins, frames, generator=random),
        "feature_attention_mask": (torch.arange(frames) < SPOKEN_FRAMES).long()[None].expand(utterances, -1),
    }


class Proof:
    """Figures and seconds, as they come."""

    def __init__(self) -> None:
        self.figures: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 1)
        print(f"{self.seconds[name]:7.1f} s  {name}", flush=True)


def run(proof: Proof, config: Any, device: str, folder: Path) -> None:
    family = architecture(config.model_type)
    with proof.step("make random weights"):
        processor = build_processor(["ein Haus", "a house"], 300, config.audio_config.max_source_positions // 50, 128)
        model = random_model(config, seed=0, device=device, dtype="bfloat16")
        translator = Translator(model, processor, family, folder / "random")
        proof.figures["parameters of the published shape"] = sum(each.numel() for each in model.parameters())
    with proof.step("remove eight decoder layers, check the cache"):
        drop_layers(translator, "decoder", GERMAN)
        check_cache(translator)
    with proof.step("save in bfloat16"):
        save(translator, folder / "pruned")
        proof.figures["parameters with 24 decoder layers"] = count_parameters(folder / "pruned").parameters
        proof.figures["bytes in bfloat16"] = weight_bytes(folder / "pruned")
    del model, translator
    if device == "cuda":
        torch.cuda.empty_cache()

    (folder / "nf4").mkdir()
    with proof.step("quantize, save, reload, compare to memory"):
        stage = Quantize.model_validate({"dtype": "bfloat16", "quant": {"method": "nf4", "double_quant": True}})
        source = Artifact(Kind.MODEL, folder / "pruned", "pruned")
        facts = stage.run({"model": source}, folder / "nf4", context(device, folder))
        proof.figures["packed elements in NF4"] = facts["packed_elements"]
        proof.figures["bytes in NF4"] = facts["weight_bytes"]
        proof.figures["parameters in NF4"] = facts["parameters"]

    inputs = fixed_input(config)
    save_file(inputs, folder / "inputs.safetensors")
    with proof.step("logits in this process, from the bfloat16 weights quantized in memory"):
        quantized = load(folder / "pruned", device=device, dtype="bfloat16", quantize=stage.quant)
        with torch.no_grad():
            expected = quantized.model(**{name: tensor.to(device) for name, tensor in inputs.items()}).logits.cpu()
    with proof.step("logits in a fresh process, from the saved folder"):
        paths = [folder / "nf4", folder / "inputs.safetensors", folder / "logits.safetensors"]
        subprocess.run([sys.executable, "-P", "-c", FRESH_PROCESS, *map(str, paths), device], check=True)
        found = load_file(folder / "logits.safetensors")["logits"]
        difference = (found.float() - expected.float()).abs().max()
        proof.figures["largest difference of logits, fresh process"] = float(difference)

    with proof.step("put on LoRA"):
        wrapped = add_adapters(quantized, recipe())
        trainable = sum(each.numel() for each in adapter_parameters(wrapped))
        proof.figures["trainable parameters"] = trainable
        share = trainable / (proof.figures["parameters in NF4"] + trainable)
        proof.figures["trainable with LoRA r 64 (%)"] = round(100 * share, 4)
    if device == "cuda":
        proof.figures["peak GPU memory before training (bytes)"] = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    with proof.step(f"train the adapters for {STEPS} steps"):
        losses = train_adapters(quantized, adapter_parameters(wrapped), device, folder)
        proof.figures["loss of the first step"], proof.figures["loss of the last step"] = losses[0], losses[-1]
    if device == "cuda":
        proof.figures["peak GPU memory of training (bytes)"] = torch.cuda.max_memory_allocated()


def train_adapters(translator: Translator, parameters: list[Any], device: str, scratch: Path) -> list[float]:
    """The loss (nats a token) of every step on four utterances with 60 target tokens each, by the project's loop."""
    inputs = fixed_input(translator.model.config, utterances=4, after=80)
    labels = inputs["input_ids"].clone()
    labels[:, :-60] = IGNORED
    batch = Batch(inputs, labels, labels[labels != IGNORED].numel()).to(device)
    losses: list[float] = []

    def loss(batch: Batch, step: int) -> torch.Tensor:
        found = translation_loss(translator, batch)
        losses.append(float(found.detach()) / batch.tokens)
        return found

    translator.model.train()
    faster = recipe().model_copy(update={"learning_rate": 1e-4})  # so that a few steps show in the loss
    ctx = context(device, scratch)
    train(parameters, repeat(range(4)), STEPS, lambda indices: batch, loss, faster, ctx, "training")
    return losses


def recipe() -> Recipe:
    """The publication's QLoRA."""
    return Recipe.model_validate(
        {
            "method": "qlora",
            "parts": ["encoder", "projector", "decoder"],
            "epochs": 4,
            "batch_size": 4,
            "learning_rate": 1e-5,
            "schedule": "cosine",
            "warmup_steps": 0,
            "weight_decay": 0.0,
            "beta2": 0.999,
            "max_grad_norm": 1.0,
            "label_smoothing": 0.0,
            "precision": "bfloat16-mixed",
            "seed": 0,
            "lora": {"r": 64, "alpha": 128, "rslora": True, "dropout": 0.0},
        }
    )


def context(device: str, scratch: Path) -> Context:
    def silent(*args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
        return nullcontext(SimpleNamespace(update=lambda n=1, note="": None))

    return Context(device, 0, 4, 1, scratch, log=silent, progress=silent)


def weight_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def verdicts(figures: dict[str, float]) -> dict[str, bool]:
    found = {name: figures[name] == expected for name, expected in EXPECTED.items()}
    return found | {"bytes in NF4": figures["bytes in NF4"] <= LARGEST_NF4_BYTES}


def main() -> int:
    from transformers import Qwen2AudioConfig

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small shape, to try the steps without a GPU")
    tiny = parser.parse_args().tiny
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not tiny:
        parser.error("the published shape needs a GPU; --tiny runs on the CPU")

    proof = Proof()
    folder = Path(tempfile.mkdtemp(prefix="proof_7b_"))
    try:
        run(proof, Qwen2AudioConfig(**(tiny_config() if tiny else published_config())), device, folder)
    finally:
        shutil.rmtree(folder)
    right = verdicts(proof.figures)
    if tiny:  # a small shape has its own sizes
        name = "largest difference of logits, fresh process"
        right = {name: right[name]}
    report = {
        "machine": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "torch": torch.__version__,
        "figures": proof.figures,
        "expected": {name: EXPECTED.get(name, f"at most {LARGEST_NF4_BYTES}") for name in right},
        "as_expected": right,
        "seconds": proof.seconds,
    }
    out = Path(os.environ.get("OUT", ".")) / "proof_7b.json"
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\n{report['machine']}, {sum(proof.seconds.values()):.0f} s")
    for name, figure in proof.figures.items():
        sign = "" if name not in right else "as expected" if right[name] else "NOT AS EXPECTED"
        print(f"{name:<48}{figure:>20,}  {sign}".rstrip())
    return 0 if all(right.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
