"""Export of models: the folder, its card, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stc.errors import InputError, StcError
from stc.export import ExportResult, export
from stc.export.__main__ import main
from stc.export.source import find_source
from stc.metrics.score_files import Measurement, Scores
from stc.models import read_config
from stc.models.folder import count_parameters
from stc.store import Store
from stc.store.artifact import Kind

Made = Callable[[str], Path]
SYSTEMS = ("base", "quantize")
ADDED = {"README.md", "preprocessor_config.json"}  # the second is where transformers 4 looks


def test_export_of_a_quantized_model_is_the_folder_without_its_record(made: Made, quantized: ExportResult) -> None:
    names = {file.name for file in quantized.folder.iterdir()}
    assert names == {file.name for file in made("quantize").iterdir()} - {"stc.record.json"} | ADDED
    before, after = ((folder / "model.safetensors").read_bytes() for folder in (made("quantize"), quantized.folder))
    assert after == before
    assert quantized.proof.is_same
    assert quantized.proof.text


def test_code_of_the_card_gives_the_proven_text(quantized: ExportResult, run_snippet: Callable[[Path], str]) -> None:
    assert run_snippet(quantized.folder) == " ".join(quantized.proof.text.split())


def test_card_has_the_figures_of_the_store(made: Made, quantized: ExportResult) -> None:
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
    assert f"{100 * row['retention']:.1f} % of the chrF" in card
    assert f"{content['sentences']} test sentences are too few" in card
    cut_off = row["output_faults"]["cut_off"]  # a random model does not end
    assert cut_off > 0
    assert re.search(rf"{cut_off} .*cut off", card)
    assert "% interval" not in card


def test_card_describes_the_stages(made: Made, quantized: ExportResult) -> None:
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


def test_card_of_a_folder_outside_a_store_has_only_what_the_folder_shows(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, unproven: None
) -> None:
    exported = export(tiny_model, tmp_path / "out", data=tiny_manifest)
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", card, flags=re.MULTILINE)
    assert headings == ["Size", "Use", "vLLM", "Provenance"]
    assert "peak memory" not in card
    assert "license" not in card.split("---")[1]
    assert "base_model" not in card.split("---")[1]


def test_export_without_an_utterance_for_the_proof_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data FOLDER"):
        export(tiny_model, tmp_path / "out")


def test_existing_target_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="already exists"):
            export(tiny_model, out)


def test_export_with_another_translation_leaves_nothing(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = "stc.export.round_trip_check.independent_translations"
    monkeypatch.setattr(checked, lambda *args, **kwargs: [["one"], ["another"]])
    with pytest.raises(StcError, match="another text than the original"):
        export(tiny_model, tmp_path / "out", data=tiny_manifest)
    assert list(tmp_path.iterdir()) == []


def test_folder_that_does_not_load_without_stc_is_refused(
    tiny_model: Path, tiny_manifest: Path, tmp_path: Path, proven: None
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


def test_merged_export_of_what_was_dropped_says_how_to_have_it_again(made: Made, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made("prune").parent.parent, tmp_path / "store"))
    Store(folder).evict(Kind.MODEL, made("prune").name)
    with pytest.raises(InputError, match=r"evicted on .*pipeline\.outputs"):
        export(folder / "model" / made("quantize").name, tmp_path / "out", merged=True)


@pytest.fixture
def run_folder(made: Made, tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / ".hydra").mkdir(parents=True)
    systems = [{"name": name, "model_dir": str(made(name))} for name in SYSTEMS]
    (folder / "result.json").write_text(json.dumps({"systems": systems}))
    config = "model: {name: small, path: someone/small}\ndata: {name: phrases}\n"
    (folder / ".hydra" / "config.yaml").write_text(config)
    return folder


def test_export_of_a_run_takes_its_last_system_and_names_base_and_data(
    run_folder: Path, tiny_manifest: Path, tmp_path: Path, unproven: None
) -> None:
    exported = export(run_folder, tmp_path / "out", data=tiny_manifest)
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert exported.card.form == "quantized"
    assert card.startswith("---\nbase_model: someone/small\n")
    assert "On 8 utterances of `phrases`" in card


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("{name: null, path: /home/me/my-data}", "my-data"),
        ("{name: null, path: '${oc.env:STC_ROOT}/assets/talks/'}", "talks"),
        ("{name: phrases, path: my-data}", "phrases"),
        ("{name: null, path: '???'}", None),
    ],
)
def test_data_without_a_name_are_named_after_their_folder(run_folder: Path, data: str, name: str | None) -> None:
    (run_folder / ".hydra" / "config.yaml").write_text(f"data: {data}\n")
    assert find_source(run_folder, None).run.get("data.name") == name


def test_run_of_one_of_several_seeds_has_the_config_of_all(run_folder: Path) -> None:
    (run_folder / "seed1").mkdir()
    (run_folder / "result.json").rename(run_folder / "seed1/result.json")
    assert find_source(run_folder / "seed1", None).run["data.name"] == "phrases"


def test_unknown_system_is_refused_with_a_suggestion(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--system quantise: .*base, quantize \(did you mean 'quantize'"):
        export(run_folder, tmp_path / "out", system="quantise")


def test_folder_that_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config.json \(a model\), adapter_config.json"):
        export(tmp_path, tmp_path / "out")


def test_user_error_is_one_line_and_exit_code_1(
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
