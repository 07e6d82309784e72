"""One job: a composed config executed, reported and written down."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from stc.store.run_result import RESULT_FILE
from stc.system.console import prepare_libraries, show_progress_lines

log = logging.getLogger(__name__)

PLOTS_FOLDER = "plots"


def run_job(
    composed: Any,
    output_dir: Path,
    name: str = "",
    also: str = "",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Execute one composed config, with one seed or with each of several, and write result.json into ``output_dir``.

    Args:
        composed: the config.
        output_dir: made if it is not there.
        name: of the run in MLflow, if not one made from the config;
        also: what is added to the latter.
        params: shown in MLflow beside those that every run has.
        tags: of the run in MLflow.

    Returns:
        the content of result.json.
    """
    from stc.config.plan import make_plan

    prepare_libraries()
    show_progress_lines()
    planned = make_plan(composed)
    shown = TrackingLabels(
        name or f"{_name(planned)} {also}".strip(), {**(params or {}), **_params(planned)}, dict(tags or {})
    )
    if planned.config.seeds:
        return _run_seeds(composed, planned, output_dir, shown)
    return _run(planned, output_dir, shown)


@dataclass(frozen=True)
class TrackingLabels:
    """A run as MLflow shows it."""

    name: str
    params: dict[str, str]
    tags: dict[str, str]


def _run_seeds(composed: Any, planned: Any, output_dir: Path, shown: TrackingLabels) -> dict[str, Any]:
    """A run with each of the seeds, in a folder of its own below ``output_dir``, and then what they have in common.

    What does not depend on the seed is in the store when the second run looks for it.
    """
    from stc.config.plan import make_plan
    from stc.report.run_plots import plot_seeds
    from stc.report.seeds import aggregate_seeds, format_seeds_table
    from stc.system.tables import markdown_table
    from stc.tracking import track

    config = planned.config
    seeds = list(config.seeds)
    name = f"{shown.name} seeds {' '.join(map(str, seeds))}"
    runs: list[dict[str, Any]] = []
    every = {**shown.params, "seed": " ".join(map(str, seeds))}
    with track(config.tracking, run_name=name, config=planned.values, params=every, tags=shown.tags) as tracked:
        for seed in seeds:
            one = composed.copy()
            one.seed, one.seeds = seed, []
            _say(f"\nseed {seed}")
            tags = {"mlflow.parentRunId": tracked.id} if tracked.id else {}
            below = TrackingLabels(f"{shown.name} seed {seed}", {**shown.params, "seed": str(seed)}, tags)
            runs.append(_run(make_plan(one), output_dir / f"seed{seed}", below))
        systems = aggregate_seeds([one["systems"] for one in runs])
        plots = plot_seeds(output_dir / PLOTS_FOLDER, name, systems, len(seeds))
        result = {
            "lang": config.lang.code,
            "prune_ratio": runs[0]["prune_ratio"],
            "seeds": seeds,
            "systems": systems,
            "runs": [
                {
                    "seed": seed,
                    "result": f"seed{seed}/{RESULT_FILE}",
                    "layers_removed": one["layers_removed"],
                    "mlflow_run_id": one["mlflow_run_id"],
                }
                for seed, one in zip(seeds, runs, strict=True)
            ],
            "plots": [str(plot.relative_to(output_dir)) for plot in plots],
            "mlflow_run_id": tracked.id,
        }
        file = _keep(result, output_dir, plots, tracked)
        if systems:
            tracked.log_metrics(_main(systems[-1], result["prune_ratio"]))
            tracked.set_tags({"mlflow.note.content": format_seeds_table(systems, seeds, markdown_table)})
            _print(f"\n{format_seeds_table(systems, seeds)}")
        _print(f"result: {file}\n{_where(tracked)}")
    return result


def _run(planned: Any, output_dir: Path, shown: TrackingLabels) -> dict[str, Any]:
    """Execute a plan with one seed."""
    from stc.models.hub import HubModel
    from stc.pipeline.runner import Evaluation, NodeResult
    from stc.pipeline.stage import Context
    from stc.planning.disk import check_disk_space
    from stc.planning.preflight import shipped_corpus_notes
    from stc.report.run_plots import plot_run
    from stc.store import Store
    from stc.system.machine import resolve_device
    from stc.tracking import track

    config = planned.config
    context = config.resources.context(resolve_device(config.resources.device, config.resources.processes))
    store = Store(config.store.dir)
    for note in shipped_corpus_notes(planned):
        _say(note)
    for node in map(planned.pipeline.nodes.__getitem__, planned.pipeline.required_nodes()):
        if isinstance(node.source, HubModel):
            _say(f"{node.name}: {node.source.id} is no folder here, and is taken from the Hugging Face hub")
    with track(
        config.tracking, run_name=shown.name, config=planned.values, params=shown.params, tags=shown.tags
    ) as tracked:

        def context_of(node: str, scratch: Path) -> Context:
            def log(metrics: Mapping[str, float], step: int | None = None) -> None:
                tracked.log_metrics({f"{node}/{key}": value for key, value in metrics.items()}, step)

            return replace(context, scratch=scratch, log=log)

        def finished(done: NodeResult) -> None:
            tracked.log_stage(done.name, done.artifact.identity, done.cached, done.seconds)

        ready = partial(check_disk_space, store)
        evaluation = Evaluation(
            planned.pipeline, store, context_of, force=config.force, announce=_say, before_stage=ready
        )
        started = time.monotonic()
        done = evaluation.run(finished)
        systems = _systems(evaluation, planned)
        plots = plot_run(output_dir / PLOTS_FOLDER, shown.name, systems, done)
        result = {
            "lang": config.lang.code,
            "prune_ratio": _ratio(planned),
            "prune_method": planned.pruning.method if planned.prunes else None,
            "layers_removed": _removed(done, "order"),
            "encoder_layers_removed": _removed(done, "encoder_order"),
            "systems": systems,
            "stages": [
                {"name": one.name, "identity": one.artifact.identity, "cached": one.cached, "seconds": one.seconds}
                for one in done
            ],
            "plots": [str(plot.relative_to(output_dir)) for plot in plots],
            "mlflow_run_id": tracked.id,
        }
        file = _keep(result, output_dir, plots, tracked)
        seconds = time.monotonic() - started
        if systems:
            tracked.log_metrics({**_main(systems[-1], result["prune_ratio"]), "seconds": seconds})
        _report(systems, done, tracked, seconds, file)
    return result


def _ratio(planned: Any) -> float:
    return float(planned.pruning.ratio or 0.0) if planned.prunes else 0.0


def _name(planned: Any) -> str:
    config = planned.config
    pruned = f"{planned.pruning.method} {_ratio(planned):g}" if planned.prunes else "0"
    return f"{config.model.name} {config.lang.code} {pruned} {config.pipeline.name}"


def _params(planned: Any) -> dict[str, str]:
    """What runs are compared by, whatever a sweep is over; the whole config is beside them."""
    config = planned.config
    how = {
        "prune.method": planned.pruning.method,
        "prune.ratio": f"{_ratio(planned):g}",
        "prune.scope": config.prune.get("scope"),
    }
    return {
        "model": config.model.name,
        "lang": config.lang.code,
        "pipeline": config.pipeline.name,
        "quant": str(config.quant["method"]),
        "seed": str(config.seed),
        **(how if planned.prunes else {}),
    }


def _main(system: Mapping[str, Any], ratio: float) -> dict[str, float]:
    """The figures of the system a run is about, the last of its table, by names that every run has. MLflow compares
    by the first unless told otherwise, and draws a chart of each: those of the other systems would hide these."""
    figures = {"retention": system["retention"], "bytes": system["bytes_on_disk"], "ratio": ratio}
    figures |= {key: system.get(key) for key in ("params", *system["metrics"], "rtf", "retention_deviation")}
    return {key: value for key, value in figures.items() if value is not None}


def _keep(result: Mapping[str, Any], output_dir: Path, plots: Sequence[Path], tracked: Any) -> Path:
    """Write result.json, and show it and the plots in MLflow."""
    output_dir.mkdir(parents=True, exist_ok=True)
    file = output_dir / RESULT_FILE
    file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    tracked.log_file(file)
    for plot in plots:
        tracked.log_file(plot, PLOTS_FOLDER)
    return file


def _systems(evaluation: Any, planned: Any) -> list[dict[str, Any]]:
    """The systems of the comparison the run made, if it made one."""
    from stc.report.run_table import compared_systems
    from stc.store.artifact import Kind

    for name in planned.pipeline.outputs:
        node = planned.pipeline.nodes[name]
        if node.kind is Kind.COMPARISON:
            inputs = {
                key: {label: evaluation.artifact(target) for label, target in wiring.items()}
                for key, wiring in node.inputs.items()
            }
            return compared_systems(evaluation.artifact(name), inputs)
    return []


def _removed(done: Sequence[Any], order: str) -> list[int]:
    """The layers removed, in that order, by the last round of all."""
    orders: list[list[int]] = [one.artifact.facts.get(order, []) for one in done]
    return max(orders, key=len, default=[])


def _report(systems: list[dict[str, Any]], done: Sequence[Any], tracked: Any, seconds: float, file: Path) -> None:
    from stc.report.run_table import format_run_table
    from stc.system.tables import markdown_table

    cached = sum(one.cached for one in done)
    _print(f"\n{len(done)} stages, {cached} of them cached, {seconds:.0f} s")
    if systems:
        tracked.log_table(_translations(systems), "translations.json")
        tracked.set_tags(
            {"mlflow.note.content": format_run_table(systems, markdown_table)}
        )  # the run's description in the UI
        _print(f"\n{format_run_table(systems)}\n\ntranslations:")
        for row in systems:
            _print(f"  {row['name']:18} {row['hypotheses']}")
    _print(f"result: {file}\n{_where(tracked)}")


def _say(text: str) -> None:
    """Report on the way, on standard error and in the job's log."""
    print(text, file=sys.stderr)
    log.info("%s", text.strip())


def _print(text: str) -> None:
    """Give what was asked for, on standard output, and keep it in the job's log."""
    print(text)
    log.info("%s", text.strip("\n"))


def _where(tracked: Any) -> str:
    return "MLflow: " + (f"run {tracked.id}; `make ui` shows it" if tracked.id else "tracking is off")


def _translations(systems: list[dict[str, Any]]) -> dict[str, list[str]]:
    from stc.decoding.hypotheses import read_texts
    from stc.metrics.records import REFERENCES_FILE

    first = Path(systems[0]["hypotheses"]).with_name(REFERENCES_FILE)
    columns = {"reference": first, **{row["name"]: Path(row["hypotheses"]) for row in systems}}
    return {name: read_texts(file) for name, file in columns.items()}
