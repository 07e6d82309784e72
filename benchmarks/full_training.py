"""Full fine-tuning at the shape of Qwen2-Audio-7B on one GPU: the curve of the loss, memory and speed.

    python benchmarks/full_training.py           one GPU of 139 GiB
    python benchmarks/full_training.py --tiny    the same steps at a small shape on the CPU

Random weights, the same for every side; every part is trained, by the project's own loop, on 4 utterances of 8 s with
60 target tokens each, drawn from 300: a step sees all of them, so that they are learnt by heart. Constant learning
rate, all else as in the publication's full fine-tuning.

- float32 weights under bfloat16 autocast, AdamW's moments in 8 bits, gradient checkpointing: what stc offers.
- the same with weights in bfloat16, which round small updates away.
- the first with moments in float32: weights, gradients and moments alone take 125 GiB. Where that does not fit, both
  follow once more with fewer decoder layers.
- the first without gradient checkpointing.

A side that fails is reported, and the others go on. None is begun, and no step either, when --budget seconds are over.
Writes full_training.json and, with matplotlib, full_training.png into the folder named by the environment variable OUT,
or here, after every side.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from statistics import harmonic_mean
from typing import Any, get_args

import torch
from proof_7b import context, fixed_input, recipe
from speed.shapes import narrow_config
from speed.watch import end_with, gibibytes, machine, table, write_json
from torch import Tensor
from training import BATCH, TARGET_TOKENS, Side, measured

from stc.data.collate import IGNORED, Batch
from stc.decoding.token_loss import translation_loss
from stc.models import architecture
from stc.models.architecture import Part
from stc.models.create_qwen2_audio import random_model
from stc.models.load_and_save import Translator
from stc.models.qwen2_audio_config import published_config
from stc.report.plot_style import COLUMN, canvas, colour, legend_below, legend_handle, plain_axes, set_title, spread_out
from stc.system.console import prepare_libraries
from stc.training.acceleration.gradient_checkpointing import gradient_checkpointing
from stc.training.fit_translator import IndexedBatch, select_trainable
from stc.training.loop import train
from stc.training.recipe import Recipe

DISTINCT = 300  # tokens that the targets are drawn from
FEWER_LAYERS = 12  # for which float32 moments fit 80 GB
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Setting:
    """How one side trains."""

    precision: str = "bfloat16-mixed"
    optimizer: str = "adamw_8bit"
    gradient_checkpointing: bool = True
    layers: int | None = None

    @property
    def name(self) -> str:
        weights = "bfloat16" if self.precision == "bfloat16" else "float32"
        moments = "8-bit" if self.optimizer == "adamw_8bit" else "float32"
        again = ", nothing recomputed" * (not self.gradient_checkpointing)
        fewer = f", {self.layers} layers" * (self.layers is not None)
        return f"{weights} weights, {moments} moments{again}{fewer}"

    def recipe(self, learning_rate: float) -> Recipe:
        full = {"method": "full", "lora": None, "parts": PARTS, "weight_decay": 0.001, "schedule": "constant"}
        ours = {"precision": self.precision, "optimizer": self.optimizer, "learning_rate": learning_rate}
        return Recipe.model_validate({**recipe().model_dump(), **full, **ours})


OFFERED = Setting()
PLAIN = Setting(optimizer="adamw")
SETTINGS = (OFFERED, Setting(precision="bfloat16"), PLAIN, Setting(gradient_checkpointing=False))


def translator(config: Any, setting: Setting, device: str) -> Translator:
    """A model whose random weights are the same, to rounding, in either precision."""
    family = architecture(config.model_type)
    model = random_model(config, seed=0, device=device, dtype="float32")
    if setting.precision == "bfloat16":
        model.to(torch.bfloat16)
    for name in family.fixed_weights:
        model.get_parameter(name).requires_grad_(False)
    return Translator(model, None, family, Path())


def examples(config: Any) -> tuple[dict[str, Tensor], Tensor]:
    """What the model is given, and the labels, an utterance a row."""
    inputs = fixed_input(config, utterances=BATCH, after=TARGET_TOKENS + 20)
    tokens, audio = inputs["input_ids"], config.audio_token_id
    inputs["input_ids"] = torch.where(tokens == audio, tokens, tokens % min(DISTINCT, audio))
    labels = inputs["input_ids"].clone()
    labels[:, :-TARGET_TOKENS] = IGNORED
    return inputs, labels


def trained(config: Any, setting: Setting, device: str, given: argparse.Namespace, deadline: float) -> Side:
    """A training of so many steps as there is time for, ``given.steps`` at most."""
    subject = translator(config, setting, device)
    inputs, labels = examples(config)
    parts: dict[tuple[int, int], Tensor] = {}  # by step and first utterance of a micro-batch, which may be cut smaller
    speeds: list[float] = []

    def collate(indices: Sequence[int]) -> IndexedBatch:
        rows = list(indices)
        some = {name: tensor[rows] for name, tensor in inputs.items()}
        return IndexedBatch(Batch(some, labels[rows], len(rows) * TARGET_TOKENS).to(device), rows)

    def loss(batch: IndexedBatch, step: int) -> Tensor:
        found = translation_loss(subject, batch.batch)
        parts[step, batch.indices[0]] = found.detach() / (BATCH * TARGET_TOKENS)
        return found

    def log(metrics: Mapping[str, float], step: int) -> None:
        speeds.append(metrics["steps_per_second"])

    subject.model.train()
    again = setting.gradient_checkpointing
    with tempfile.TemporaryDirectory() as scratch, gradient_checkpointing(subject.model, again):
        ctx = replace(context(device, Path(scratch)), gradient_checkpointing=again, log=log)
        parameters = select_trainable(subject, PARTS)
        settings = setting.recipe(given.learning_rate)
        plan = repeat(range(BATCH))
        over = train(
            parameters,
            plan,
            given.steps,
            collate,
            loss,
            settings,
            ctx,
            setting.name,
            stop=lambda steps: time.perf_counter() > deadline,
        )
    losses = [0.0] * over.steps
    for (step, _), share in parts.items():
        losses[step] += float(share)
    timed = speeds[1:] or speeds  # the loop reports every tenth step
    return Side("", samples_per_second=BATCH * harmonic_mean(timed), losses=losses)


def sides(fields: Mapping[str, Any], device: str, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Each as it comes."""
    from transformers import Qwen2AudioConfig

    deadline = time.perf_counter() + given.budget

    def one(setting: Setting) -> dict[str, Any]:
        text = dict(fields["text_config"])
        if setting.layers is not None:
            text["num_hidden_layers"] = setting.layers
        config = Qwen2AudioConfig(**{**fields, "text_config": text})
        side = Side(setting.name, failed="no time left")
        if time.perf_counter() < deadline:
            side = measured(setting.name, lambda: trained(config, setting, device, given, deadline), device)
        return {**vars(setting), "layers": config.text_config.num_hidden_layers, **vars(side)}

    fits = True
    for setting in SETTINGS:
        found = one(setting)
        fits = fits and not (setting is PLAIN and found["failed"])
        yield found
    if not fits and time.perf_counter() < deadline:
        yield from (one(replace(setting, layers=FEWER_LAYERS)) for setting in (PLAIN, OFFERED))


def plot(path: Path, found: Sequence[Mapping[str, Any]], title: str) -> None:
    drawn = [side for side in found if side["losses"]]
    with canvas(path, (COLUMN, 2.2)) as figure:
        axes = figure.subplots()
        handles = []
        for number, side in enumerate(drawn):
            steps = range(1, len(side["losses"]) + 1)
            style = {"color": colour(number), "ls": ("-", "--", ":", "-.")[number % 4]}  # curves coincide
            axes.plot(steps, side["losses"], **style)
            handles.append(legend_handle("", side["name"], **style))
        plain_axes(axes)
        spread_out(axes.yaxis, [loss for side in drawn for loss in side["losses"]])
        axes.set_xlabel("step")
        axes.set_ylabel("loss (nats a token)")
        set_title(figure, title)
        legend_below(figure, handles)


def row(side: Mapping[str, Any]) -> dict[str, str]:
    losses, failed = side["losses"], side["failed"]
    return {
        "side": side["name"],
        "layers": str(side["layers"]),
        "samples/s": f"{side['samples_per_second']:.2f}" if not failed else f"failed: {failed[:60]}",
        "peak": gibibytes(side["peak_bytes"] / 2**30 if side["peak_bytes"] else None),
        "steps": str(len(losses)),
        "first loss": f"{losses[0]:.4f}" if losses else "",
        "last": f"{losses[-1]:.4f}" if losses else "",
        "seconds": f"{side['seconds']:.0f}",
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="a small shape, to try the steps without a GPU")
    parser.add_argument("--steps", type=int, default=40, help="of each side; the first ten are not timed")
    parser.add_argument("--learning-rate", type=float, default=1e-5, help="the publication's, unless given")
    parser.add_argument("--budget", type=float, default=200.0, help="seconds after which nothing is begun")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not given.tiny:
        parser.error("the published shape needs a GPU; --tiny runs on the CPU")
    prepare_libraries()
    fields = narrow_config() | {"audio_token_index": 511} if given.tiny else published_config()
    out = Path(os.environ.get("OUT", "."))
    about = machine()
    found: list[dict[str, Any]] = []
    for side in sides(fields, device, given):
        found.append(side)
        print(f"{side['seconds']:6.1f} s  {side['name']}  {side['failed']}".rstrip(), flush=True)
        report = {**about, "learning_rate": given.learning_rate, "samples a step": BATCH, "sides": found}
        write_json(report, out / "full_training.json", "full_training")
        try:
            plot(out / "full_training.png", found, f"Full fine-tuning, {about['machine']}")
        except ImportError as error:
            print(f"          no plot: {error}")
    print(f"\n{about['machine']}, torch {about['torch']}, {BATCH} samples a step, all parts\n")
    print(table([row(side) for side in found]))
    return int(bool(found[0]["failed"]))


if __name__ == "__main__":
    end_with(main)
