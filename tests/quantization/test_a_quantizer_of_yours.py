"""A method that stc does not know (``yours/``) is added by its module and a YAML, and nothing else names it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from recipes import RECIPE, adapted
from safetensors.torch import load_file

from stc.config.composition import compose_jobs
from stc.config.override_checks import check_arguments
from stc.data.manifest import Manifest
from stc.decoding.hypotheses import TranslationSettings
from stc.decoding.token_loss import translation_loss
from stc.errors import ConfigError, ModelError
from stc.export import export
from stc.models.folder import count_parameters
from stc.models.layout import Layout
from stc.models.load_and_save import load, save
from stc.pipeline.stage import Context
from stc.planning.machine_checks import check_devices
from stc.quantization import CUSTOM_METHODS, quantizer
from stc.stages.quantize import Quantize
from stc.store.artifact import Artifact, Kind
from stc.system.paths import ROOT
from stc.training.acceleration.dequantize import DequantizedLinear, dequantized_base
from stc.training.adapters import adapter_parameters
from stc.training.examples import Examples
from stc.training.recipe import Recipe
from stc.verification.independent import independent_translations

METHOD = "rounding.rows"
FOLDER = str(Path(__file__).parent / "yours")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules where Python finds them, in this process and in those that it starts."""
    monkeypatch.setenv(CUSTOM_METHODS, "")
    monkeypatch.setenv("PYTHONPATH", FOLDER)
    monkeypatch.syspath_prepend(FOLDER)


@pytest.fixture
def packed(tiny_model: Path, tmp_path: Path, ctx: Context) -> Path:
    stage = Quantize.model_validate({"dtype": "float32", "quant": {"method": METHOD}})
    folder = tmp_path / "packed"
    folder.mkdir()
    stage.run({"model": Artifact(Kind.MODEL, tiny_model, "a")}, folder, ctx)
    return folder


def test_a_yaml_of_ones_own_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    (tmp_path / "quant").mkdir()
    (tmp_path / "quant" / "rounding.yaml").write_text(f"method: {METHOD}\nparts: {{encoder: bfloat16}}\n")
    [job] = compose_jobs(check_arguments([f"--config-dir={tmp_path}", "quant=rounding", "prune.ratio=0.25"]))
    stage = job.plan.pipeline.nodes["quantize"].stage
    assert isinstance(stage, Quantize)
    assert stage.quant.packed_parts == ["projector", "decoder"]
    assert os.environ[CUSTOM_METHODS] == METHOD  # for the processes that a run starts


def test_a_module_that_is_not_there_or_defines_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"quant.method=rounding.columns: .*rounding.columns"):
        quantizer({"method": "rounding.columns"})
    with pytest.raises(ConfigError, match=r"quant.method=json.decoder: .*Quantizer"):
        quantizer({"method": "json.decoder"})


def test_its_folder_is_counted_and_has_the_planned_size(tiny_model: Path, packed: Path) -> None:
    counts, plain = count_parameters(packed), count_parameters(tiny_model)
    assert counts.parameters == counts.packed_elements == plain.parameters
    foreseen = Layout.of_folder(tiny_model).packed(quantizer({"method": METHOD}))
    assert foreseen.weight_bytes == pytest.approx(Layout.of_folder(packed).weight_bytes, rel=0.05)  # names count here
    assert foreseen.counts == counts


def test_state_is_saved_as_it_is_and_all_else_in_bfloat16(packed: Path) -> None:
    kinds = {name: tensor.dtype for name, tensor in load_file(packed / "model.safetensors").items()}
    layer = "language_model.model.layers.1.mlp.up_proj"
    assert kinds[f"{layer}.weight"] == torch.int8
    assert kinds[f"{layer}.scale"] == torch.float16
    assert kinds["audio_tower.layers.0.fc1.bias"] == kinds["language_model.lm_head.weight"] == torch.bfloat16


def test_a_process_without_stc_computes_with_its_weights(
    tiny_model: Path, packed: Path, tiny_manifest: Path, tmp_path: Path
) -> None:
    layers = quantizer({"method": METHOD}).packed_layers(load(packed, device="cpu", dtype="bfloat16").model)
    plain = load(tiny_model, device="cpu", dtype="bfloat16")
    for name, layer in layers.items():
        plain.model.get_submodule(name).weight.data = layer.unpacked(torch.bfloat16)
    save(plain, tmp_path / "unpacked")
    whole = Manifest.load(tiny_manifest)
    manifest = Manifest(whole.folder, whole.task, whole.rows[3:6])
    stage = TranslationSettings(dtype="bfloat16", max_new_tokens=12)
    texts, same = independent_translations([(packed, None), (tmp_path / "unpacked", None)], manifest, stage, "cpu")
    assert layers
    assert texts == same


def test_its_model_card_names_its_library_and_leaves_vllm_open(
    packed: Path, tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "stc.export.round_trip_check.independent_translations", lambda *args: [["text"], ["text"]]
    )  # the test above has one
    exported = export(packed, tmp_path / "out", data=tiny_manifest)
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert "soundfile, rounding-library installed" in card
    assert "\nimport rounding_library\n" in card
    assert any("'rounding' was not checked" in why for why in exported.card.vllm or [])


def test_a_folder_of_it_is_refused_where_nobody_named_it_and_read_where_the_environment_does(
    packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CUSTOM_METHODS, "")
    with pytest.raises(ModelError, match=f"'rounding', which is none of .*{CUSTOM_METHODS}"):
        load(packed, device="cpu", dtype="float32")
    monkeypatch.setenv(CUSTOM_METHODS, METHOD)
    load(packed, device="cpu", dtype="float32")


def test_the_doctor_tries_it() -> None:
    checks = {check.about: check.status for check in check_devices("cpu", [quantizer({"method": METHOD})])}
    assert checks[f"{METHOD}, cpu"] == "OK"


def test_adapters_are_trained_on_it_packed_or_unpacked(tiny_model: Path, tiny_manifest: Path, ctx: Context) -> None:
    base, _, wrapped = adapted(tiny_model, method="qlora", quant={"method": METHOD})
    batch = Examples(base, Manifest.load(tiny_manifest), ctx).batch(range(8))

    def gradients() -> list[torch.Tensor]:
        wrapped.zero_grad()
        translation_loss(base, batch).backward()
        return [parameter.grad.clone() for parameter in adapter_parameters(wrapped)]

    through_packed = gradients()
    with dequantized_base(base.model, True, "cpu"):
        assert any(isinstance(module, DequantizedLinear) for module in base.model.modules())
        through_unpacked = gradients()
    assert all(bool(gradient.any()) for gradient in through_packed)
    assert all(map(torch.equal, through_packed, through_unpacked))


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"method": "qlora", "quant": {"method": "int8"}}, "quant.method=int8"), ({"method": "lora"}, "quant={method")],
)
def test_a_base_that_adapters_cannot_be_trained_on_or_that_is_not_packed_is_refused(
    fields: dict[str, object], named: str
) -> None:
    lora = {"r": 4, "alpha": 8, "rslora": True, "dropout": 0.0}
    with pytest.raises(ValueError, match=named):
        Recipe.model_validate({**RECIPE, "lora": lora, "quant": {"method": "nf4"}, **fields})
