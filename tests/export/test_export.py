"""An export is a folder that says what the original says to whoever has public libraries, and a card that is true.

The store is made by the stages themselves, from a tiny model. The hub is a small server of this test's own, which
answers as the Hugging Face hub does: the real one cannot be written to from a test.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file, save_file

from stc.data.manifest import Manifest
from stc.errors import InputError, ModelError, StcError
from stc.export import Exported, export, push
from stc.export.__main__ import main
from stc.metrics.records import Measurement, Scores
from stc.metrics.size import bytes_on_disk
from stc.models import read_config
from stc.models.counting import count_parameters
from stc.pipeline import Evaluation, Node, Pipeline
from stc.stage import Context, Inputs, Kind, Progress, Stage, Takes
from stc.stages.compare import Compare
from stc.stages.evaluate import Evaluate
from stc.stages.importance import Importance
from stc.stages.prune import Prune
from stc.stages.quantize import Quantize
from stc.store import Store

COMPUTE = {"dtype": "float32", "attention": "sdpa"}
SYSTEMS = ("base", "quantize")

Made = Callable[[str], Path]


class _Bar:
    def update(self, n: int = 1) -> None:
        pass


@contextmanager
def _silent(title: str, total: int, unit: str = "it") -> Iterator[Progress]:
    yield _Bar()


class Measured(Stage):
    """In the place of `measure`, which would start two more processes here; its figures are made up."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, Takes]] = {"model": Takes(Kind.MODEL)}
    GIVES: ClassVar[Kind] = Kind.MEASUREMENT

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        counts = count_parameters(inputs["model"].path)
        measurement = Measurement(
            decoder_layers=read_config(inputs["model"].path)["text_config"]["num_hidden_layers"],
            parameters=counts.parameters,
            packed_elements=counts.packed_elements,
            bytes_on_disk=bytes_on_disk(inputs["model"].path),
            peak_memory_bytes=123_456_789,
            peak_memory_batched_bytes=234_567_890,
            **dict.fromkeys(("rtf", "rtf_batched", "load_seconds", "audio_seconds"), 0.5),
            **dict.fromkeys(("decode_batch", "utterances", "threads"), 1),
            device="cpu",
            machine={"cpu": "a processor"},
        )
        measurement.save(out_dir)
        return measurement.model_dump(exclude={"machine"})


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def quantized(made: Made, tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    out = tmp_path_factory.mktemp("out") / "small-talk"
    return export(made("quantize"), out, base_model="someone/base", license_id="apache-2.0", data=tiny_manifest)


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter folder as peft writes it, its weights large enough to change what the model says."""
    from peft import LoraConfig, get_peft_model

    from stc.models.checkpoint import load

    torch.manual_seed(0)
    model = load(tiny_model, device="cpu", dtype="bfloat16").model
    config = LoraConfig(r=4, lora_alpha=8, target_modules=r"model\.language_model\.layers\..*(q_proj|down_proj)")
    wrapped = get_peft_model(model, config)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fresh process: for what happens before it or after it."""
    monkeypatch.setattr("stc.export.proof.witnesses", lambda *args, **kwargs: [["text"], ["text"]])


def run_snippet(card: str, folder: Path, tmp_path: Path, audio: Path) -> str:
    """What the code of a card prints, run as a reader would: beside the folder, and beside utterance.wav."""
    code = re.search(r"^```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL)
    assert code is not None
    shutil.copytree(folder, tmp_path / "run" / folder.name)
    shutil.copyfile(audio, tmp_path / "run" / "utterance.wav")
    done = subprocess.run(
        [sys.executable, "-I", "-c", code[1]], cwd=tmp_path / "run", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.split())


def test_export_of_a_quantized_model_is_the_folder_without_its_record(made: Made, quantized: Exported) -> None:
    names = {file.name for file in quantized.folder.iterdir()}
    assert names == {file.name for file in made("quantize").iterdir()} - {"stc.record.json"} | {"README.md"}
    assert load_file(quantized.folder / "model.safetensors").keys() == count_names(made("quantize"))
    assert quantized.proof.same
    assert quantized.proof.text


def count_names(folder: Path) -> set[str]:
    return set(load_file(folder / "model.safetensors"))


def test_code_of_the_card_gives_the_proven_text(quantized: Exported, tiny_manifest: Path, tmp_path: Path) -> None:
    audio = Manifest.load(tiny_manifest).audio_paths()[0]
    card = (quantized.folder / "README.md").read_text(encoding="utf-8")
    assert run_snippet(card, quantized.folder, tmp_path, audio) == " ".join(quantized.proof.text.split())


def test_card_has_the_figures_of_the_store(made: Made, quantized: Exported) -> None:
    card = (quantized.folder / "README.md").read_text(encoding="utf-8")
    counts = count_parameters(quantized.folder)
    measured = Measurement.load(made("measure_quantize"))
    size = (quantized.folder / "model.safetensors").stat().st_size
    for figure in (counts.parameters, counts.packed_elements, size, measured.peak_memory_bytes):
        assert f"| {figure:,} |" in card
    for name, metric in Scores.load(made("evaluate_quantize")).metrics.items():
        assert f"| {({'chrf': 'chrF', 'bleu': 'BLEU'})[name]} | {metric.score:.2f} |" in card
    content = json.loads((made("compare") / "comparison.json").read_text())
    row = next(row for row in content["systems"] if row["name"] == "quantize")
    low, high = (100 * bound for bound in row["retention_ci"])
    assert f"{100 * row['retention']:.1f} % of the chrF (95 % interval {low:.1f} to {high:.1f})" in card


def test_card_tells_what_was_done(made: Made, quantized: Exported) -> None:
    card = (quantized.folder / "README.md").read_text(encoding="utf-8")
    [removed] = json.loads((made("prune") / "stc.record.json").read_text())["facts"]["layers_removed"]
    assert "1. The base is someone/base.\n" in card
    assert f"2. Pruned: 1 of 6 decoder layers removed (counted from 0: {removed}).\n" in card
    assert "3. Quantized: the linear layers of encoder, projector, decoder by int8 (threshold 6.0)" in card
    assert card.startswith("---\nbase_model: someone/base\n")
    assert "\nbase_model_relation: quantized\n" in card
    assert "\nlanguage:\n- en\n- de\n" in card
    assert "\nlicense: apache-2.0\n" in card
    assert "bitsandbytes left vLLM" in card


def test_merged_export_of_a_quantized_model_is_what_it_was_packed_from(
    made: Made, tiny_manifest: Path, tmp_path: Path, unproven: None
) -> None:
    exported = export(made("quantize"), tmp_path / "out", merged=True, data=tiny_manifest)
    assert "quantization_config" not in read_config(exported.folder)
    weights, pruned = (load_file(path / "model.safetensors") for path in (exported.folder, made("prune")))
    assert all(torch.equal(weights[name], pruned[name]) for name in weights.keys() | pruned.keys())


def test_card_of_a_folder_outside_a_store_says_no_more_than_the_folder(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, unproven: None
) -> None:
    exported = export(tiny_model, tmp_path / "out", data=tiny_manifest)
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", card, flags=re.MULTILINE)
    assert headings == ["Size", "Use", "vLLM", "Provenance"]
    assert "peak memory" not in card
    assert "license" not in card.split("---")[1]
    assert "base_model" not in card.split("---")[1]


def test_folder_without_an_utterance_at_hand_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data FOLDER"):
        export(tiny_model, tmp_path / "out")


def test_place_that_is_taken_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="is there already"):
            export(tiny_model, out)


def test_export_that_says_something_else_leaves_nothing(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stc.export.proof.witnesses", lambda *args, **kwargs: [["one"], ["another"]])
    with pytest.raises(StcError, match="another text than the original"):
        export(tiny_model, tmp_path / "out", data=tiny_manifest)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_does_not_load_without_stc_is_refused(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(tiny_model, tmp_path / "broken"))
    (broken / "processor_config.json").unlink()
    with pytest.raises(StcError, match="without stc"):
        export(broken, tmp_path / "out", data=tiny_manifest)
    assert not (tmp_path / "out").exists()


def test_damaged_result_is_refused_by_name(made: Made, tmp_path: Path) -> None:
    store = Path(shutil.copytree(made("prune").parent.parent, tmp_path / "store"))
    folder = store / "model" / made("prune").name
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    with pytest.raises(InputError, match=r"damaged: config.json"):
        export(folder, tmp_path / "out")


@pytest.fixture
def run_folder(made: Made, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    systems = [{"name": name, "model_dir": str(made(name))} for name in SYSTEMS]
    (folder / "result.json").write_text(json.dumps({"systems": systems}))
    config = "model: {name: small, path: someone/small}\ndata: {name: phrases}\n"
    (folder / ".hydra" / "config.yaml").write_text(config)
    return folder


def test_run_gives_its_last_system_and_the_names_of_base_and_data(
    run_folder: Path, tiny_manifest: Path, tmp_path: Path, unproven: None
) -> None:
    exported = export(run_folder, tmp_path / "out", data=tiny_manifest)
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert exported.card.form == "quantized"
    assert card.startswith("---\nbase_model: someone/small\n")
    assert "On 8 utterances of `phrases`" in card


def test_unknown_system_is_answered_with_the_nearest(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--system quantise: systems are base, quantize \(did you mean 'quantize'"):
        export(run_folder, tmp_path / "out", system="quantise")


def test_folder_that_is_no_result_is_refused_with_what_is_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config.json \(a model\), adapter_config.json"):
        export(tmp_path, tmp_path / "out")


def test_adapter_of_a_base_on_this_machine_needs_the_name_its_users_know(
    adapter: Path, tiny_manifest: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--base-model NAME says under which name"):
        export(adapter, tmp_path / "out", data=tiny_manifest)
    assert list(tmp_path.iterdir()) == []


def test_adapter_says_on_its_base_what_it_said_and_names_the_base_given(
    adapter: Path, tiny_model: Path, tiny_manifest: Path, tmp_path: Path
) -> None:
    exported = export(adapter, tmp_path / "adapted", base_model=str(tiny_model), data=tiny_manifest)
    assert exported.proof.same
    assert exported.card.form == "adapter"
    assert json.loads((exported.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        tiny_model
    )
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    elements = sum(tensor.numel() for tensor in load_file(adapter / "adapter_model.safetensors").values())
    assert f"| parameters | {elements:,} |" in card
    assert "SupportsLoRA" in card
    audio = Manifest.load(tiny_manifest).audio_paths()[0]
    assert run_snippet(card, exported.folder, tmp_path, audio) == " ".join(exported.proof.text.split())


def test_merged_adapter_is_base_and_adapter_in_one(
    adapter: Path, tiny_model: Path, tiny_manifest: Path, tmp_path: Path
) -> None:
    exported = export(adapter, tmp_path / "out", merged=True, data=tiny_manifest)
    assert exported.card.form == "merged"
    assert exported.proof.text
    merged, base = (load_file(path / "model.safetensors") for path in (exported.folder, tiny_model))
    factors = load_file(adapter / "adapter_model.safetensors")
    name = "layers.3.mlp.down_proj"
    key = f"base_model.model.model.language_model.{name}"
    added = 2 * factors[f"{key}.lora_B.weight"].float() @ factors[f"{key}.lora_A.weight"].float()  # alpha / r
    stored = f"language_model.model.{name}.weight"
    torch.testing.assert_close(merged[stored].float(), base[stored].float() + added, atol=1e-2, rtol=1e-2)
    assert not torch.equal(merged[stored], base[stored])
    changed = {name for name in base if not torch.equal(merged[name], base[name])}
    assert all("q_proj" in name or "down_proj" in name for name in changed)


def test_adapter_in_a_store_belongs_on_the_model_its_record_names(
    adapter: Path, made: Made, tiny_manifest: Path, tmp_path: Path, unproven: None
) -> None:
    store = Store(Path(shutil.copytree(made("prune").parent.parent, tmp_path / "store")))
    spec = {"stage": "adapt", "version": 1, "config": {}, "inputs": {"model": made("prune").name}}
    with store.publish(Kind.ADAPTER, "0123") as (folder, record):
        shutil.copytree(adapter, folder, dirs_exist_ok=True)
        config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": None}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        record.update(identity="0123", spec=spec, facts={}, versions={}, commit=None)
    exported = export(
        store.path(Kind.ADAPTER, "0123"), tmp_path / "out", base_model="someone/pruned", data=tiny_manifest
    )
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert "2. Pruned: 1 of 6 decoder layers removed" in card
    assert "3. Stage `adapt` of stc." in card
    assert card.startswith("---\nbase_model: someone/pruned\n")


def test_adapter_that_does_not_fit_its_base_is_refused_by_name(
    adapter: Path, tiny_manifest: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "other"))
    weights = load_file(other / "adapter_model.safetensors")
    surplus = "base_model.model.model.language_model.layers.9.mlp.down_proj.lora_A.weight"
    weights[surplus] = weights[surplus.replace("9", "3")].clone()
    save_file(weights, other / "adapter_model.safetensors")
    with pytest.raises(ModelError, match=surplus):
        export(other, tmp_path / "out", merged=True, data=tiny_manifest)


def test_adapter_is_not_merged_into_a_quantized_base(
    adapter: Path, made: Made, tiny_manifest: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "other"))
    config = json.loads((other / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(made("quantize"))
    (other / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="is quantized: an adapter"):
        export(other, tmp_path / "out", merged=True, data=tiny_manifest)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A server that takes a repository's files as the hub does; what was sent to it, by path of the request."""
    got: dict[str, Any] = {"files": {}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            here = f"http://{self.headers['Host']}"
            if self.path == "/api/repos/create":
                got["created"] = json.loads(body)
                self.answer({"url": f"{here}/someone/model", "name": "someone/model"})
            elif self.path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in json.loads(body)["files"]
                ]
                self.answer({"files": files})
            else:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        got["files"][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self.answer({"commitUrl": f"{here}/someone/model/commit/1", "commitOid": "1", "success": True})

        def do_GET(self) -> None:
            self.answer({"id": "someone/model", "sha": "0", "siblings": [], "tags": []})

        def answer(self, content: dict[str, Any]) -> None:
            text = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    yield got
    server.shutdown()


def test_every_file_of_an_export_is_uploaded_to_a_private_repository(quantized: Exported, hub: dict[str, Any]) -> None:
    assert push(quantized, "someone/model").endswith("/someone/model/commit/1")
    assert hub["created"] == {"name": "model", "organization": "someone", "visibility": "private"}
    assert hub["files"] == {file.name: file.read_bytes() for file in quantized.folder.iterdir()}


def test_name_the_hub_does_not_take_is_told_without_a_traceback(quantized: Exported) -> None:
    with pytest.raises(InputError, match=r"--push-to-hub no/such/name: .*the export itself is in"):
        push(quantized, "no/such/name")


def test_fault_of_the_user_is_one_line_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["stc.export", str(tmp_path / "nothing"), str(tmp_path / "out")])
    assert main() == 1
    assert capsys.readouterr().err.startswith("stc: ")


LOADED = """
import runpy, sys
try:
    runpy.run_module("stc.export", run_name="__main__", alter_sys=True)
except SystemExit:
    print("torch" in sys.modules)
"""


def test_help_imports_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
