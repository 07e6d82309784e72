"""One stage in several processes against the same stage in one: the search for layers, and training.

    python benchmarks/several_processes.py                   a machine with two GPUs; 10 GB of disk
    python benchmarks/several_processes.py --processes 1 4   with four
    python benchmarks/several_processes.py --tiny            the same steps at a small shape on the CPU

A model of the shape of Qwen2-Audio-7B with random weights and fewer layers, and utterances of 3 to 14 s of noise. One
greedy round, a training of adapters, and one of the whole decoder are run by the stages themselves with each number of
processes, one after the other, in this order. Two figures each: the whole stage, with the start of the processes and
the loading of the model, and the rate once it is at work. Random weights choose no layers worth having; how far the
scores of both sides are apart is shown. Writes several.json into the folder named by the environment variable OUT, or
here.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import harmonic_mean
from typing import Any

from proof_7b import context
from speed.shapes import RANDOM_TOKENS, noise

from stc.models import architecture
from stc.models.create_qwen2_audio import build_processor, random_model
from stc.models.language_pair import Task
from stc.models.load_and_save import Translator, save
from stc.models.qwen2_audio_config import published_config
from stc.pipeline import model_cache
from stc.pruning.greedy import Importance
from stc.stages.finetune import Finetune
from stc.store.artifact import Artifact, Kind
from stc.system.machine import gpus, resolve_device
from stc.workers.stage import ParallelStage

RECIPE: dict[str, Any] = {
    "parts": ["decoder"],
    "epochs": 4,
    "batch_size": 16,
    "learning_rate": 1e-5,
    "schedule": "constant",
    "warmup_steps": 0,
    "weight_decay": 0.0,
    "beta2": 0.999,
    "max_grad_norm": 1.0,
    "label_smoothing": 0.0,
    "precision": "bfloat16",
    "seed": 0,
}
LORA = {"r": 64, "alpha": 128, "rslora": True, "dropout": 0.0}


def stages(dtype: str) -> dict[str, ParallelStage]:
    recipe = RECIPE | {"precision": dtype}
    return {
        "search": Importance.model_validate({"metric": "chrf", "dtype": dtype, "max_new_tokens": RANDOM_TOKENS}),
        "training, adapters": Finetune.model_validate({**recipe, "method": "lora", "lora": LORA}),
        "training, decoder": Finetune.model_validate({**recipe, "method": "full"}),
    }


def make_model(folder: Path, layers: int, encoder_layers: int, tiny: bool, device: str) -> None:
    from transformers import GenerationConfig, Qwen2AudioConfig

    fields = published_config()
    audio, text = fields["audio_config"], fields["text_config"]
    audio["encoder_layers"], text["num_hidden_layers"] = encoder_layers, layers
    if tiny:
        audio |= {"d_model": 64, "encoder_attention_heads": 2, "encoder_ffn_dim": 128}
        text |= {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2, "num_key_value_heads": 2}
    window = audio["max_source_positions"] // 50
    processor = build_processor(["ein Haus", "a house"], 300, window, audio["num_mel_bins"])
    tokenizer = processor.tokenizer
    text |= {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    fields["audio_token_index"] = processor.audio_token_id
    config = Qwen2AudioConfig(**fields)
    model = random_model(config, seed=0, device=device, dtype="bfloat16")
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    save(Translator(model, processor, architecture(config.model_type), folder), folder)


class Heard:
    """When a stage told what it had found."""

    def __init__(self) -> None:
        self.scores: list[float] = []
        self.steps_per_second: list[float] = []

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "steps_per_second" in metrics:
            self.steps_per_second.append(metrics["steps_per_second"])
        else:
            self.scores.append(time.perf_counter())

    def rate(self, processes: int) -> float:
        """Steps a second after the first report, or candidates a second after each process's first."""
        if self.steps_per_second:
            return harmonic_mean(self.steps_per_second[1:] or self.steps_per_second)
        after = self.scores[processes - 1 :]
        return (len(after) - 1) / (after[-1] - after[0])


def measure(
    stage: ParallelStage, folder: Path, device: str, processes: int, options: argparse.Namespace
) -> dict[str, Any]:
    model, data = Artifact(Kind.MODEL, folder / "model", "model"), Artifact(Kind.MANIFEST, folder / "data", "data")
    inputs = {"model": model, "data" if isinstance(stage, Importance) else "train": data}
    heard = Heard()
    out, scratch = folder / "out", folder / "scratch"
    for place in (out, scratch):
        place.mkdir()
    ctx = replace(
        context(device, scratch),
        workers=8,
        train_micro_batch=options.micro_batch,
        decode_batch=options.decode_batch,
        log=heard.log,
        processes=processes,
    )
    begun = time.perf_counter()
    facts = stage.run(inputs, out, ctx)
    seconds = time.perf_counter() - begun
    model_cache.clear()
    scores = {}
    if isinstance(stage, Importance):
        found = json.loads((out / "ranking.json").read_text(encoding="utf-8"))["candidates"]
        scores = {f"{one['stack']} {one['layer']}": one["score"] for one in found}
    for place in (out, scratch):
        shutil.rmtree(place)
    return {"seconds": seconds, "rate": heard.rate(processes), "loss": facts.get("train_loss"), "scores": scores}


def show(name: str, found: Mapping[int, Mapping[str, Any]]) -> None:
    counts = list(found)
    one, other = (found[count] for count in (counts[0], counts[-1]))
    columns = "".join(f"{count:>12}" for count in counts)
    unit = "candidates" if name == "search" else "steps"
    print(f"\n{name + ', processes':<34}{columns}{'ratio':>10}")
    for title, key, ratio in (
        ("whole stage, s", "seconds", one["seconds"] / other["seconds"]),
        (f"{unit} a second, at work", "rate", other["rate"] / one["rate"]),
    ):
        print(f"  {title:<32}" + "".join(f"{found[count][key]:>12.2f}" for count in counts) + f"{ratio:>9.2f}×")
    if one["scores"]:
        apart = max(abs(other["scores"][key] - score) for key, score in one["scores"].items())
        print(f"  scores of both sides are at most {apart:.4f} apart")
    else:
        print(f"  loss at the end {one['loss']:.6f} and {other['loss']:.6f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="the numbers compared (default: 1 2)")
    parser.add_argument("--layers", type=int, default=8, help="of the decoder; the published model has 32 (default: 8)")
    parser.add_argument("--encoder-layers", type=int, default=8, help="the published model has 32 (default: 8)")
    parser.add_argument("--utterances", type=int, default=100, help="default: 100")
    parser.add_argument("--decode-batch", type=int, default=100, help="default: 100")
    parser.add_argument("--micro-batch", type=int, default=4, help="examples of a forward pass (default: 4)")
    parser.add_argument("--tiny", action="store_true", help="a small shape, to try the steps without a GPU")
    options = parser.parse_args()
    device = resolve_device("cpu" if options.tiny else "cuda", max(options.processes))
    if options.tiny:
        options.utterances = min(options.utterances, 12)

    folder = Path(tempfile.mkdtemp(prefix="several_"))
    report: dict[str, Any] = {"machine": gpus() if device == "cuda" else "CPU", "command": sys.argv[1:]}
    try:
        make_model(folder / "model", options.layers, options.encoder_layers, options.tiny, device)
        noise(folder / "data", options.utterances, Task(target_lang="de", target_name="German")).save()
        for name, stage in stages("float32" if options.tiny else "bfloat16").items():
            found = {count: measure(stage, folder, device, count, options) for count in options.processes}
            show(name, found)
            report[name] = found
    finally:
        shutil.rmtree(folder)
    out = Path(os.environ.get("OUT", ".")) / "several.json"
    out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
