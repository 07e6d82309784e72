"""Export of adapters as peft writes them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from stc.errors import InputError, ModelError
from stc.export import export
from stc.store import Store, identity_of
from stc.store.artifact import Kind

Made = Callable[[str], Path]

pytestmark = pytest.mark.usefixtures("proven")


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter folder as peft writes it, its weights large enough to change what the model says."""
    from peft import LoraConfig, get_peft_model

    from stc.models.load_and_save import load

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


def test_adapter_of_a_base_on_this_machine_needs_the_name_its_users_know(
    adapter: Path, tiny_manifest: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="--base-model NAME"):
        export(adapter, tmp_path / "out", data=tiny_manifest)
    assert list(tmp_path.iterdir()) == []


def test_adapter_translates_as_before_on_its_base_and_names_the_given_base(
    adapter: Path, tiny_model: Path, tiny_manifest: Path, tmp_path: Path, run_snippet: Callable[[Path], str]
) -> None:
    exported = export(adapter, tmp_path / "adapted", base_model=str(tiny_model), data=tiny_manifest)
    assert exported.proof.is_same
    assert exported.card.form == "adapter"
    assert json.loads((exported.folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        tiny_model
    )
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    elements = sum(tensor.numel() for tensor in load_file(adapter / "adapter_model.safetensors").values())
    assert f"| parameters | {elements:,} |" in card
    assert "SupportsLoRA" in card
    assert run_snippet(exported.folder) == " ".join(exported.proof.text.split())


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


RECIPE = {
    "method": "qlora",
    "parts": ["decoder"],
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "lora": {"r": 4, "alpha": 8, "rslora": True, "dropout": 0.0},
}


def test_adapter_in_a_store_is_for_the_model_in_its_record(
    adapter: Path, made: Made, tiny_manifest: Path, tmp_path: Path, unproven: None
) -> None:
    store = Store(Path(shutil.copytree(made("prune").parent.parent, tmp_path / "store")))
    spec = {"stage": "adapt", "version": 1, "config": RECIPE, "inputs": {"model": made("prune").name}}
    identity = identity_of(spec)
    with store.publish(Kind.ADAPTER, identity) as (folder, record):
        shutil.copytree(adapter, folder, dirs_exist_ok=True)
        config = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": None}
        (folder / "adapter_config.json").write_text(json.dumps(config))
        record.update(spec=spec, facts={}, versions={}, commit=None)
    exported = export(
        store.path(Kind.ADAPTER, identity), tmp_path / "out", base_model="someone/pruned", data=tiny_manifest
    )
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert "2. Pruned: 1 of 6 decoder layers removed" in card
    assert "3. Fine-tuned: adapters of rank 4 on the linear layers of decoder, over a base packed by nf4; " in card
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


def on_token_weights(base: Path, folder: Path, **settings: object) -> Path:
    """An adapter as peft writes it that reaches embedding or head, whose weights peft saves with it."""
    from peft import LoraConfig, get_peft_model

    from stc.models.load_and_save import load

    model = load(base, device="cpu", dtype="float32").model
    wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, **settings))  # type: ignore[arg-type]
    torch.manual_seed(0)
    for name, parameter in wrapped.named_parameters():
        if parameter.requires_grad and "lora" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    with torch.no_grad():
        wrapped.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"target_modules": ["q_proj", "embed_tokens"]}, "embed_tokens"),
        ({"target_modules": ["q_proj", "lm_head"]}, "lm_head"),
        ({"target_modules": ["embed_tokens", "lm_head"]}, "lm_head"),
    ],
)
def test_adapter_on_embedding_or_head_is_merged_as_by_peft(
    tiny_model: Path, tmp_path: Path, settings: dict[str, object], changed: str
) -> None:
    from stc.models.adapters import attach_adapter
    from stc.models.load_and_save import load

    adapter = on_token_weights(tiny_model, tmp_path / "adapter", **settings)
    assert any("base_layer" in name for name in load_file(adapter / "adapter_model.safetensors"))
    model = load(tiny_model, device="cpu", dtype="bfloat16").model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    merged = attach_adapter(model, adapter).merge_and_unload(safe_merge=True).state_dict()
    assert merged.keys() == before.keys()
    assert any(changed in name for name in merged if not torch.equal(merged[name], before[name]))


def test_adapter_with_a_weight_that_differs_from_its_base_is_refused_by_name(tiny_model: Path, tmp_path: Path) -> None:
    from stc.models.adapters import merge
    from stc.models.load_and_save import load

    adapter = on_token_weights(tiny_model, tmp_path / "adapter", target_modules=["lm_head"])
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "base_layer" in name)
    save_file({**weights, name: weights[name] + 1}, file)
    with pytest.raises(ModelError, match=name):
        merge(load(tiny_model, device="cpu", dtype="float32"), adapter)


def test_adapter_is_not_merged_into_a_quantized_base(
    adapter: Path, made: Made, tiny_manifest: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(adapter, tmp_path / "other"))
    config = json.loads((other / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(made("quantize"))
    (other / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="is quantized: an adapter"):
        export(other, tmp_path / "out", merged=True, data=tiny_manifest)


def test_model_with_an_attached_adapter_is_exported_with_it_and_the_card_loads_both(
    adapter: Path, tiny_model: Path, tiny_manifest: Path, tmp_path: Path, run_snippet: Callable[[Path], str]
) -> None:
    adapted = Path(shutil.copytree(tiny_model, tmp_path / "adapted"))
    shutil.copytree(adapter, adapted / "adapter")
    exported = export(adapted, tmp_path / "out", data=tiny_manifest)
    assert exported.proof.is_same
    card = (exported.folder / "README.md").read_text(encoding="utf-8")
    assert "SupportsLoRA" in card
    assert run_snippet(exported.folder) == " ".join(exported.proof.text.split())
    (exported.folder / "README.md").unlink()
    plain = export(tiny_model, tmp_path / "plain", data=tiny_manifest)
    assert plain.proof.text != exported.proof.text
