"""The graph: what does not fit is refused, and only what is missing is made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from stc.errors import ConfigError, InputError, ModelError
from stc.models.hub import HubModel
from stc.models.qwen2_audio import Qwen2Audio
from stc.pipeline.graph import Node, Pipeline
from stc.pipeline.runner import Evaluation, NodeResult
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store import Store
from stc.store.artifact import Kind

RAN: list[str] = []
"""The names toy stages ran under, in order."""


class Source(Stage):
    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {}
    GIVES: ClassVar[Kind] = Kind.MODEL
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset({"where"})

    label: str
    number: int = 0
    where: Path | None = None

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        RAN.append(self.label)
        (out_dir / "text").write_text(f"{self.label} {self.number}")
        return {}


class Follow(Source):
    TAKES: ClassVar[Mapping[str, StageInput]] = {"model": StageInput(Kind.MODEL)}

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        RAN.append(self.label)
        (out_dir / "text").write_text((inputs["model"].path / "text").read_text() + f" {self.label}")
        return {}


class Picky(Follow):
    def invalid_inputs(self, given: Collection[str]) -> Iterator[tuple[str, str]]:
        if self.number and "model" in given:
            yield "model", "a number needs no model"


class Rank(Stage):
    """One link of a chain; its facts say which layers are gone, and ``removes`` which one goes here."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"previous": StageInput(Kind.RANKING, optional=True)}
    GIVES: ClassVar[Kind] = Kind.RANKING

    removes: tuple[int, ...]

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        gone = list(inputs["previous"].facts["order"]) if "previous" in inputs else []
        order = [*gone, self.removes[len(gone)]]
        RAN.append(f"rank {order}")
        (out_dir / "ranking.json").write_text(json.dumps(order))
        return {"order": order, "layers_removed": sorted(order)}


class Cut(Source):
    TAKES: ClassVar[Mapping[str, StageInput]] = {"ranking": StageInput(Kind.RANKING, by=("layers_removed",))}


class Collect(Source):
    TAKES: ClassVar[Mapping[str, StageInput]] = {"models": StageInput(Kind.MODEL, many=True)}
    GIVES: ClassVar[Kind] = Kind.COMPARISON


class Fails(Follow):
    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        (out_dir / "text").write_text("half")
        raise RuntimeError("no memory left")


def node(name: str, stage: Stage, **inputs: Any) -> Node:
    return Node(name, stage.GIVES, type(stage).__name__.lower(), stage, inputs)


def pipeline(nodes: Iterable[Node], *outputs: str) -> Pipeline:
    return Pipeline({one.name: one for one in nodes}, outputs)


def line(b_number: int = 0) -> list[Node]:
    """a → b → c, and d, which nothing needs."""
    return [
        node("a", Source(label="a")),
        node("b", Follow(label="b", number=b_number), model="a"),
        node("c", Follow(label="c"), model="b"),
        node("d", Follow(label="d"), model="a"),
    ]


Evaluate = Callable[..., list[NodeResult]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    RAN.clear()
    return Store(tmp_path / "store")


@pytest.fixture
def evaluate(store: Store, ctx: Context) -> Evaluate:
    """``evaluate(nodes, *outputs, force=…)`` with a store opened anew, as another run would."""

    def evaluated(nodes: Iterable[Node], *outputs: str, force: Sequence[str] = ()) -> list[NodeResult]:
        RAN.clear()
        fresh = Store(store.root)
        return Evaluation(
            pipeline(nodes, *outputs), fresh, lambda name, scratch: replace(ctx, scratch=scratch), force=force
        ).run()

    return evaluated


def identities(done: Iterable[NodeResult]) -> dict[str, str]:
    return {one.name: one.artifact.identity for one in done}


@pytest.mark.parametrize(
    ("consumer", "key", "says"),
    [
        (node("c", Follow(label="c"), model="bb"), "stages.c.inputs.model", "no such stage"),
        (node("c", Follow(label="c"), modell="a"), "stages.c.inputs.modell", "did you mean 'model'"),
        (node("c", Follow(label="c"), model="r"), "stages.c.inputs.model", "gives a ranking, not a model"),
        (node("c", Follow(label="c")), "stages.c.inputs.model", "needs a model here"),
        (node("c", Follow(label="c"), model={"x": "a"}), "stages.c.inputs.model", "the name of a stage"),
        (node("c", Collect(label="c"), models="a"), "stages.c.inputs.models", "a mapping from label to stage"),
        (node("c", Collect(label="c"), models={"x": "r"}), "stages.c.inputs.models.x", "gives a ranking"),
        (node("c", Follow(label="c"), model="c"), "stages.c.inputs", "c → c"),
    ],
    ids=["unknown stage", "unknown input", "wrong kind", "missing", "not many", "many", "label of wrong kind", "self"],
)
def test_input_that_does_not_fit_is_refused_naming_its_consumer(consumer: Node, key: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline([node("a", Source(label="a")), node("r", Rank(removes=(1,))), consumer], "c")
    assert [fault.key for fault in caught.value.faults if says in fault.allowed or says in str(fault.value)] == [key]


def test_cycle_is_refused_with_its_whole_circle() -> None:
    with pytest.raises(ConfigError, match=r"b → c → b|c → b → c"):
        pipeline([node("b", Follow(label="b"), model="c"), node("c", Follow(label="c"), model="b")], "c")


def test_unknown_output_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'compare'"):
        pipeline([node("compare", Source(label="a"))], "compere")


def test_all_misfitting_inputs_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline([node("b", Follow(label="b")), node("c", Follow(label="c"), model="x")], "c")
    assert {fault.key for fault in caught.value.faults} == {"stages.b.inputs.model", "stages.c.inputs.model"}


def test_only_what_the_output_rests_on_runs(evaluate: Evaluate) -> None:
    evaluate(line(), "b")
    assert RAN == ["a", "b"]


def test_input_shared_by_two_outputs_is_made_once(evaluate: Evaluate) -> None:
    evaluate(line(), "b", "d")
    assert RAN == ["a", "b", "d"]


def test_second_evaluation_takes_everything_from_the_store(evaluate: Evaluate) -> None:
    first = evaluate(line(), "c")
    second = evaluate(line(), "c")
    assert (RAN, [one.cached for one in second]) == ([], [True] * 3)
    assert identities(first) == identities(second)


class Logs(Source):
    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        ctx.log({"loss": 2.5}, step=10)
        return super().run(inputs, out_dir, ctx)


def test_curve_of_a_stage_is_there_whether_it_ran_or_was_found_or_was_not_looked_at(evaluate: Evaluate) -> None:
    nodes = [node("a", Logs(label="a")), node("b", Follow(label="b"), model="a")]
    for outputs in (["b"], ["b"], ["a", "b"]):
        assert evaluate(nodes, *outputs)[0].curves == {"loss": [[10, 2.5]]}


def test_changed_setting_reruns_its_stage_and_what_follows(evaluate: Evaluate) -> None:
    evaluate(line(), "c", "d")
    evaluate(line(b_number=1), "c", "d")
    assert RAN == ["b", "c"]


def test_setting_that_is_not_identity_reruns_nothing(evaluate: Evaluate, tmp_path: Path) -> None:
    evaluate([node("a", Source(label="a", where=tmp_path / "here"))], "a")
    evaluate([node("a", Source(label="a", where=tmp_path / "there"))], "a")
    assert RAN == []


def test_new_name_of_a_stage_reruns_nothing(evaluate: Evaluate) -> None:
    evaluate(line(), "b")
    evaluate([node("other", Source(label="a")), node("another", Follow(label="b"), model="other")], "another")
    assert RAN == []


def test_new_version_of_a_stage_reruns_it_and_what_follows(evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(line(), "c")
    monkeypatch.setattr(Source, "VERSION", 2)
    monkeypatch.setattr(Follow, "VERSION", 1)
    evaluate(line(), "c")
    assert RAN == ["a", "b", "c"]


def test_cached_output_does_not_need_what_it_was_made_from(evaluate: Evaluate) -> None:
    made = {one.name: one.artifact.path for one in evaluate(line(), "c")}
    shutil.rmtree(made["a"])
    shutil.rmtree(made["b"])
    evaluate(line(), "c")
    assert RAN == []


def test_damaged_input_of_a_cached_output_is_not_even_read(evaluate: Evaluate) -> None:
    made = {one.name: one.artifact.path for one in evaluate(line(), "c")}
    (made["b"] / "text").write_text("damaged, and longer")
    evaluate(line(), "c")
    assert made["b"].exists()


def test_damaged_artifact_is_made_again(evaluate: Evaluate) -> None:
    made = evaluate(line(), "c")[-1].artifact.path / "text"
    whole = made.read_text()
    made.write_text("damaged, and longer than it was")
    evaluate(line(), "c")
    assert (RAN, made.read_text()) == (["c"], whole)


def searched(removes: tuple[int, ...]) -> list[Node]:
    return [
        node("i.1", Rank(removes=removes)),
        node("i.2", Rank(removes=removes), previous="i.1"),
        node("cut", Cut(label="cut"), ranking="i.2"),
        node("after", Follow(label="after"), model="cut"),
    ]


def test_searches_that_end_in_the_same_set_share_what_follows(evaluate: Evaluate) -> None:
    first = identities(evaluate(searched((3, 1)), "after"))
    second = identities(evaluate(searched((1, 3)), "after"))
    assert RAN == ["rank [1]", "rank [1, 3]"]
    assert first["i.2"] != second["i.2"]
    assert (first["cut"], first["after"]) == (second["cut"], second["after"])


def test_searches_that_end_in_another_set_share_nothing(evaluate: Evaluate) -> None:
    evaluate(searched((3, 1)), "after")
    evaluate(searched((3, 2)), "after")
    assert RAN[-2:] == ["cut", "after"]


def test_input_that_contradicts_the_fields_is_refused_with_the_reason() -> None:
    picky = [node("a", Source(label="a")), node("b", Picky(label="b", number=1), model="a")]
    with pytest.raises(ConfigError, match=r"stages\.b\.inputs\.model.*a number needs no model"):
        pipeline(picky, "b")
    pipeline([picky[0], node("b", Picky(label="b"), model="a")], "b")


def test_ranking_without_layers_is_refused(evaluate: Evaluate, tmp_path: Path) -> None:
    folder = tmp_path / "ranking"
    folder.mkdir()
    (folder / "ranking.json").write_text("[3, 1]")
    cut = node("cut", Cut(label="cut"), ranking="given")
    with pytest.raises(InputError, match=r"cut\.inputs\.ranking: .*layers_removed"):
        evaluate([Node("given", Kind.RANKING, "from", source=folder), cut], "cut")


def chain(length: int) -> list[Node]:
    links = range(1, length + 1)
    return [node(f"i.{n}", Rank(removes=(5, 4, 3, 2)), **({"previous": f"i.{n - 1}"} if n > 1 else {})) for n in links]


def test_longer_chain_continues_a_shorter_one(evaluate: Evaluate) -> None:
    evaluate(chain(2), "i.2")
    evaluate(chain(4), "i.4")
    assert RAN == ["rank [5, 4, 3]", "rank [5, 4, 3, 2]"]


def test_force_makes_a_stage_anew_and_what_follows(evaluate: Evaluate) -> None:
    before = identities(evaluate(line(), "c", "d"))
    after = identities(evaluate(line(), "c", "d", force=["b"]))
    assert RAN == ["b", "c"]
    assert {name for name in before if before[name] != after[name]} == {"b", "c"}


def test_forced_result_stays_current_afterwards(evaluate: Evaluate) -> None:
    evaluate(line(), "c")
    forced = identities(evaluate(line(), "c", force=["b"]))
    later = evaluate(line(), "c")
    assert (RAN, identities(later)) == ([], forced)


def test_force_of_one_of_two_names_for_a_result_makes_it_anew_under_both(evaluate: Evaluate) -> None:
    twins = [*line(), node("twin", Follow(label="b"), model="a"), node("e", Follow(label="e"), model="twin")]
    before = identities(evaluate(twins, "c", "e"))
    forced = identities(evaluate(twins, "c", "e", force=["b"]))
    assert RAN == ["b", "c", "e"]
    assert before["b"] == before["twin"] != forced["b"] == forced["twin"]
    later = evaluate(twins, "c", "e")
    assert (RAN, identities(later)) == ([], forced)


def test_force_twice_makes_two_generations(evaluate: Evaluate) -> None:
    generations = {identities(evaluate(line(), "c", force=["b"]))["b"] for _ in range(3)}
    assert len(generations) == 3


def test_forced_result_of_a_run_that_died_before_it_was_counted_becomes_current(
    evaluate: Evaluate, store: Store
) -> None:
    evaluate(line(), "b")
    forced = identities(evaluate(line(), "b", force=["b"]))
    shutil.rmtree(store.root / "generations")
    evaluate(line(), "b", force=["b"])
    assert identities(evaluate(line(), "b")) == forced


def test_forced_stage_that_fails_leaves_the_old_result_current(
    evaluate: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identities(evaluate(line(), "c"))
    with monkeypatch.context() as broken:
        broken.setattr(Follow, "run", Fails.run)
        with pytest.raises(RuntimeError, match="no memory"):
            evaluate(line(), "c", force=["b"])
    assert identities(evaluate(line(), "c")) == before


def test_stage_that_raises_publishes_nothing_and_keeps_what_was_made(evaluate: Evaluate, store: Store) -> None:
    nodes = [node("a", Source(label="a")), node("b", Fails(label="b"), model="a")]
    with pytest.raises(RuntimeError, match="no memory left"):
        evaluate(nodes, "b")
    assert len(list((store.root / "model").iterdir())) == 1
    assert [file for file in (store.root / ".building").rglob("*") if file.is_file()] == []
    with pytest.raises(RuntimeError, match="no memory left"):
        evaluate(nodes, "b")
    assert RAN == []  # a is not made again


def test_folder_in_the_place_of_a_stage_is_used_instead_of_it(
    evaluate: Evaluate, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "mine"))
    (folder / "text").write_text("mine")
    nodes = [*line()[:1], Node("b", Kind.MODEL, "follow", source=folder), *line()[2:]]
    done = evaluate(nodes, "c")
    assert (RAN, (done[-1].artifact.path / "text").read_text()) == (["c"], "mine c")


def test_model_of_the_hub_is_fetched_when_it_is_needed(
    evaluate: Evaluate, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "fetched"))
    (folder / "text").write_text("fetched")
    asked: list[str] = []

    def fetch(hub: HubModel, check: object) -> Path:
        asked.append(hub.id)
        return folder

    monkeypatch.setattr(HubModel, "fetch", fetch)
    nodes = [Node("a", Kind.MODEL, "from", source=HubModel("owner/name")), *line()[1:]]
    done = evaluate(nodes, "b")
    assert (asked, (done[-1].artifact.path / "text").read_text()) == (["owner/name"], "fetched b")


def test_folder_in_the_place_of_a_stage_is_identified_by_its_content(
    evaluate: Evaluate, tiny_model: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        shutil.copytree(tiny_model, tmp_path / name)
        (tmp_path / name / "text").write_text("mine")
        evaluate([Node("b", Kind.MODEL, "follow", source=tmp_path / name), line()[2]], "c")
    assert RAN == []


def test_incomplete_model_folder_is_refused_before_anything_is_made(
    evaluate: Evaluate, tiny_model: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "mine"))
    (folder / "model.fp16.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"model\.fp16\.safetensors"):
        evaluate([Node("b", Kind.MODEL, "follow", source=folder), line()[2]], "c")
    assert RAN == []


def test_identity_of_results_depends_on_the_version_of_the_model_s_family(
    evaluate: Evaluate, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "mine"))
    (folder / "text").write_text("mine")
    nodes = [Node("a", Kind.MODEL, "from", source=folder), *line()[1:]]
    found = []
    for version in (1, 2, 3, 1):
        monkeypatch.setattr(Qwen2Audio, "VERSION", version)
        found.append([done.artifact.identity for done in evaluate(nodes, "c")])
    assert found[0] == found[3]  # version 1 adds nothing
    assert all(len({identities[place] for identities in found}) == 3 for place in range(3))


def test_labels_of_inputs_are_part_of_the_identity(evaluate: Evaluate) -> None:
    first = evaluate([*line(), node("all", Collect(label="all"), models={"x": "a", "y": "b"})], "all")
    second = evaluate([*line(), node("all", Collect(label="all"), models={"x": "b", "y": "a"})], "all")
    assert first[-1].artifact.identity != second[-1].artifact.identity


def test_identities_do_not_depend_on_where_the_store_lies(ctx: Context, tmp_path: Path) -> None:
    found = [
        identities(Evaluation(pipeline(line(), "c"), Store(tmp_path / name), lambda name, scratch: ctx).run())
        for name in ("one", "two")
    ]
    assert found[0] == found[1]
