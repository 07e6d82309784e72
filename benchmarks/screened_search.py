"""How often a screened search for layers removes what the exact one does, and how long both take.

    OMP_NUM_THREADS=1 python benchmarks/screened_search.py
    python benchmarks/screened_search.py --lang zh --screen 4 --ratio 0.25 --override model.path=models/mine

For each language the exact search of a default run is brought about, and a screened one for every N of --screen: each
layer is chosen on the split `selection`. What the store has of them is taken from it, so that the command goes on where
it was interrupted. In every round of the exact search the candidates are also put in order by the loss without them,
which says for any N whether the exact choice would have been scored.

Prints Markdown. The seconds are those the rounds took when they were made, each with the loading of the model, and for
the losses alone those of this run. They hold for the machine, and compare only if nothing else ran on it.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from stc.config.languages import load_language
from stc.config.override_checks import check_arguments
from stc.config.plan import Plan, make_plan
from stc.data.manifest import Manifest
from stc.metrics.metric import metric_named
from stc.models.layer_ranking import Layer, Removal, by_stack
from stc.models.load_and_save import load
from stc.pipeline.runner import Evaluation
from stc.pipeline.stage import Context
from stc.pruning.greedy import Importance
from stc.pruning.search.losses import losses_without_each
from stc.store import Store
from stc.store.artifact import Artifact
from stc.system.console import prepare_libraries
from stc.system.machine import resolve_device
from stc.system.paths import CONF, ROOT


@dataclass(frozen=True)
class Search:
    """What a search removed, round by round, what its last choice scores, and how long its rounds took together."""

    of: Mapping[str, int]
    removed: Sequence[Layer]
    score: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lang", nargs="+", default=["de", "zh"])
    parser.add_argument("--screen", nargs="+", type=int, default=[2, 3, 5], metavar="N", help="how many are scored")
    parser.add_argument("--ratio", type=float, default=0.5, help="of the layers, how much is removed")
    parser.add_argument("--override", nargs="*", default=[], help="other settings of the run")
    given = parser.parse_args()
    os.environ["STC_ROOT"] = str(ROOT)
    prepare_libraries()
    for lang in given.lang:
        compare([f"lang={lang}", f"prune.ratio={given.ratio}", *given.override], given.screen)


def compare(overrides: Sequence[str], screens: Sequence[int]) -> None:
    planned = composed(overrides)
    context = silent(planned)
    exact, inputs = searched(planned, context)
    started = time.perf_counter()
    places = places_by_loss(planned, inputs, exact, context)
    losses = time.perf_counter() - started
    screened = {
        screen: searched(composed([*overrides, "prune.search=screened", f"prune.screen={screen}"]), context)[0]
        for screen in screens
    }
    where = torch.cuda.get_device_name() if context.device == "cuda" else f"CPU, threads: {torch.get_num_threads()}"
    metric = metric_named(stage_of(planned).metric).title
    print(f"\n## {load_language(planned.config.lang.code).name} ({metric}; {where})\n")
    by_round(exact, places, screened)
    by_search(exact, places, screened, metric, losses)


def composed(overrides: Sequence[str]) -> Plan:
    with initialize_config_dir(str(CONF), version_base=None):
        return make_plan(compose("config", check_arguments([*overrides, "pipeline.outputs=[importance]"])))


def stage_of(planned: Plan) -> Importance:
    stage = planned.pipeline.nodes["importance.1"].stage
    assert isinstance(stage, Importance)
    return stage


def searched(planned: Plan, context: Context) -> tuple[Search, Mapping[str, Artifact]]:
    """A search, and the inputs of its rounds."""
    evaluation = Evaluation(
        planned.pipeline,
        Store(planned.config.store.dir),
        lambda name, scratch: replace(context, scratch=scratch),
        begin=lambda node, activity, reason: print(f"<!-- {reason} -->", flush=True),
    )
    rounds = [done for done in evaluation.run() if done.name.startswith("importance.")]
    facts = [done.artifact.facts for done in rounds]
    found = Search(
        facts[-1]["layers"],
        [(one["stack"], one["layer"]) for one in facts],
        facts[-1]["score"],
        sum(done.seconds for done in rounds),
    )
    return found, {"model": evaluation.artifact("teacher"), "data": evaluation.artifact("selection")}


def places_by_loss(
    planned: Plan, inputs: Mapping[str, Artifact], exact: Search, context: Context
) -> list[tuple[int, int]]:
    """For each round of the exact search, the place of its choice among the candidates in order of the loss without
    them, 1 for the lowest, and how many candidates there are."""
    stage = stage_of(planned)
    manifest = Manifest.load(inputs["data"].path)
    translator = load(inputs["model"].path, device=context.device, dtype=stage.dtype, attention=stage.attention)
    translator.model.requires_grad_(False)
    places = []
    for number, chosen in enumerate(exact.removed):
        before = exact.removed[:number]
        candidates = Removal(exact.of, tuple(before)).candidates()
        losses: dict[Layer, float] = {}
        for stack, layer, loss in losses_without_each(
            translator, manifest, by_stack(before), by_stack(candidates), batch_size=context.decode_batch
        ):
            losses[stack, layer] = loss
        places.append((sorted(candidates, key=losses.__getitem__).index(chosen) + 1, len(candidates)))
    return places


def by_round(exact: Search, places: Sequence[tuple[int, int]], screened: Mapping[int, Search]) -> None:
    print(f"| round | exact | its place by the loss | {' | '.join(f'screened, N = {one}' for one in screened)} |")
    print(f"| ---: | ---: | ---: |{' ---: |' * len(screened)}")
    for number, (chosen, (place, among)) in enumerate(zip(exact.removed, places, strict=True)):
        others = " | ".join(named(one.removed[number]) for one in screened.values())
        print(f"| {number + 1} | {named(chosen)} | {place} of {among} | {others} |")


def by_search(
    exact: Search, places: Sequence[tuple[int, int]], screened: Mapping[int, Search], metric: str, losses: float
) -> None:
    total = len(exact.removed)
    print(f"\n| search | exact choice within N | layers in common | {metric} at the end | seconds | exact ÷ this |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print(f"| exact | | | {exact.score:.1f} | {exact.seconds:.0f} | |")
    print(f"| the losses of its rounds alone | | | | {losses:.0f} | {exact.seconds / losses:.2f} |")
    for screen, found in screened.items():
        within = sum(place <= screen for place, _ in places)
        common = len({*found.removed} & {*exact.removed})
        print(
            f"| screened, N = {screen} | {within} of {total} rounds | {common} of {total} | {found.score:.1f} | "
            f"{found.seconds:.0f} | {exact.seconds / found.seconds:.2f} |",
            flush=True,
        )


def named(layer: Layer) -> str:
    return f"{'e' * (layer[0] == 'encoder')}{layer[1]}"


def silent(planned: Plan) -> Context:
    def progress(*args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
        return nullcontext(SimpleNamespace(update=lambda n=1, note="": None))

    resources = planned.config.resources
    return replace(resources.context(resolve_device(resources.device)), progress=progress)


if __name__ == "__main__":
    main()
