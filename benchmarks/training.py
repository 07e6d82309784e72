"""How fast QLoRA trains at the shape of Qwen2-Audio-7B with 24 decoder layers, and how much memory that takes.

    python benchmarks/training.py           one GPU of 80 GB
    python benchmarks/training.py --tiny    the same steps at a small shape on the CPU

Random weights in NF4 with double quantization, rank 64, 4 utterances a step of 8 s and 60 target tokens each; where it
says so, of 3 to 14 s, sorted into batches of about one length. Every side sees the same utterances in the same order,
from the same adapters.

- the plain procedure: every step encodes its audio, padded to the window of 30 s, computes logits at every position,
  and has bitsandbytes unpack every matrix each time it is needed; autocast to bfloat16, float32 adapters.
- ours, by the project's own training loop at the same precision: the audio's own length, an encoder that is not
  trained heard once, logits at the targets only, adapters without peft's detours; with the base unpacked once, the
  layers compiled and replayed as CUDA graphs, without replay, without either, the same with peft's own layers, and with
  the base packed.

The seconds of a side contain everything it needs once, as compiling. Where the time of a replayed step goes is looked
at last: once the profiler has been used, every later launch of the process takes longer. A side that fails is reported,
and the others go on. Writes training.json into the folder named by the environment variable OUT, or here, after every
side.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import harmonic_mean
from typing import Any

import torch
from proof_7b import context, recipe, tiny_config
from speed.shapes import LONGEST, SHORTEST
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from stc.data.collate import IGNORED, Batch
from stc.decoding.token_loss import translation_loss
from stc.models import architecture
from stc.models.architecture import Part
from stc.models.create_qwen2_audio import random_model
from stc.models.load_and_save import Translator
from stc.models.parts import lora_targets, part_parameters
from stc.models.qwen2_audio_config import published_config
from stc.quantization import PACKABLE
from stc.quantization.nf4 import NF4
from stc.training.acceleration.compile import compiled_layers
from stc.training.acceleration.dequantize import dequantized_base
from stc.training.acceleration.lora import fast_adapters
from stc.training.adapters import adapter_parameters, add_adapters
from stc.training.loop import train

DECODER_LAYERS = 24
UTTERANCES = 16  # seen again and again, as many at a time as BATCH
BATCH = 4
SECONDS = 8.0  # of an utterance, unless they differ
DIFFERING = ", 3 to 14 s"  # where they do
BEFORE, AFTER = 20, 20  # tokens of the prompt around the audio
TARGET_TOKENS = 60
STEPS = 30  # of each side; the first third is not timed
PROFILED = 2
ALL_LINEAR = "all linear"
AGAIN = ", again"  # the host, which holds the plain procedure, is not always as fast
PARTS: dict[str, tuple[Part, ...]] = {ALL_LINEAR: ("encoder", "projector", "decoder"), "decoder only": ("decoder",)}


@dataclass
class Side:
    """What came of one."""

    name: str
    samples_per_second: float = 0.0
    peak_bytes: int = 0  # allocated at once
    reserved_bytes: int = 0  # with what is kept for replays, and what lies between
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    profile: list[str] = field(default_factory=list)  # of a side that is not timed
    failed: str = ""

    def line(self, sides: Sequence[Side]) -> str:
        """With two ratios to the plain procedure at its fastest, for utterances of the same lengths: on all linear
        layers, and on the same layers."""
        if self.failed:
            return f"{self.name:<44} failed: {self.failed}"
        differing = DIFFERING * self.name.endswith(DIFFERING)
        alike = next(layers for layers in PARTS if layers in self.name)
        ratios = ""
        for layers in (ALL_LINEAR, alike):
            names = (f"plain, {layers}{differing}", f"plain, {layers}{AGAIN}{differing}")
            plain = max((side.samples_per_second for side in sides if side.name in names), default=0.0)
            ratios += f"{self.samples_per_second / plain:8.2f}x" if plain else f"{'':9}"
        return (
            f"{self.name:<44}{self.samples_per_second:9.2f}{ratios}{self.peak_bytes / 2**30:10.1f}"
            f"{self.reserved_bytes / 2**30:9.1f}{self.losses[0]:12.5f}{self.losses[-1]:10.5f}"
        )


def packed_base(config: Any, device: str) -> Translator:
    """A model of the shape with random weights whose linear layers are packed, as if loaded from a folder."""
    method = NF4()
    model = random_model(config, seed=0, device=device, dtype="bfloat16")
    translator = Translator(model, None, architecture(config.model_type), Path())
    for name in lora_targets(translator, PACKABLE):
        model.set_submodule(name, method.quantize_layer(model.get_submodule(name), torch.bfloat16))
    method.compute_exactly(model)
    model.config.quantization_config = method.transformers_config("bfloat16", [])
    model.is_loaded_in_4bit = True  # what peft asks
    for name in translator.architecture.fixed_weights:
        model.get_parameter(name).requires_grad_(False)
    return translator


def batches(config: Any, seconds: Sequence[float]) -> list[Batch]:
    """Those of one pass over noise of so many seconds, in main memory."""
    random = torch.Generator().manual_seed(0)
    window = 2 * config.audio_config.max_source_positions
    audio = config.audio_token_id

    def drawn(count: int) -> Tensor:
        return torch.randint(0, min(150_000, audio), (count,), generator=random)

    made = []
    for at in range(0, len(seconds), BATCH):
        frames = [4 * round(25 * each) for each in seconds[at : at + BATCH]]  # the encoder makes one state of four
        rows = [
            torch.cat([drawn(BEFORE), torch.full((each // 4,), audio), drawn(AFTER + TARGET_TOKENS)]) for each in frames
        ]
        labels = [torch.cat([torch.full((len(row) - TARGET_TOKENS,), IGNORED), row[-TARGET_TOKENS:]]) for row in rows]
        inputs = {
            "input_ids": pad_sequence(rows, batch_first=True),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
            "input_features": torch.randn(len(rows), config.audio_config.num_mel_bins, window, generator=random),
            "feature_attention_mask": (torch.arange(window) < torch.tensor(frames)[:, None]).long(),
        }
        padded = pad_sequence(labels, batch_first=True, padding_value=IGNORED)
        made.append(Batch(inputs, padded, len(rows) * TARGET_TOKENS))
    return made


def plain(translator: Translator, data: Sequence[Batch], parts: Sequence[Part], device: str) -> Side:
    """As a trainer does it: the model's own forward pass with labels, autocast, AdamW, clipping."""
    from peft import LoraConfig, get_peft_model
    from transformers import get_scheduler

    torch.manual_seed(0)
    lora = LoraConfig(r=64, lora_alpha=128, use_rslora=True, target_modules=lora_targets(translator, parts))
    model = get_peft_model(translator.model, lora)
    trained = adapter_parameters(model)
    optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.999), weight_decay=0.0, fused=device == "cuda")
    scheduler = get_scheduler("cosine", optimizer, num_warmup_steps=0, num_training_steps=STEPS)
    losses: list[Tensor] = []
    side = Side("")
    model.train()
    try:
        for step, batch in enumerate(islice(cycle(data), STEPS)):
            if step == STEPS // 3:
                finish(device)
                begun = time.perf_counter()
            inputs = {name: tensor.to(device) for name, tensor in batch.inputs.items()}
            with torch.autocast(device, dtype=torch.bfloat16):
                loss = model(**inputs, labels=batch.labels.to(device)).loss
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        finish(device)
        side.samples_per_second = BATCH * (STEPS - STEPS // 3) / (time.perf_counter() - begun)
    finally:
        model.unload()
    side.losses = torch.stack(losses).tolist()
    return side


def ours(
    translator: Translator,
    data: Sequence[Batch],
    parts: Sequence[Part],
    device: str,
    *,
    unpack: bool = True,
    compiled: bool = True,
    replay: bool = True,
    lean: bool = True,
    looked_into: bool = False,
) -> Side:
    """By the project's loop; as in its stages, an encoder that is not trained is heard in the first pass only."""
    # The publication's, at a learning rate that shows in a few steps.
    settings = recipe().model_copy(update={"parts": tuple(parts), "learning_rate": 1e-4})
    wrapped = add_adapters(translator, settings)
    side = Side("")
    losses: list[Tensor] = []
    speeds: list[float] = []
    family, model = translator.architecture, translator.model
    encode_once = next(part_parameters(translator, ["encoder"]), None) is None
    known: dict[int, Batch] = {}

    def collate(indices: Sequence[int]) -> Batch:
        number = indices[0]
        batch = data[number]
        if encode_once:
            if number not in known:
                features = {name: tensor.to(device) for name, tensor in batch.inputs.items()}
                with torch.no_grad():
                    encoded = family.encode_audio(model, features)
                tokens = {name: batch.inputs[name] for name in ("input_ids", "attention_mask")}
                known[number] = replace(batch, inputs=tokens, encoded=encoded)
            batch = known[number]
        return batch.to(device)

    def loss(batch: Batch, step: int) -> Tensor:
        found = translation_loss(translator, batch)
        losses.append(found.detach() / batch.tokens)
        return found

    def log(metrics: Mapping[str, float], step: int) -> None:
        speeds.append(metrics["steps_per_second"])

    model.train()
    # The loop takes a micro-batch for an example here: its number is all there is to say.
    plan = ([number] for number in cycle(range(len(data))))
    try:
        with (
            tempfile.TemporaryDirectory() as scratch,
            dequantized_base(model, unpack, device),
            fast_adapters(wrapped) if lean else nullcontext(),
            compiled_layers(translator, compiled, STEPS, replay=replay),
        ):
            ctx = replace(context(device, Path(scratch)), train_micro_batch=1, log=log)
            train(adapter_parameters(wrapped), plan, STEPS, collate, loss, settings, ctx, "training")
            side.peak_bytes, side.reserved_bytes = peaks(device)
            if looked_into:
                again = replace(ctx, scratch=Path(scratch) / "profile")
                steps = ([number] for number in cycle(range(len(data))))
                trained = adapter_parameters(wrapped)
                some = partial(train, trained, steps, PROFILED, collate, loss, settings, again, "again")
                try:
                    side.profile = profiled(some, device)
                except Exception as error:  # a figure less, and not the side
                    side.profile = [f"no profile: {error}"]
            else:  # the loop reports every tenth step
                side.samples_per_second = BATCH * harmonic_mean(speeds[1 : STEPS // 10])
    finally:
        wrapped.unload()
    side.losses = torch.stack(losses[:STEPS]).tolist()
    return side


def profiled(run: Callable[[], object], device: str) -> list[str]:
    """Where the time of :data:`PROFILED` steps goes on the GPU, the largest first."""
    if device != "cuda":
        run()
        return []
    from torch.profiler import ProfilerActivity, profile

    finish(device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        begun = time.perf_counter()
        run()
        finish(device)
        wall = time.perf_counter() - begun
    on_gpu = [one for one in found.key_averages() if one.device_type == torch.autograd.DeviceType.CUDA]
    kernels = [one for one in on_gpu if "Optimizer.step#" not in one.key]  # a span, with the waiting in it
    busy = sum(one.self_device_time_total for one in kernels) / 1e6
    launched = sum(one.count for one in kernels)
    lines = [
        f"a step: {1e3 * busy / PROFILED:.1f} ms of kernels, {launched / PROFILED:.0f} of them "
        f"({1e3 * wall / PROFILED:.1f} ms under the profiler)"
    ]
    for one in sorted(kernels, key=lambda one: -one.self_device_time_total)[:14]:
        lines.append(
            f"{one.self_device_time_total / 1e3 / PROFILED:9.2f} ms {one.count / PROFILED:7.0f}  {one.key[:90]}"
        )
    return lines


def finish(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def peaks(device: str) -> tuple[int, int]:
    """The most bytes allocated, and reserved."""
    return (torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()) if device == "cuda" else (0, 0)


def measured(name: str, run: Callable[[], Side], device: str) -> Side:
    """One side, whatever becomes of it."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    try:
        side = run()
        if not side.peak_bytes:
            side.peak_bytes, side.reserved_bytes = peaks(device)
    except Exception as error:
        traceback.print_exc()
        side = Side("", failed=f"{type(error).__name__}: {error}".split("\n")[0])
    return replace(side, name=name, seconds=round(time.perf_counter() - begun, 1))


def sides(config: Any, device: str) -> Iterator[Side]:
    """Each as it comes."""
    translator = packed_base(config, device)
    alike = batches(config, [SECONDS] * UTTERANCES)
    longest = min(LONGEST, config.audio_config.max_source_positions / 50)
    sorted_in = batches(config, torch.linspace(SHORTEST, longest, UTTERANCES).tolist())
    yield measured(f"plain, {ALL_LINEAR}", partial(plain, translator, alike, PARTS[ALL_LINEAR], device), device)
    ways: tuple[tuple[str, dict[str, bool]], ...] = (
        ("replayed", {}),
        ("compiled", {"replay": False}),
        ("unpacked", {"compiled": False}),
        ("unpacked, peft's layers", {"compiled": False, "lean": False}),
        ("packed", {"compiled": False, "unpack": False}),
    )
    for how, settings in ways:
        for what, chosen in PARTS.items():
            run = partial(ours, translator, alike, chosen, device, **settings)
            yield measured(f"ours, {what}, {how}", run, device)
    for what, name in (("decoder only", ""), (ALL_LINEAR, AGAIN)):
        yield measured(f"plain, {what}{name}", partial(plain, translator, alike, PARTS[what], device), device)
    for side, how, train_so in (("plain", "", plain), ("ours", ", replayed", ours)):
        for what, chosen in PARTS.items():
            run = partial(train_so, translator, sorted_in, chosen, device)
            yield measured(f"{side}, {what}{how}{DIFFERING}", run, device)
    for what, chosen in PARTS.items():
        run = partial(ours, translator, alike, chosen, device, looked_into=True)
        yield measured(f"ours, {what}, replayed, looked into", run, device)


def main() -> int:
    from transformers import Qwen2AudioConfig

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small shape, to try the steps without a GPU")
    tiny = parser.parse_args().tiny
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not tiny:
        parser.error("the published shape needs a GPU; --tiny runs on the CPU")

    fields = tiny_config() if tiny else published_config()
    fields["text_config"]["num_hidden_layers"] = 2 if tiny else DECODER_LAYERS
    if tiny:
        fields["text_config"] |= {"vocab_size": 300, "bos_token_id": 0, "eos_token_id": 1}
        fields["audio_token_index"] = 299
        fields["audio_config"]["max_source_positions"] = 500
    machine = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    out = Path(os.environ.get("OUT", ".")) / "training.json"
    found: list[Side] = []
    for side in sides(Qwen2AudioConfig(**fields), device):
        found.append(side)
        print(f"{side.seconds:6.1f} s  {side.name}", *side.profile, sep="\n          ", flush=True)
        report = {"machine": machine, "torch": torch.__version__, "sides": [vars(one) for one in found]}
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"\n{machine}, torch {torch.__version__}, {BATCH} samples a step")
    print(f"{'':<44}{'':>9}{'to plain, all':>18}{'allocated':>10}{'reserved':>9}")
    titles = f"{'samples/s':>9}{'linear':>9}{'alike':>9}{'GiB':>10}{'GiB':>9}{'first loss':>12}{'last':>10}"
    print(f"{'':<44}{titles}")
    for side in found:
        if side.samples_per_second or side.failed:
            print(side.line(found))
    return int(any(side.failed for side in found))


if __name__ == "__main__":
    raise SystemExit(main())
