"""conf/ and the command line: what ships is valid, and what is wrong is told all at once."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from stc.config.composition import compose_jobs
from stc.config.hydra_arguments import config_groups
from stc.config.override_checks import check_arguments, expand_jobs, split_plan_option
from stc.config.plan import Plan, make_plan
from stc.errors import ConfigError, Fault
from stc.models.architecture import Stack
from stc.pruning.greedy import SCREEN
from stc.store.artifact import Kind
from stc.store.location import mark_as_store
from stc.system.paths import CONF, ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
# What a member needs beside itself.
NAMED = {
    "explicit": ["prune.layers=[2,5]", "prune.encoder_layers=[3]"],
    "hub": ["data.source.dataset=owner/name"],
    "folder": ["data.path=my-data"],
    "segments": ["data.path=my-data"],
    "comet": ["metrics.comet.python=/bin/true"],  # stands in for its environment, which need not be there
}
SHELL = {"$@", "|", "||", "&", "&&", ";", ">", ">>", "2>", "2>&1"}


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STC_ROOT", str(ROOT))


@pytest.fixture(scope="session")
def a_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with as much of a model of 16 decoder layers as a config is validated against."""
    folder = tmp_path_factory.mktemp("model")
    config = {
        "model_type": "qwen2_audio",
        "text_config": {"num_hidden_layers": 16},
        "audio_config": {"encoder_layers": 6},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def base(a_model: Path) -> list[str]:
    """The override that stands in for the shipped base model where it is not in the checkout."""
    return [] if (ROOT / "assets" / "base" / "config.json").exists() else [f"model.path={a_model}"]


OWN_DATA = "data=talks"
"""What the published model is asked to be compressed on: it has no data of its own."""


def faults(arguments: list[str]) -> list[Fault]:
    try:
        compose_jobs(check_arguments(split_plan_option(arguments)[1]))
    except ConfigError as error:
        return error.faults
    return []


def planned(arguments: list[str]) -> Plan:
    return _planned(*arguments)


@cache
def _planned(*arguments: str) -> Plan:
    with initialize_config_dir(str(CONF), version_base=None):
        return make_plan(compose("config", check_arguments(arguments)))


def fields_of(plan: Plan, name: str) -> dict[str, Any]:
    stage = plan.pipeline.nodes[name].stage
    assert stage is not None
    return stage.model_dump()


def _is_of_the_hub(member: str) -> bool:
    dataset = OmegaConf.select(OmegaConf.load(CONF / "data" / f"{member}.yaml"), "source.dataset")
    return dataset is not None or member.startswith("acl6060")


def free_groups() -> dict[str, list[str]]:
    """What a run chooses from, the recipe of the teacher and the stacks that are pruned among it."""
    found = {name: members for name, members in config_groups().items() if name != "experiments"}
    # Members for a data set of the hub differ from `hub` in its name, its splits and columns.
    found["data"] = [name for name in found["data"] if name == "hub" or not _is_of_the_hub(name)]
    return {**found, "finetune@teacher": found["finetune"], "prune.scope": ["decoder", "encoder", "both"]}


def apart() -> set[frozenset[tuple[str, str]]]:
    """Members that do not go together: adapters and a recipe without any, layers that are named and a stack to choose
    them from."""

    def method(name: str) -> Any:
        recipe = OmegaConf.load(CONF / "finetune" / f"{name}.yaml")
        return recipe.get("method") or method(recipe["defaults"][0])

    full = [name for name in config_groups()["finetune"] if method(name) == "full"]
    return {
        *(frozenset([("pipeline", "compress_adapters"), ("finetune", name)]) for name in full),
        *(frozenset([("prune", "explicit"), ("prune.scope", name)]) for name in free_groups()["prune.scope"]),
    }


def pairs() -> list[dict[str, str]]:
    """Choices in which any two members of two groups meet, but for those that do not go together."""

    def new(row: dict[str, str], group: str, name: str) -> set[frozenset[tuple[str, str]]]:
        """The pairs a row gets with one more member."""
        return {frozenset([(group, name), one]) for one in row.items()}

    chosen = free_groups()
    members = [(group, name) for group, names in chosen.items() for name in names]
    possible = {frozenset(two) for two in itertools.combinations(members, 2) if two[0][0] != two[1][0]} - apart()
    left, rows = dict.fromkeys(sorted(possible, key=sorted)), []
    while left:
        row = dict(sorted(next(iter(left))))
        for group, names in chosen.items():
            fit = [name for name in names if new(row, group, name) <= possible]
            if group not in row and fit:
                row[group] = max(fit, key=lambda name: sum(two in left for two in new(row, group, name)))
        for two in itertools.combinations(row.items(), 2):
            left.pop(frozenset(two), None)
        rows.append(row)
    return rows


def test_any_two_members_of_two_groups_are_valid_together(base: list[str]) -> None:
    for row in pairs():
        choice = [f"{group}={name}" for group, name in row.items()]
        own = [setting for name in row.values() for setting in NAMED.get(name, [])]
        own += base if row["model"] == "talks" else []
        if row["model"] != "talks" and row["data"] == "of_model":
            own.append(OWN_DATA)
        assert faults([*choice, *own]) == [], choice


def test_published_base_asks_for_data_and_takes_the_small_corpus_by_name_only() -> None:
    base = ["model=qwen2_audio_7b", "prune.ratio=0.25"]
    (fault,) = faults(base)
    assert fault.key == "data.path"
    assert "data.path=FOLDER" in fault.allowed
    assert faults([*base, "data.path=my-data"]) == []
    assert planned([*base, "data=talks"]).config.data.path == ROOT / "assets" / "talks"


@pytest.mark.parametrize("recipe", ["model_a", "model_b"])
def test_folder_of_one_s_own_takes_the_place_of_the_data_of_a_recipe(recipe: str) -> None:
    (fault,) = faults([f"experiments={recipe}", "data.path=my-data"])
    assert (fault.key, "data=folder" in fault.allowed) == ("data.path", True)
    assert faults([f"experiments={recipe}", "data=folder", "data.path=my-data"]) == []


@pytest.mark.parametrize("experiment", ["model_a", "model_b"])
def test_experiment_of_the_publication_is_valid_for_the_shipped_model(experiment: str, base: list[str]) -> None:
    assert faults([f"experiments={experiment}", "model=talks", "prune.ratio=0.5", *base]) == []


def fed_by(plan: Plan, name: str) -> dict[str, Any]:
    return dict(plan.pipeline.nodes[name].inputs)


def told(plan: Plan, name: str) -> tuple[Any, ...]:
    fields = fields_of(plan, name)
    return tuple(fields[key] for key in ("method", "epochs", "batch_size", "learning_rate", "weight_decay"))


def test_model_a_is_the_teacher_adapted_by_qlora_and_nothing_removed() -> None:
    plan = planned(["experiments=model_a", OWN_DATA])
    assert not plan.prunes
    assert {node.kind for node in map(plan.pipeline.nodes.get, plan.pipeline.required_nodes()) if node} & {
        Kind.RANKING
    } == set()
    assert list(plan.pipeline.nodes["compare"].inputs["scores"]) == ["teacher", "teacher-nf4", "healed-nf4"]
    assert told(plan, "teacher") == ("full", 3, 4, 1e-5, 0.001)
    assert told(plan, "heal_unpruned") == ("qlora", 4, 4, 1e-5, 0.0)
    assert fed_by(plan, "heal_unpruned") == {"model": "teacher", "train": "distill", "dev": "dev"}
    assert fed_by(plan, "quantize_unpruned") == {"model": "heal_unpruned"}


def test_line_of_data_that_the_readme_shows_has_the_keys_that_a_run_reads(base: list[str]) -> None:
    line = json.loads(README.read_text(encoding="utf-8").partition("```json\n")[2].partition("```")[0])
    columns = planned(["lang=de", "data.path=my-data", *base]).config.data.columns
    assert set(line) == set(columns.model_dump().values())


def test_a_split_is_made_without_what_splits_that_come_before_it_have_if_that_is_asked_for(base: list[str]) -> None:
    before = {"test": (), "selection": ("test",), "dev": ("selection", "test"), "train": ("dev", "selection", "test")}
    for how in ("refuse", "drop"):
        plan = planned([f"data.on_overlap={how}", *base])
        for split, others in before.items():
            read = {"without": {name: name for name in others}} if how == "drop" and others else {}
            assert fed_by(plan, split) == read
    assert [fault.key for fault in faults(["data.on_overlap=keep", *base])] == ["data.on_overlap"]


def test_control_is_healed_twice_where_the_pruned_model_is() -> None:
    twice = planned(["experiments=model_b", OWN_DATA, "stages.recover.epochs=2"])
    assert told(twice, "recover_unpruned") == told(twice, "recover") == ("qlora", 2, 8, 1e-5, 0.0)
    assert fed_by(twice, "recover_unpruned") == {"model": "heal_unpruned", "train": "mixture", "dev": "dev"}
    assert fed_by(twice, "quantize_unpruned") == {"model": "recover_unpruned"}


def test_distillation_at_every_token_is_the_control_s_too_and_needs_its_teacher(base: list[str]) -> None:
    plan = planned(["distill=online", "distill.tokens.hidden=0", *base])
    for name in ("heal", "heal_unpruned"):
        assert fields_of(plan, name)["distillation"]["hidden"] == 0
        assert fed_by(plan, name)["teacher"] == "teacher"
    (fault,) = faults(["distill=online", "distill.teacher=null", *base])  # of the healing and of the control
    assert (fault.key, "either teacher or logits" in str(fault)) == ("distill.teacher", True)


def test_cached_logits_are_the_teacher_s_for_the_data_that_is_healed_on(base: list[str]) -> None:
    plan = planned(["distill=cached", "distill.temperature=2", *base])
    assert fed_by(plan, "logits") == {
        "model": "teacher",
        "data": fed_by(plan, "heal")["train"],
        "features": "train_features",
    }
    assert fed_by(plan, "heal")["logits"] == "logits"
    assert fields_of(plan, "logits")["temperature"] == fields_of(plan, "heal")["distillation"]["temperature"] == 2


def test_recipe_of_a_second_healing_is_chosen_like_any_other(base: list[str]) -> None:
    plan = planned(["pipeline=compress_twice", "finetune@recover=full", *base])
    assert fields_of(plan, "recover")["method"] == "full"
    (fault,) = faults(["pipeline=compress_twice", "recover.epoch=2", *base])
    assert "did you mean 'epochs'" in fault.allowed
    (fault,) = faults(["finetune@recover=qlora", *base])
    assert "Did you mean to override one of finetune, finetune@teacher" in fault.allowed


def test_every_fault_is_listed_at_once(base: list[str]) -> None:
    found = faults(["prune.ratio=5", "prune.ration=0.5", "lang=fr", "nonsense=1", *base])
    assert sorted(fault.key for fault in found) == ["lang", "nonsense", "prune.ratio", "prune.ration"]


def test_faults_of_groups_of_the_layers_and_of_the_stages_are_listed_together(base: list[str]) -> None:
    wrong = ["prune.ratio=0.3", "prune.metric=meteor", "finetune.epochs=-1", "stages.heal.epoch=2", "data.limit=0",
             "stages.test.from=models/nope/at-all", "pipeline.outputs=[compar]"]  # fmt: skip
    assert {fault.key for fault in faults([*wrong, *base])} == {one.partition("=")[0] for one in wrong}


def test_unknown_group_member_is_answered_with_the_members() -> None:
    assert "must be one of de, zh" in faults(["lang=fr"])[0].allowed


def test_several_members_of_a_group_in_one_run_are_answered_with_the_sweep(base: list[str]) -> None:
    found = faults(["lang=[de,zh]", "quant=[nf4, int8]", "tracking=none,sqlite", *base])
    for fault, sweep in zip(found, ["lang=de,zh", "quant=nf4,int8", "tracking=none,sqlite"], strict=True):
        assert fault.key == sweep.partition("=")[0]
        assert ", ".join(config_groups()[fault.key]) in fault.allowed
        assert f"-m {sweep} " in fault.allowed


@pytest.mark.parametrize("way", [[], ["-m"]], ids=["run", "sweep"])
def test_list_of_members_is_refused_of_every_group(way: list[str], base: list[str]) -> None:
    named = [name for name in config_groups() if name != "finetune"]
    lists = [f"{group}=[{config_groups()[group][0]}]" for group in named]
    assert [fault.key for fault in faults([*way, *lists, *base])] == named


def test_list_of_recipes_is_refused_of_the_teacher_and_the_healing(base: list[str]) -> None:
    found = faults(["finetune=[full]", "finetune@teacher=[full,qlora]", *base])
    for fault, sweep in zip(found, ["finetune=full", "finetune@teacher=full,qlora"], strict=True):
        assert fault.key == sweep.partition("=")[0]
        assert f"-m {sweep} " in fault.allowed


def test_several_values_of_a_setting_in_one_run_are_answered_with_the_sweep(base: list[str]) -> None:
    (fault,) = faults(["prune.ratio=0.25,0.5", *base])
    assert "-m prune.ratio=0.25,0.5 " in fault.allowed


def test_sweep_that_comes_to_no_job_is_told(base: list[str]) -> None:
    assert faults(["-m", "lang=glob(*)", *base]) == []
    (fault,) = faults(["-m", "lang=glob(x*)", *base])
    assert "no job" in fault.allowed
    assert [fault.key for fault in faults(["-m", "prune.ratio=interval(0,1)", *base])] == ["prune.ratio"]


def test_unknown_recipe_of_the_teacher_is_answered_with_the_members_once(base: list[str]) -> None:
    assert [fault.allowed for fault in faults(["finetune@teacher=ful", *base])] == [
        f"must be one of {', '.join(config_groups()['finetune'])} (did you mean 'full'?)"
    ]


@pytest.mark.parametrize(
    ("scope", "layers", "removable"),
    [("decoder", {"decoder": 16}, 14), ("encoder", {"encoder": 6}, 4), ("both", {"decoder": 16, "encoder": 6}, 18)],
)
def test_ratio_that_is_no_whole_number_of_the_layers_of_the_scope_is_answered_with_those_that_are(
    scope: str, layers: dict[Stack, int], removable: int, base: list[str]
) -> None:
    (fault,) = faults([f"prune.scope={scope}", "prune.ratio=0.4", *base])
    valid = fault.allowed.partition(": ")[2].split(", ")
    total = sum(layers.values())
    assert (fault.key, valid) == ("prune.ratio", [f"{count / total:.4g}" for count in range(1, removable + 1)])
    group = planned([f"prune.scope={scope}", f"prune.ratio={valid[-1]}", *base]).pruning
    for ratio in valid:
        assert group.model_copy(update={"ratio": float(ratio)}).fill_in(layers)[1] == []


AT_FAULT: list[tuple[list[str], str, Any]] = [
    # A group's own checks: of two settings that do not go together the one that was set is named.
    (["metrics.names=[bleu]", "lang=zh"], "metrics.names", ["bleu"]),
    (["metrics.retention=chrf", "metrics.names=[bleu,chrf_pp]"], "metrics.retention", "chrf"),
    (["distill=cached", "distill.tokens.temperature=2"], "distill.tokens.temperature", 2),
    (["finetune.method=lora"], "finetune.method", "lora"),
    (["finetune=qlora", "finetune.lora=null"], "finetune.lora", None),
    (["finetune=qlora", "finetune.method=full"], "finetune.method", "full"),
    (["finetune=lora", "finetune.parts=[embedding]"], "finetune.parts", ["embedding"]),
    (["finetune.parts=[decodr]"], "finetune.parts", "decodr"),
    (["distill.decoding.method=beam"], "distill.decoding.method", "beam"),
    (["distill.decoding.method=bean"], "distill.decoding.method", "bean"),
    (["distill.decoding.beams=4"], "distill.decoding.beams", 4),
    (["distill.filters.repetition=2"], "distill.filters.repetition", 2),
    (["distill.filters.langauge=true"], "distill.filters.langauge", True),
    (["distill.filters.length_ratio.de=[2,1]"], "distill.filters.length_ratio.de", [2, 1]),
    (["distill.filters.length_ratio={zh: [1, 2]}", "lang=de"], "distill.filters.length_ratio", {"zh": [1, 2]}),
    (["quant.parts.encoder=int8"], "quant.parts.encoder", "int8"),
    (["quant.parts.decodr=nf4"], "quant.parts.decodr", "nf4"),
    (["quant.parts={encoder: bfloat16, projector: bfloat16, decoder: bfloat16}"], "quant.parts", None),
    (["prune.layers_removed=3"], "prune.layers_removed", 3),
    (["lang.code=xx"], "lang.code", "xx"),
    (["lang.code=german"], "lang.code", "german"),
    (["lang.code=zh--TW"], "lang.code", "zh--TW"),
    # What follows another setting is told of that one; a list, and a choice between types, once.
    (["seeds=[1,a]"], "seeds", "a"),
    (["seeds=[1,true]"], "seeds", True),
    (["seeds=[-1]"], "seeds", -1),
    (["seeds=3"], "seeds", 3),
    (["resources.decode_batch=0"], "resources.decode_batch", 0),
    (["resources.unpack=5"], "resources.unpack", 5),
    # A reference to what is not there is told of the key that it stands under.
    (["data.path=${y}"], "data.path", "${y}"),
    (["data.path=a${y}"], "data.path", "a${y}"),
    (["data.path=${model.dta}"], "data.path", "${model.dta}"),
    (["store.dir=${y}/store"], "store.dir", "${y}/store"),
    (["finetune.epochs=${y}"], "finetune.epochs", "${y}"),
    (["prune.ratio=${y}"], "prune.ratio", "${y}"),
    (["metrics.names=[bleu, '${y}']"], "metrics.names", ["bleu", "${y}"]),
    # Types are those of YAML.
    (["finetune.seed=true"], "finetune.seed", True),
    (["finetune.epochs=true"], "finetune.epochs", True),
    (["finetune.epochs=2.5"], "finetune.epochs", 2.5),
    (["data.limit='3'"], "data.limit", "3"),
    (["fail_fast=1"], "fail_fast", 1),
    (["data.path=[a]"], "data.path", ["a"]),
    (["lang.name=null"], "lang.name", None),
]  # fmt: skip

FURTHER: list[list[tuple[list[str], str, Any]]] = [
    # What is taken into several groups.
    [(["seed=true"], "seed", True)],
    [(["stages.heal.epochs=${y}"], "stages.heal.epochs", "${y}")],
    # Those of a stage, by its name or by the group that its settings are taken from.
    [
        (["pipeline=compress_adapters", "finetune=full"], "finetune.method", "full"),
    ],
    [
        (["stages.importance.screen=2", "stages.importance.metric=loss"], "stages.importance.screen", 2),
        (
            ["stages.quantize.quant={method: nf4, parts: {encoder: int8}}"],
            "stages.quantize.quant.parts.encoder",
            "int8",
        ),
        (["stages.heal.inputs.dev=null", "finetune.patience=1"], "stages.heal.inputs.dev", None),
    ],
    [
        (["pipeline=base", "stages.pretrain.encoder.width=10"], "stages.pretrain.encoder.width", 10),
        (["pipeline=base", "stages.spoken_de.part=test"], "stages.spoken_de.part", "test"),
    ],
    [
        (["pipeline=base", "stages.pretrain.decoder.heads=7"], "stages.pretrain.decoder.heads", 7),
    ],
]

MISPLACED = [
    # Settings that a way of pruning has no use for, or cannot do with.
    (["prune=greedy", "prune.seed=3"], "prune.seed=3: no such key"),
    (["prune=random", "prune.search=screened"], "prune.search=screened: no such key"),
    (["prune.search=screened", "prune.metric=loss"], "prune.metric=loss: the loss"),
    (["prune=greedy_loss", "prune.search=screened"], "prune.search=screened: the loss"),
    (["prune=interleaved", "prune.screen=3"], "prune.screen=3: prune.search=exact"),
    (["prune.search=screened", "prune.screen=1"], "prune.screen=1: must be"),
    (["prune.search=screend"], "prune.search=screend: must be"),
    (["prune.search=null"], "prune.search=null: must be"),
    (["prune=random", "prune.metric=bleu"], "prune.metric=bleu: no such key"),
    (["prune=random", "prune.seed=null"], "prune.seed=null: must be"),
    (["prune.metric=meteor"], "prune.metric=meteor: loss, or one of"),
    (["prune=explicit"], "prune.layers=[]: the layers to remove"),
    (["prune=explicit", "prune.layers=[0,3,16]"], "prune.layers=[0, 3, 16]: 0, 16 cannot"),
    (["prune=explicit", "prune.encoder_layers=[5]"], "prune.encoder_layers=[5]: 5 cannot"),
    (["prune=explicit", "prune.layers=[2,5]", "prune.ratio=0.5"], "prune.ratio=0.5: must be 0.125"),
]  # fmt: skip


def together() -> list[list[tuple[list[str], str]]]:
    """The faults, as what is given and how what is told begins, in commands of several: a group knows nothing of the
    others, so a command has one case of each; those of :data:`FURTHER` are put together as they stand there."""

    def begins(cases: list[tuple[list[str], str, Any]]) -> list[tuple[list[str], str]]:
        return [(given, key if value is None else str(Fault(key, value, ""))) for given, key, value in cases]

    commands: list[list[tuple[list[str], str]]] = []
    sets: list[set[str]] = []
    for given, told in [*begins(AT_FAULT), *MISPLACED]:
        own = {re.split(r"[.=]", one)[0] for one in given}
        number = next((number for number, others in enumerate(sets) if not others & own), len(sets))
        if number == len(sets):
            commands.append([])
            sets.append(set())
        commands[number].append((given, told))
        sets[number] |= own
    return [*commands, *map(begins, FURTHER)]


@pytest.mark.parametrize("cases", together())
def test_every_fault_is_told_once_of_the_setting_that_was_set_with_its_value(
    cases: list[tuple[list[str], str]], base: list[str]
) -> None:
    given = dict.fromkeys(argument for arguments, _ in cases for argument in arguments)
    found = sorted(map(str, faults([*given, *base])))
    begins = sorted(told for _, told in cases)
    assert len(found) == len(begins), found
    for fault, told in zip(found, begins, strict=True):
        assert fault.startswith(told)


def test_text_with_the_sign_of_a_reference_can_be_written(base: list[str]) -> None:
    assert str(planned([r"data.path='\${y}'", *base]).config.data.path) == "${y}"


@pytest.mark.parametrize(
    ("arguments", "key", "group"),
    [
        (["prune.method=explicit"], "prune.method", "prune=explicit"),
        (["prune.method=explicit", "prune.layers=[2,5]"], "prune.method", "prune=explicit"),
        (["prune=random", "prune.method=angular"], "prune.method", "prune=angular"),
        (["prune=middle", "prune.method=block_influence"], "prune.method", "prune=block_influence"),
        (["prune.method=explcit"], "prune.method", "did you mean 'explicit'?"),
        (["-m", "prune.method=explicit", "prune.ratio=0.25,0.5"], "prune.method", "prune=explicit"),
        (["quant.method=int8"], "quant.method", "quant=int8"),
    ],
)  # fmt: skip
def test_method_that_is_not_that_of_the_group_chosen_is_one_fault_that_says_which_to_choose(
    arguments: list[str], key: str, group: str, base: list[str]
) -> None:
    (fault,) = faults([*arguments, *base])
    assert fault.key == key
    assert group in fault.allowed
    assert all(member in fault.allowed for member in config_groups()[key.partition(".")[0]])


def test_method_is_that_of_the_member_whatever_the_member_is_called(base: list[str]) -> None:
    assert faults(["prune=greedy_bleu", *base]) == []
    assert faults(["prune=greedy_bleu", "prune.method=greedy", *base]) == []


def test_method_that_a_recipe_sets_beside_the_group_is_told_with_what_else_is_wrong(
    tmp_path: Path, base: list[str]
) -> None:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yaml").write_text("# @package _global_\nprune: {method: middle}\n")
    arguments = [f"--config-dir={tmp_path}", "experiments=mine", "finetune.epochs=true"]
    assert [fault.key for fault in faults([*arguments, *base])] == ["prune.method", "finetune.epochs"]


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        (["hydra.run.dir=new/out", "store.dir=new"], ["store.dir"]),
        (["hydra.run.dir=new", "store.dir=new", "finetune.epochs=true"], ["store.dir", "finetune.epochs"]),
        (["-m", "hydra.sweep.dir=new/sweep", "store.dir=new", "seed=1,2"], ["store.dir"]),
        (["store.dir=outputs"], ["store.dir"]),
        (["hydra.run.dir=new/out", "store.dir=new/store"], []),
        (["hydra.run.dir=new/out", "store.dir=new/out/store"], []),
        (["-m", "hydra.run.dir=new/out", "store.dir=new", "seed=1,2"], []),
        (["hydra.run.dir=new/${nothing}", "store.dir=new/other"], []),
        (["hydra.run.dir=made/out", "store.dir=made"], []),
    ],
)  # fmt: skip
def test_store_that_the_folder_of_the_run_would_be_in_is_refused_unless_it_is_one_already(
    arguments: list[str], keys: list[str], base: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mark_as_store(tmp_path / "made")
    assert [fault.key for fault in faults([*arguments, *base])] == keys
    assert [one.name for one in tmp_path.iterdir()] == ["made"]


def test_whole_number_may_be_written_with_an_exponent(base: list[str]) -> None:
    assert planned(["data.limit=1e3", *base]).config.data.limit == 1000


def test_hub_id_without_its_number_of_encoder_layers_is_refused_only_where_they_count() -> None:
    unknown = ["model=qwen2_audio_7b", OWN_DATA, "model.encoder_layers=null"]
    assert faults(unknown) == []
    assert [fault.key for fault in faults(["prune.scope=both", *unknown])] == ["model.encoder_layers"]


@pytest.mark.parametrize("prune", ["greedy", "greedy_bleu", "interleaved"])
def test_screened_search_says_how_many_are_left_and_an_exact_one_has_no_word_of_it_in_its_identity(
    prune: str, base: list[str]
) -> None:
    assert "screen" not in fields_of(planned([f"prune={prune}", *base]), "importance.1")
    screened = [f"prune={prune}", "prune.search=screened", *base]
    plan = planned(screened)
    assert plan.values["prune"]["screen"] == fields_of(plan, "importance.1")["screen"] == SCREEN
    assert fields_of(planned([*screened, "prune.screen=3"]), "importance.8")["screen"] == 3


def test_ratio_of_explicit_layers_follows_from_them(base: list[str]) -> None:
    plan = planned(["prune=explicit", "prune.layers=[2,5]", *base])
    assert plan.pruning.ratio == 2 / 16
    assert fields_of(plan, "importance")["decoder"] == (2, 5)


def test_what_needs_no_data_takes_none(base: list[str]) -> None:
    for arguments in (["prune=middle"], ["prune=random"], ["prune=explicit", "prune.layers=[2]"]):
        assert fed_by(planned([*arguments, *base]), "importance") == {}


def test_layers_are_chosen_on_the_selection_split_alone(base: list[str]) -> None:
    for prune, stages in (
        ("greedy", ["features", "importance.1"]),
        ("block_influence", ["similarity"]),
        ("angular", ["similarity"]),
    ):
        for stage in stages:
            inputs = fed_by(planned([f"prune={prune}", *base]), stage)
            assert inputs["data"] == "selection"
            assert inputs.items() <= {"model": "teacher", "data": "selection", "features": "features"}.items()


def test_rounds_of_a_search_share_features_while_they_share_an_encoder(base: list[str]) -> None:
    plan = planned(["prune=greedy", *base])
    assert {fed_by(plan, f"importance.{n}")["features"] for n in range(1, 9)} == {"features"}
    for scope in ("encoder", "both"):
        plan = planned([f"prune.scope={scope}", "prune.ratio=0.5", *base])
        assert "features" not in fed_by(plan, "importance.1")
        assert "features" not in plan.pipeline.required_nodes()
    plan = planned(["prune=interleaved", "prune.every=3", *base])
    assert ["features" in fed_by(plan, f"importance.{n}") for n in range(1, 9)] == [True] * 3 + [False] * 5


SHARED = {"features": "heal_features", "dev_features": "dev_features"}


def heard_by(plan: Plan, name: str) -> dict[str, Any]:
    """Whose states of the audio it reads."""
    return {key: one for key, one in fed_by(plan, name).items() if key.endswith("features")}


def test_healing_the_control_and_the_translations_share_what_the_teacher_s_encoder_makes_of_the_audio(
    base: list[str],
) -> None:
    for arguments in ([], ["prune=explicit", "prune.layers=[2]"], ["prune=middle"]):
        plan = planned([*arguments, *base])
        assert heard_by(plan, "heal") == heard_by(plan, "heal_unpruned") == SHARED
        assert heard_by(plan, "translations") == heard_by(plan, "logits") == {"features": "train_features"}
        assert heard_by(plan, "teacher") == {}
        assert {name: fed_by(plan, name) for name in ("train_features", "heal_features", "dev_features")} == {
            "train_features": {"model": "teacher", "data": "train"},
            "heal_features": {"model": "teacher", "data": "train"},
            "dev_features": {"model": "teacher", "data": "dev"},
        }
        assert fields_of(plan, "train_features") == fields_of(plan, "heal_features")  # so that they are one result
    plan = planned(["model=qwen2_audio_7b", OWN_DATA, "prune.ratio=0.25"])
    assert [fields_of(plan, name)["dtype"] for name in ("train_features", "heal_features")] == ["bfloat16", "float32"]


@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        (["finetune=qlora", "finetune.parts=[decoder]"], {}),  # its encoder is in 4 bits
        (["stages.heal.parts=[encoder,decoder]"], {}),
        (["stages.heal.precision=bfloat16"], {}),
        (["finetune=lora", "finetune.parts=[decoder]", "finetune.precision=bfloat16-mixed"], {}),
        (["finetune=lora", "finetune.parts=[decoder]"], {"features": "heal_features"}),
        (["finetune=lora", "finetune.parts=[decoder]", "finetune.patience=1"], SHARED),
        (["finetune.augment=true"], {"dev_features": "dev_features"}),
        (["stages.heal.inputs.dev=null"], {"features": "heal_features"}),
        (["finetune.precision=bfloat16-mixed"], SHARED),
        (["distill=online"], SHARED),
    ],
)
def test_healing_that_hears_otherwise_reads_no_features_and_has_none_made(
    arguments: list[str], read: dict[str, str], base: list[str]
) -> None:
    plan = planned([*arguments, *base])
    assert heard_by(plan, "heal") == read
    others = heard_by(plan, "heal_unpruned")
    needed = {name for name in plan.pipeline.required_nodes() if name in SHARED.values()}
    assert needed == {*read.values(), *others.values()}


def test_model_that_may_have_another_encoder_than_the_teacher_reads_none_of_its_features(base: list[str]) -> None:
    interleaved = ["prune=interleaved", "prune.every=3"]
    for arguments in (["prune.scope=both"], ["prune.scope=encoder"], [*interleaved, "prune.between.parts=[encoder]"]):
        plan = planned([*arguments, "prune.ratio=0.5", *base])
        assert heard_by(plan, "heal") == {}
        assert heard_by(plan, "heal_unpruned") == SHARED
    plan = planned(["prune=explicit", "prune.encoder_layers=[3]", *base])
    assert heard_by(plan, "heal") == {}
    plan = planned([*interleaved, *base])
    assert [heard_by(plan, name) for name in ("between.1", "between.2", "heal")] == [SHARED] * 3
    plan = planned(["pipeline=compress_twice", "finetune@recover=full", *base])
    # The first healing may have trained it.
    assert [heard_by(plan, name) for name in ("recover", "recover_unpruned")] == [{}, {}]


def test_adapters_kept_apart_read_them_as_well(base: list[str]) -> None:
    plan = planned(["pipeline=compress_adapters", "finetune=lora", "finetune.parts=[decoder]", *base])
    assert heard_by(plan, "adapter") == SHARED


def test_interleaved_rounds_go_on_from_the_model_trained_in_between(base: list[str]) -> None:
    plan = planned(["prune=interleaved", "prune.every=3", "prune.between.epochs=4", *base])
    assert [fed_by(plan, f"importance.{n}")["model"] for n in range(1, 9)] == [
        *["teacher"] * 3, *["between.1"] * 3, *["between.2"] * 2
    ]  # fmt: skip
    assert [fed_by(plan, f"prune.{n}")["ranking"] for n in (1, 2, 3)] == [
        "importance.3",
        "importance.6",
        "importance.8",
    ]
    assert fed_by(plan, "heal")["model"] == "prune.3"
    assert fields_of(plan, "between.1")["epochs"] == 4
    assert "between.2" in plan.pipeline.required_nodes()
    assert "between.3" not in plan.pipeline.required_nodes()


def test_chain_asked_for_is_its_last_link(base: list[str]) -> None:
    assert planned(["prune.ratio=0.25", "pipeline.outputs=[importance]", *base]).pipeline.outputs == ["importance.4"]


def test_recipe_of_the_training_in_between_is_chosen_like_any_other(base: list[str]) -> None:
    plan = planned(["prune=interleaved", "finetune@prune.between=qlora", *base])
    assert (fields_of(plan, "between.1")["method"], fields_of(plan, "heal")["method"]) == ("qlora", "full")


def test_unknown_key_of_a_stage_is_answered_with_the_nearest(base: list[str]) -> None:
    found = {fault.key: fault.allowed for fault in faults(["stages.heal.epoch=2", *base])}
    assert "did you mean 'epochs'" in found["stages.heal.epoch"]


def test_every_unknown_stage_is_answered_with_the_nearest(base: list[str]) -> None:
    unknown = {"stages.heel.epochs=2": "heal", "stages.teachr.from=assets": "teacher", "stages.quantise={}": "quantize"}
    found = faults([*unknown, *base])
    assert len(found) == len(unknown)
    for fault, (given, near) in zip(found, unknown.items(), strict=True):
        assert fault.key.startswith(re.split("[.=]", given.removeprefix("stages."))[0], len("stages."))
        assert f"did you mean '{near}'" in fault.allowed


@pytest.mark.parametrize(
    "keys",
    [
        ["stages"],
        ["stages.heal.inputs.model"],  # of an input by itself only the whole graph knows
        ["force", "stages.heel", "stages.heal.inputs", "stages.teacher.like",
         "stages.translations.settings", "stages.compare.labels"],
    ],
)  # fmt: skip
def test_wiring_of_the_wrong_form_is_told(keys: list[str], base: list[str]) -> None:
    assert {fault.key for fault in faults([*(f"{key}=2" for key in keys), *base])} >= set(keys)


def test_group_without_a_member_is_told(base: list[str]) -> None:
    assert [fault.key for fault in faults(["quant=null", *base])] == ["quant"]


def test_chain_of_no_links_is_told(base: list[str]) -> None:
    assert "stages.importance.chain" in {fault.key for fault in faults(["stages.importance.chain=0", *base])}


def test_wrong_value_of_a_stage_is_told(base: list[str]) -> None:
    assert "stages.heal.epochs" in {fault.key for fault in faults(["stages.heal.epochs=-1", *base])}


@pytest.mark.parametrize(("override", "epochs"), [("stages.heal.epochs=3", 3), ("finetune.epochs=3", 3), ("seed=0", 1)])
def test_recipe_of_a_stage_is_its_group_with_the_stage_s_own_settings_over_it(
    override: str, epochs: int, base: list[str]
) -> None:
    plan = planned([override, *base])
    assert [fields_of(plan, name)["epochs"] for name in ("heal", "heal_unpruned", "teacher")] == [epochs, epochs, 1]


def test_decoding_and_filters_of_the_teacher_reach_their_stages(base: list[str]) -> None:
    plan = planned(
        ["distill=filtered", "distill.decoding={method: beam, beams: 4}", "distill.filters.chrf=null", *base]
    )
    assert fields_of(plan, "translations")["decoding"]["beams"] == 4
    assert fields_of(plan, "distill")["filters"]["chrf"] is None
    assert fields_of(plan, "distill")["filters"]["repetition"] == 0.3


def test_list_that_names_one_twice_is_refused_by_its_key(base: list[str]) -> None:
    twice = {
        "metrics.names": "bleu", "pipeline.outputs": "disjoint", "force": "heal", "finetune.parts": "decoder",
        "seeds": "1",
    }  # fmt: skip
    more = {"metrics.names": ",chrf_pp,chrf"}
    found = {
        fault.key: fault.allowed
        for fault in faults([*(f"{key}=[{one},{one}{more.get(key, '')}]" for key, one in twice.items()), *base])
    }
    assert found.keys() == twice.keys()
    assert all(one in found[key] for key, one in twice.items())


def test_language_whose_score_needs_a_package_is_refused_with_the_config(
    base: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    (fault,) = faults(["lang.code=ja", "lang.name=Japanese", *base])
    assert fault.key == "lang.code"
    assert "sacrebleu[ja]" in fault.allowed
    names = ["metrics.names=[chrf]", "lang.metric=chrf"]
    assert faults(["lang.code=ja", "lang.name=Japanese", *names, *base]) == []


def test_seeds_without_brackets_are_answered_with_them(base: list[str]) -> None:
    (fault,) = faults(["seeds=1,2", *base])
    assert "seeds=[1,2]" in fault.allowed


def test_seeds_are_swept_like_any_other_key(base: list[str]) -> None:
    assert faults(["-m", "seeds=[1,2],[3,4]", *base]) == []


def test_composed_recipe_is_written_once(base: list[str]) -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        printed = OmegaConf.to_yaml(compose("config", base))
    assert printed.count("weight_decay") == 2  # one a group: the teacher's and the healing's


def test_labels_of_the_systems_follow_the_quantizer(base: list[str]) -> None:
    for method in ("nf4", "int8"):
        scores = planned([f"quant={method}", *base]).pipeline.nodes["compare"].inputs["scores"]
        assert list(scores) == ["teacher", f"teacher-{method}", f"healed-{method}", f"pruned-healed-{method}"]


def test_part_can_be_left_in_bfloat16_by_its_name(base: list[str]) -> None:
    plan = planned(["quant=int8", "quant.parts.encoder=bfloat16", *base])
    parts = {"encoder": "bfloat16", "projector": "int8", "decoder": "int8"}
    assert [fields_of(plan, name)["quant"]["parts"] for name in ("quantize", "quantize_unpruned")] == [parts, parts]


def test_force_of_an_unknown_stage_is_answered_with_the_nearest(base: list[str]) -> None:
    (fault,) = faults(["force=[heel]", *base])
    assert (fault.key, "did you mean 'heal'" in fault.allowed) == ("force", True)


def test_missing_folder_that_stands_in_for_a_stage_is_told(base: list[str]) -> None:
    (fault,) = faults(["stages.teacher.from=/no/such/folder", *base])
    assert (fault.key, fault.allowed) == ("stages.teacher.from", "no such folder")


def test_missing_model_folder_is_told() -> None:
    assert [fault.key for fault in faults(["model.path=/no/such/folder"])] == ["model.path"]


@pytest.mark.parametrize("argument", ["nonsense", "prune.ratio"])
def test_argument_that_is_no_assignment_is_told(argument: str, base: list[str]) -> None:
    assert [fault.key for fault in faults([argument, *base])] == [argument]


def test_faults_of_every_job_of_a_sweep_are_told(base: list[str]) -> None:
    found = faults(["-m", "prune.ratio=0.5,0.3,5", *base])
    assert [fault.value for fault in found] == [0.3, 5]


def test_plus_sign_does_not_smuggle_an_unknown_key_in(base: list[str]) -> None:
    assert "prune.ration" in {fault.key for fault in faults(["+prune.ration=0.5", *base])}


def commands() -> list[str]:
    """Every ``python -m stc.run`` line in the bash fences of the pages, continued lines joined, and of those set off by
    four spaces every one that leaves nothing open (``…``)."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.exists())
    fences = re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = "".join(fences).replace("\\\n", " ").splitlines()
    lines += [
        line for line in re.findall(r"^    (python -m stc\.run .*)$", text, flags=re.MULTILINE) if "…" not in line
    ]
    return [line for line in lines if re.search(r"\bpython3? -m stc\.run\b", line.partition("#")[0])]


def test_pages_show_commands() -> None:
    assert len(commands()) > 50


def test_language_of_one_s_own_is_composed_as_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: list[str]
) -> None:
    section = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").partition("## A language of your own")[2]
    language = section.partition("```yaml\n")[2].partition("```")[0]
    (command,) = (line for line in section.partition("```bash\n")[2].partition("```")[0].splitlines() if ".run" in line)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my-conf" / "lang" / "fr.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(language)
    arguments = shlex.split(command)
    (job,) = compose_jobs(check_arguments([*arguments[arguments.index("stc.run") + 1 :], *base]))
    assert job.plan.config.lang.code == "fr"
    assert job.plan.config.data.columns is not None
    assert job.plan.config.data.columns.target == "text_fr"


@pytest.mark.parametrize("command", dict.fromkeys(line for line in commands() if "--config-dir" not in line))
def test_command_of_a_page_is_valid(command: str, a_model: Path, base: list[str]) -> None:
    """A folder the reader is to have (``….from=`` or ``model.path=``) is stood in for; all else is as written."""
    words = shlex.split(command, comments=True)
    arguments = list(itertools.takewhile(lambda word: word not in SHELL, words[words.index("stc.run") + 1 :]))
    for position, argument in enumerate(arguments):
        key, _, value = argument.partition("=")
        if (key == "model.path" or key.endswith(".from")) and not (os.path.isdir(value) or value == "null"):
            arguments[position] = f"{key}={a_model}"
    if not any(argument.startswith(("model=", "model.path=")) for argument in arguments):
        arguments += base
    if "metrics=comet" in arguments:
        arguments += NAMED["comet"]
    left = expand_jobs(check_arguments(split_plan_option(arguments)[1]))
    met: set[str] = set()
    # Of a sweep as many jobs as have every choice among them; any two go together, as is tested above.
    while new := max((set(job) - met for job in left), key=len):
        job = next(job for job in left if set(job) - met == new)
        valid(*(one for one in job if not one.startswith("hydra")))
        met.update(job)


@cache
def valid(*job: str) -> None:
    """Raise an error unless a job is valid; pages have many in common."""
    compose_jobs(job)


@pytest.mark.parametrize("recipe", ["published_full", "published_qlora"])
def test_published_recipes_train_float32_weights_under_bfloat16(recipe: str) -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        stated = compose("config", [f"finetune={recipe}"]).finetune
    assert (stated.precision, stated.learning_rate, stated.schedule) == ("bfloat16-mixed", 1e-5, "cosine")
