"""Fixtures: a store that the stages made from a tiny model, an export of it, and a runner of the code in cards."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from plain_python import PlainPython

from stc.data.manifest import Manifest
from stc.errors import StcError
from stc.export import ExportResult, export
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


@pytest.fixture(scope="session")
def made(tiny_model: Path, tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """``made("quantize")``: the folder of a stage's result in a store where a tiny model was pruned, quantized,
    evaluated and compared."""
    translate = {**COMPUTE, "max_new_tokens": 12}
    importance = Importance.model_validate({**translate, "metric": "chrf"})
    quantize = Quantize.model_validate({**COMPUTE, "quant": {"method": "int8"}})
    evaluate = Evaluate.model_validate({**translate, "metrics": ["chrf", "bleu"], "witnessed": 0})
    compare = Compare(metric="chrf", resamples=100, confidence=0.95, seed=0)
    compared = {
        "models": {name: name for name in SYSTEMS},
        "scores": {name: f"evaluate_{name}" for name in SYSTEMS},
        "measurements": {name: f"measure_{name}" for name in SYSTEMS},
    }
    nodes = [
        Node("base", Kind.MODEL, "", source=tiny_model),
        Node("test", Kind.MANIFEST, "", source=tiny_manifest),
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
        Node("compare", Kind.COMPARISON, "compare", compare, compared),
    ]
    root = tmp_path_factory.mktemp("exported") / "store"
    context = Context("cpu", 0, 4, 4, root, lambda *args, **kwargs: None, _silent)
    evaluation = Evaluation(
        Pipeline({node.name: node for node in nodes}, ["compare"]),
        Store(root),
        lambda name, scratch: replace(context, scratch=scratch),
    )
    evaluation.run()
    return lambda name: evaluation.artifact(name).path


@contextmanager
def _asking(plain: PlainPython) -> Iterator[None]:
    """Proofs ask the process that forks, and not a fresh one."""

    def ask(what: str, arguments: Sequence[str], request: Mapping[str, Any], **environment: str) -> Any:
        done = plain.run(Path(arguments[-1]).read_text(encoding="utf-8"), stdin=json.dumps(request))
        if done.returncode:
            raise StcError(f"{what}: {done.stderr}")
        return json.loads(done.stdout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stc.verification.independent.run_json", ask)
        yield


@pytest.fixture(scope="session")
def quantized(
    made: Made, tiny_manifest: Path, plain_python: PlainPython, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    out = tmp_path_factory.mktemp("out") / "small-talk"
    with _asking(plain_python):
        return export(made("quantize"), out, base_model="someone/base", license_id="apache-2.0", data=tiny_manifest)


@pytest.fixture
def proven(plain_python: PlainPython) -> Iterator[None]:
    """Exports are proven, without the seconds that a fresh process takes to import the libraries."""
    with _asking(plain_python):
        yield


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports are not proven: for what happens before the proof or after it."""
    checked = "stc.export.round_trip_check.independent_translations"
    monkeypatch.setattr(checked, lambda *args, **kwargs: [["text"], ["text"]])


@pytest.fixture
def run_snippet(tmp_path: Path, tiny_manifest: Path, plain_python: PlainPython) -> Callable[[Path], str]:
    """``run_snippet(folder)``: what the code of a card prints of the first utterance of the tiny manifest, run as a
    reader would: beside the folder, and beside utterance.wav."""

    def run(folder: Path) -> str:
        card = (folder / "README.md").read_text(encoding="utf-8")
        code = re.search(r"^```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL)
        assert code is not None
        here = tmp_path / "reader"
        shutil.copytree(folder, here / folder.name)
        shutil.copyfile(Manifest.load(tiny_manifest).audio_paths()[0], here / "utterance.wav")
        done = plain_python.run(code[1], cwd=here)
        assert done.returncode == 0, done.stderr
        return " ".join(done.stdout.split())

    return run
