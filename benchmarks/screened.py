"""How often a screened search for layers removes what the exact one does, and how long both take.

    python benchmarks/screened.py
    python benchmarks/screened.py --lang zh --screen 4 --ratio 0.25 --override model.path=models/mine

For each language the teacher of a default run is taken from the store, or made. On it, by the utterances of the split
`selection`, the exact search is run, then a screened one for every N of --screen. In every round of the exact search
the candidates are also put in order by the loss, which says for any N whether the exact choice would have got past the
screen. Prints Markdown. The seconds are those of the rounds, the loading of the model in each of them included, and
hold for this machine and what else ran on it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from hydra import compose, initialize_config_dir

from stc.config import Plan, plan
from stc.console import quiet
from stc.data.manifest import Manifest
from stc.decoding.losses import losses_without_each
from stc.evaluation import Evaluation
from stc.languages import language
from stc.machine import resolve_device
from stc.metrics.text import METRICS
from stc.models.checkpoint import load
from stc.models.removal import Layer, Removal, by_stack
from stc.overrides import checked
from stc.paths import CONF, ROOT
from stc.stage import Artifact, Context, Kind
from stc.stages.importance import Importance
from stc.store import Store


@dataclass(frozen=True)
class Search:
    """The rankings of a search, round by round, and what it took."""

    rankings: Sequence[Mapping[str, Any]]
    facts: Sequence[Mapping[str, Any]]
    seconds: float

    @property
    def removed(self) -> list[Layer]:
        return [(one["stack"], one["layer"]) for one in self.facts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lang", nargs="+", default=["de", "zh"])
    parser.add_argument("--screen", nargs="+", type=int, default=[2, 3, 4, 5], metavar="N", help="finalists of a round")
    parser.add_argument("--ratio", type=float, default=0.5, help="of the layers, how much is removed")
    parser.add_argument("--override", nargs="*", default=[], help="settings of the run the teacher is of")
    given = parser.parse_args()
    os.environ["STC_ROOT"] = str(ROOT)
    quiet()
    for lang in given.lang:
        planned = composed([f"lang={lang}", f"prune.ratio={given.ratio}", *given.override])
        with tempfile.TemporaryDirectory(prefix="screened_") as folder:
            compare(planned, given.screen, Path(folder))


def composed(overrides: Sequence[str]) -> Plan:
    with initialize_config_dir(str(CONF), version_base=None):
        return plan(compose("config", checked([*overrides, "pipeline.outputs=[teacher,selection]"])))


def compare(planned: Plan, screens: Sequence[int], folder: Path) -> None:
    context = silent(planned)
    evaluation = Evaluation(
        planned.pipeline,
        Store(planned.config.store.dir),
        lambda name, scratch: replace(context, scratch=scratch),
        say=lambda line: print(f"<!-- {line} -->", flush=True),
    )
    evaluation.run()
    inputs = {"model": evaluation.artifact("teacher"), "data": evaluation.artifact("selection")}
    rounds = [name for name in planned.pipeline.nodes if name.startswith("importance.")]
    stage = planned.pipeline.nodes[rounds[0]].stage
    assert isinstance(stage, Importance)
    exact = search(stage, inputs, len(rounds), folder / "exact", context)
    ranks = ranked_by_loss(stage, inputs, exact, context)
    screened = {
        screen: search(stage.model_copy(update={"screen": screen}), inputs, len(rounds), folder / f"{screen}", context)
        for screen in screens
    }
    threads = f"{torch.get_num_threads()} threads" if context.device == "cpu" else torch.cuda.get_device_name()
    metric = METRICS[stage.metric]
    print(f"\n## {language(planned.config.lang.code).name} ({metric}, {context.device}, {threads})\n")
    by_round(exact, ranks, screened)
    by_screen(exact, ranks, screened, metric)


def search(stage: Importance, inputs: Mapping[str, Artifact], rounds: int, folder: Path, ctx: Context) -> Search:
    found: list[Artifact] = []
    started = time.perf_counter()
    for number in range(1, rounds + 1):
        out, scratch = folder / f"{number}", folder / f"scratch{number}"
        out.mkdir(parents=True)
        scratch.mkdir()
        before = {"previous": found[-1]} if found else {}
        facts = stage.run({**inputs, **before}, out, replace(ctx, scratch=scratch))
        found.append(Artifact(Kind.RANKING, out, f"{number}", facts))
    seconds = time.perf_counter() - started
    rankings = [json.loads((one.path / "ranking.json").read_text("utf-8")) for one in found]
    return Search(rankings, [one.facts for one in found], seconds)


def ranked_by_loss(
    stage: Importance, inputs: Mapping[str, Artifact], exact: Search, ctx: Context
) -> list[tuple[int, int]]:
    """For each round of the exact search, the place of its choice among the candidates in order of the loss without
    them, 1 for the lowest, and how many candidates there are."""
    manifest = Manifest.load(inputs["data"].path)
    translator = load(inputs["model"].path, device=ctx.device, dtype=stage.dtype, attention=stage.attention)
    translator.model.requires_grad_(False)
    ranks = []
    for number, chosen in enumerate(exact.removed):
        candidates = Removal(exact.facts[number]["layers"], tuple(exact.removed[:number])).candidates()
        removed = by_stack(exact.removed[:number])
        losses = {
            (stack, layer): loss
            for stack, layer, loss in losses_without_each(
                translator, manifest, removed, by_stack(candidates), batch_size=ctx.decode_batch
            )
        }
        order = sorted(candidates, key=losses.__getitem__)
        ranks.append((order.index(chosen) + 1, len(order)))
    return ranks


def by_round(exact: Search, ranks: Sequence[tuple[int, int]], screened: Mapping[int, Search]) -> None:
    print(f"| round | exact | its place by the loss | {' | '.join(f'screened, N = {one}' for one in screened)} |")
    print(f"| ---: | ---: | ---: | {'| '.join(['---: '] * len(screened))}|")
    for number, (chosen, (place, among)) in enumerate(zip(exact.removed, ranks, strict=True)):
        others = " | ".join(named(one.removed[number]) for one in screened.values())
        print(f"| {number + 1} | {named(chosen)} | {place} of {among} | {others} |")


def by_screen(exact: Search, ranks: Sequence[tuple[int, int]], screened: Mapping[int, Search], metric: str) -> None:
    total = len(exact.removed)
    print(f"\n| search | its choice within N | layers in common | {metric} after the last round | seconds | ratio |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print(f"| exact | | | {exact.facts[-1]['score']:.1f} | {exact.seconds:.1f} | |")
    for screen, found in screened.items():
        within = sum(place <= screen for place, _ in ranks)
        common = len({*found.removed} & {*exact.removed})
        print(
            f"| screened, N = {screen} | {within} of {total} rounds | {common} of {total} | "
            f"{found.facts[-1]['score']:.1f} | {found.seconds:.1f} | {exact.seconds / found.seconds:.2f} |",
            flush=True,
        )


def named(layer: Layer) -> str:
    return f"{'e' * (layer[0] == 'encoder')}{layer[1]}"


def silent(planned: Plan) -> Context:
    def progress(*args: Any, **kwargs: Any) -> AbstractContextManager[Any]:
        return nullcontext(SimpleNamespace(update=lambda n=1: None))

    resources = planned.config.resources
    return replace(resources.context(resolve_device(resources.device)), progress=progress)


if __name__ == "__main__":
    main()
