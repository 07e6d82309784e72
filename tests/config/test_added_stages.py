"""data.mix, one split for dev and selection, and controls=false change the graph of a run as they say."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from stc.config.override_checks import check_arguments
from stc.config.plan import Plan, make_plan
from stc.errors import ConfigError
from stc.stages.compare import Compare
from stc.stages.join import Join
from stc.stages.manifest import Manifest
from stc.system.paths import CONF, ROOT

MIXED = ["+data@data.mix.more=talks", "data.mix.more.limit=50", "data.mix.more.weight=3"]


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STC_ROOT", str(ROOT))


def planned(*arguments: str) -> Plan:
    with initialize_config_dir(str(CONF), version_base=None):
        return make_plan(compose("config", check_arguments(arguments)))


def faults(*arguments: str) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        planned(*arguments)
    return {fault.key: fault.allowed for fault in error.value.faults}


@pytest.mark.parametrize(
    ("pipeline", "healings", "healed_on"),
    [
        ("compress", ["heal", "heal_unpruned"], "distill"),
        ("compress_twice", ["recover", "recover_unpruned"], "distill_again"),
    ],
)
def test_last_healing_of_model_and_control_reads_the_mixture(
    pipeline: str, healings: list[str], healed_on: str
) -> None:
    graph = planned(f"pipeline={pipeline}", *MIXED).pipeline
    mixture = graph.nodes["mixture"]
    assert mixture.inputs == {"parts": {"data": healed_on, "more": "mix_more"}}
    assert isinstance(mixture.stage, Join)
    assert mixture.stage.weights == {"more": 3}
    assert {graph.nodes[name].inputs["train"] for name in healings} == {"mixture"}


def test_healing_on_a_mixture_reads_no_features_of_the_data_alone() -> None:
    graph = planned(*MIXED).pipeline
    assert "features" in planned().pipeline.nodes["heal"].inputs
    assert "features" not in {*graph.nodes["heal"].inputs, *graph.nodes["heal_unpruned"].inputs}


def test_mixed_data_are_read_with_their_own_settings_and_without_what_is_held_out() -> None:
    graph = planned(*MIXED, "data.mix.more.splits.train=dev").pipeline
    mixed = graph.nodes["mix_more"].stage
    assert isinstance(mixed, Manifest)
    assert (mixed.limit, mixed.split) == (50, "dev")
    checked = graph.nodes["disjoint"].inputs["splits"]
    assert isinstance(checked, dict)
    assert checked["mix_more"] == "mix_more"


def test_data_set_that_is_null_is_not_mixed_in() -> None:
    assert "mixture" not in planned(*MIXED[:1], "data.mix.more=null").pipeline.nodes


@pytest.mark.parametrize("recipe", ["untouched", "talks_base"])
def test_mixture_that_no_training_reads_is_refused(recipe: str) -> None:
    needed = [] if recipe == "talks_base" else ["data=talks"]
    assert "data.mix" in faults(f"experiments={recipe}", *needed, *MIXED[:1])


def test_fault_of_mixed_data_is_told_at_its_own_key() -> None:
    assert list(faults(*MIXED, "data.mix.more.limit=0")) == ["data.mix.more.limit"]


def test_split_that_is_dev_and_selection_is_one_manifest() -> None:
    graph = planned("data.splits.dev=selection", "data.on_overlap=drop").pipeline
    dev, selection = graph.nodes["dev"], graph.nodes["selection"]
    assert (dev.stage, dev.inputs) == (selection.stage, selection.inputs)


def test_without_controls_nothing_unpruned_is_healed_and_the_comparison_names_what_is_missing() -> None:
    graph = planned("controls=false").pipeline
    assert {"heal_unpruned", "quantize_unpruned"}.isdisjoint(graph.required_nodes())
    compare = graph.nodes["compare"]
    assert isinstance(compare.stage, Compare)
    assert compare.stage.left_out == ("healed-nf4",)
    scores = compare.inputs["scores"]
    assert isinstance(scores, dict)
    assert list(scores) == ["teacher", "teacher-nf4", "pruned-healed-nf4"]


def test_model_a_has_no_control_that_is_left_out() -> None:
    plain, without = (planned("experiments=model_a", "data=talks", *more) for more in ([], ["controls=false"]))
    assert plain.pipeline.required_nodes() == without.pipeline.required_nodes()
