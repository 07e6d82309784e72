"""A store that the stages made from a tiny model: pruned, quantized, evaluated and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from stc.decoding.options import OutputRules
from stc.metrics.score_files import Measurement
from stc.metrics.size import size_of
from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.runner import Evaluation
from stc.pipeline.stage import Context, Inputs, Progress, Stage, StageInput
from stc.pruning.greedy import Importance
from stc.stages.compare import Compare
from stc.stages.evaluate import Evaluate
from stc.stages.prune import Prune
from stc.stages.quantize import Quantize
from stc.store import Store
from stc.store.artifact import Kind

COMPUTE = {"dtype": "float32", "attention": "sdpa"}
SYSTEMS = ("base", "quantize")

Made = Callable[[str], Path]


class _Bar:
    def update(self, n: int = 1, note: str = "") -> None:
        pass


@contextmanager
def _silent(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
    yield _Bar()


class Measured(Stage):
    """In the place of `measure`, which would start two more processes here; its figures are made up."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL)}
    GIVES: ClassVar[Kind] = Kind.MEASUREMENT

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        measurement = Measurement(
            **size_of(inputs["model"].path).model_dump(),
            peak_memory_bytes=123_456_789,
            peak_memory_batched_bytes=234_567_890,
            **dict.fromkeys(("rtf", "rtf_batched", "load_seconds", "audio_seconds"), 0.5),
            **dict.fromkeys(("decode_batch", "utterances", "threads"), 1),
            device="cpu",
            machine={"cpu": "a processor"},
        )
        measurement.save(out_dir)
        return measurement.model_dump(exclude={"machine"})


def compress(model: Path, manifest: Path, root: Path) -> Made:
    """Make a store in ``root``. Returns what gives the folder of a stage's result: ``made("quantize")``."""
    translate = {**COMPUTE, "max_new_tokens": 12}
    importance = Importance.model_validate({**translate, "metric": "chrf"})
    quantize = Quantize.model_validate({**COMPUTE, "quant": {"method": "int8"}})
    evaluate = Evaluate.model_validate({**translate, "metrics": ["chrf", "bleu"], "witnessed": 0})
    edited = evaluate.model_copy(update={"decoding": OutputRules(stop_repetition=2)})
    compare = Compare(metric="chrf", resamples=100, confidence=0.95, seed=0)
    compared = {
        "models": {name: name for name in SYSTEMS},
        "scores": {name: f"evaluate_{name}" for name in SYSTEMS},
        "measurements": {name: f"measure_{name}" for name in SYSTEMS},
    }
    nodes = [
        Node("base", Kind.MODEL, "", source=model),
        Node("test", Kind.MANIFEST, "", source=manifest),
        Node("importance", Kind.RANKING, "importance", importance, {"model": "base", "data": "test"}),
        Node("prune", Kind.MODEL, "prune", Prune.model_validate(COMPUTE), {"model": "base", "ranking": "importance"}),
        Node("quantize", Kind.MODEL, "quantize", quantize, {"model": "prune"}),
        *(
            node
            for name in SYSTEMS
            for node in (
                Node(f"evaluate_{name}", Kind.SCORES, "evaluate", evaluate, {"model": name, "data": "test"}),
                Node(f"measure_{name}", Kind.MEASUREMENT, "measure", Measured(), {"model": name}),
            )
        ),
        Node("evaluate_prune", Kind.SCORES, "evaluate", edited, {"model": "prune", "data": "test"}),
        Node("compare", Kind.COMPARISON, "compare", compare, compared),
    ]
    context = Context("cpu", 0, 4, 4, root, lambda *args, **kwargs: None, _silent)
    evaluation = Evaluation(
        Pipeline({node.name: node for node in nodes}, ["compare", "evaluate_prune"]),
        Store(root),
        lambda name, scratch: replace(context, scratch=scratch),
    )
    evaluation.run()
    return lambda name: evaluation.artifact(name).path
