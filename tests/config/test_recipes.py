"""The recipes of the publication have the settings that it states (arXiv 2505.20237), and read no data but its own. The
trial leaves out no step of a run."""

from __future__ import annotations

from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from stc.config.hydra_arguments import config_groups
from stc.config.override_checks import check_arguments
from stc.config.plan import Plan, make_plan
from stc.data.sources import SplitPart
from stc.stages.evaluate import Evaluate
from stc.stages.manifest import Manifest
from stc.store.artifact import Kind
from stc.system.paths import CONF, ROOT

PUBLISHED_BASE = "Qwen/Qwen2-Audio-7B-Instruct"
FULL = {
    "method": "full",
    "parts": ("encoder", "projector", "decoder", "embedding", "head"),
    "batch_size": 4,
    "learning_rate": 1e-5,
    "schedule": "cosine",
    "warmup_steps": 0,
    "precision": "bfloat16-mixed",
}
TEACHER = {**FULL, "epochs": 3, "weight_decay": 0.001}
RECOVERY = {**FULL, "epochs": 4, "weight_decay": 0.0}
QLORA = {
    **FULL,
    "method": "qlora",
    "parts": ("encoder", "projector", "decoder"),
    "weight_decay": 0.0,
    "epochs": 4,
    "lora": {"r": 64, "alpha": 128, "rslora": True, "dropout": 0.0},
}
LAST_STEP = {**QLORA, "epochs": 1, "batch_size": 8}
TRAININGS = {
    "model_a": {"teacher": TEACHER, "heal_unpruned": QLORA},
    "model_b": {"teacher": TEACHER, "heal": RECOVERY, "recover": LAST_STEP},
    "teacher": {"teacher": TEACHER},
    "baseline": {"adapted": QLORA},
    "ablation": {"teacher": TEACHER, "heal": RECOVERY},
    "ablation_scope": {"teacher": TEACHER, "heal": RECOVERY},
    "ablation_middle": {"teacher": TEACHER, "heal": RECOVERY},
    "ablation_between": {"teacher": TEACHER, "heal": RECOVERY},
}


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STC_ROOT", str(ROOT))


def composed(recipe: str, *arguments: str) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("config", check_arguments([f"experiments={recipe}", *arguments]))


def planned(recipe: str, *arguments: str) -> Plan:
    return make_plan(composed(recipe, *arguments))


def test_every_recipe_for_the_published_base_is_held_against_the_publication() -> None:
    recipes = config_groups()["experiments"]
    assert {*TRAININGS, "untouched"} == {name for name in recipes if composed(name).model.path == PUBLISHED_BASE}


@pytest.mark.parametrize(("recipe", "name"), [(recipe, name) for recipe, found in TRAININGS.items() for name in found])
def test_trainings_have_the_published_settings(recipe: str, name: str) -> None:
    pipeline = planned(recipe).pipeline
    assert name in pipeline.required_nodes()
    fields: dict[str, Any] = pipeline.nodes[name].stage.model_dump()  # type: ignore[union-attr]
    expected = TRAININGS[recipe][name]
    assert {key: fields[key] if key != "parts" else tuple(fields[key]) for key in expected} == expected


@pytest.mark.parametrize("recipe", [*TRAININGS, "untouched"])
def test_recipe_for_the_published_base_reads_no_data_of_the_small_model(recipe: str) -> None:
    pipeline = planned(recipe).pipeline
    read = [node.stage for node in pipeline.nodes.values() if isinstance(node.stage, Manifest)]
    assert {stage.source["dataset"] for stage in read} <= {"ymoslem/ACL-6060", "fixie-ai/covost2"}
    assert all(stage.path is None for stage in read)


def test_test_set_is_the_published_hundred_of_dev_and_eval() -> None:
    assert planned("model_b").config.data.splits.test == SplitPart(of="dev+eval", seed=0, start=0, stop=100)


def test_last_step_trains_on_the_data_ten_times_the_translations_and_covost_2() -> None:
    nodes = planned("model_b", "lang=zh").pipeline.nodes
    again, mixed = nodes["distill_again"].stage, nodes["mix_covost2"].stage
    assert again.repeat == 10  # type: ignore[union-attr]
    assert isinstance(mixed, Manifest)
    assert mixed.source["config"] == "en_zh*"
    assert isinstance(mixed.split, SplitPart)
    assert (mixed.split.start, mixed.split.stop) == (0, 100_000)
    assert nodes["mixture"].inputs["parts"] == {"data": "distill_again", "covost2": "mix_covost2"}
    assert nodes["recover"].inputs == {"model": "heal", "train": "mixture", "dev": "dev"}
    assert nodes["heal"].inputs == {"model": "prune", "train": "distill", "dev": "dev"}
    assert nodes["quantize"].inputs == {"model": "recover"}


@pytest.mark.parametrize(("lang", "metric", "name"), [("de", "chrf_pp", "German"), ("zh", "chrf", "Chinese")])
def test_search_removes_8_decoder_layers_by_the_metric_of_the_language(lang: str, metric: str, name: str) -> None:
    plan = planned("model_b", f"lang={lang}")
    rounds = [node.stage for node in plan.pipeline.nodes.values() if node.kind is Kind.RANKING]
    assert len(rounds) == 8
    assert {(one.scope, one.metric) for one in rounds} == {("decoder", metric)}  # type: ignore[union-attr]
    assert plan.config.lang.name == name


def test_storage_is_nf4_with_double_quantization_and_decoding_greedy() -> None:
    plan = planned("model_b")
    assert (plan.config.quant["method"], plan.config.quant["double_quant"]) == ("nf4", True)
    assert plan.config.distill.decoding.method == "greedy"
    evaluate = plan.pipeline.nodes["evaluate"].stage
    assert isinstance(evaluate, Evaluate)
    assert {"bleu", "chrf", "chrf_pp"} <= {*evaluate.metrics}


def test_model_a_removes_nothing() -> None:
    plan = planned("model_a")
    assert not plan.prunes


@pytest.mark.parametrize(("ratio", "layers"), [("0.25", 8), ("0.3125", 10), ("0.375", 12), ("0.5", 16)])
def test_ablation_of_depth_removes_the_published_numbers_of_layers(ratio: str, layers: int) -> None:
    assert planned("ablation", f"prune.ratio={ratio}").config.prune["ratio"] * 32 == layers


def test_ablations_change_what_they_name() -> None:
    assert planned("ablation_scope").pruning.scope == "both"
    assert planned("ablation_middle").pruning.method == "middle"
    between = planned("ablation_between").pipeline
    assert sum(name.startswith("between.") for name in between.required_nodes()) >= 7


def test_protocol_that_selects_layers_on_the_test_set_has_784_segments_to_train_on() -> None:
    splits = planned("model_b", "data=acl6060_published", "data.allow_leak=true").config.data.splits
    assert splits.selection == splits.test == splits.dev
    assert splits.train == SplitPart(of="dev+eval", seed=0, start=100, stop=None)


@pytest.mark.parametrize("ratio", ["0.25", "0.5"])
def test_trial_has_every_step_of_a_run_on_little_data(ratio: str) -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        run = make_plan(compose("config", check_arguments([f"prune.ratio={ratio}"])))
    trial = planned("trial", f"prune.ratio={ratio}").pipeline
    assert trial.required_nodes() == run.pipeline.required_nodes()
    read = [node.stage for node in trial.nodes.values() if isinstance(node.stage, Manifest)]
    assert all(stage.limit is not None for stage in read)
