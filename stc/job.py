"""One job: a composed config executed, reported and written down."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from stc.console import progress, quiet

log = logging.getLogger(__name__)

RESULT_FILE = "result.json"
PLOTS_FOLDER = "plots"


def run(composed: Any, output_dir: Path) -> dict[str, Any]:
    """Execute one composed config, with one seed or with each of several, and write result.json into ``output_dir``.

    Returns:
        the content of result.json.
    """
    from stc.config import plan

    quiet()
    planned = plan(composed)
    return _run_seeds(composed, planned, output_dir) if planned.config.seeds else _run(planned, output_dir)


def _run_seeds(composed: Any, planned: Any, output_dir: Path) -> dict[str, Any]:
    """A run with each of the seeds, in a folder of its own below ``output_dir``, and then what they have in common.

    What does not depend on the seed is in the store when the second run looks for it.
    """
    from stc.config import plan
    from stc.plots import plot_seeds
    from stc.seeds import FIGURES, aggregate, markdown, table
    from stc.tracking import track

    config = planned.config
    seeds = list(config.seeds)
    name = f"{_name(planned)} seeds {' '.join(map(str, seeds))}"
    runs: list[dict[str, Any]] = []
    with track(config.tracking, run_name=name, config=planned.values) as tracked:
        for seed in seeds:
            one = composed.copy()
            one.seed, one.seeds = seed, []
            _say(f"\nseed {seed}")
            tags = {"mlflow.parentRunId": tracked.id} if tracked.id else {}
            runs.append(_run(plan(one), output_dir / f"seed{seed}", f" seed {seed}", tags))
        systems = aggregate([one["systems"] for one in runs])
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
            tracked.log_metrics(
                {f"{row['name']}/{key}": row[key] for row in systems for key in FIGURES if row[key] is not None}
            )
            tracked.set_tags({"mlflow.note.content": markdown(systems, seeds)})
            _print(f"\n{table(systems, seeds)}")
        _print(f"result: {file}\n{_where(tracked)}")
    return result


def _run(planned: Any, output_dir: Path, suffix: str = "", tags: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Execute a plan. ``suffix`` is added to the run's name, ``tags`` are those of its run in MLflow."""
    from stc.evaluation import Done, Evaluation
    from stc.machine import resolve_device
    from stc.planning.room import refuse_full
    from stc.plots import plot_run
    from stc.stage import Context
    from stc.store import Store
    from stc.tracking import track

    config = planned.config
    resources = config.resources
    context = Context(
        device=resolve_device(resources.device),
        workers=resources.workers,
        train_micro_batch=resources.train_micro_batch,
        decode_batch=resources.decode_batch,
        scratch=Path(),
        log=lambda metrics, step=None: None,
        progress=progress,
    )
    name = _name(planned) + suffix
    store = Store(config.store.dir)
    with track(config.tracking, run_name=name, config=planned.values, tags=tags) as tracked:

        def context_of(node: str, scratch: Path) -> Context:
            def log(metrics: Mapping[str, float], step: int | None = None) -> None:
                tracked.log_metrics({f"{node}/{key}": value for key, value in metrics.items()}, step)

            return replace(context, scratch=scratch, log=log)

        def finished(done: Done) -> None:
            tracked.log_stage(done.name, done.artifact.identity, done.cached, done.seconds)

        ready = partial(refuse_full, store)
        evaluation = Evaluation(planned.pipeline, store, context_of, force=config.force, say=_say, ready=ready)
        started = time.monotonic()
        done = evaluation.run(finished)
        systems = _systems(evaluation, planned)
        plots = plot_run(output_dir / PLOTS_FOLDER, name, systems, done)
        result = {
            "lang": config.lang.code,
            "prune_ratio": _ratio(planned),
            "prune_method": config.prune.method if planned.prunes else None,
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
        _report(systems, done, tracked, time.monotonic() - started, file)
    return result


def _ratio(planned: Any) -> float:
    return float(planned.config.prune.ratio or 0.0) if planned.prunes else 0.0


def _name(planned: Any) -> str:
    config = planned.config
    pruned = f"{config.prune.method} {_ratio(planned):g}" if planned.prunes else "0"
    return f"{config.model.name} {config.lang.code} {pruned} {config.pipeline.name}"


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
    from stc.report import systems
    from stc.stage import Kind

    for name in planned.pipeline.outputs:
        node = planned.pipeline.nodes[name]
        if node.kind is Kind.COMPARISON:
            inputs = {
                key: {label: evaluation.artifact(target) for label, target in wiring.items()}
                for key, wiring in node.inputs.items()
            }
            return systems(evaluation.artifact(name), inputs)
    return []


def _removed(done: Sequence[Any], order: str) -> list[int]:
    """The layers removed, in that order, by the last round of all."""
    orders: list[list[int]] = [one.artifact.facts.get(order, []) for one in done]
    return max(orders, key=len, default=[])


def _report(systems: list[dict[str, Any]], done: Sequence[Any], tracked: Any, seconds: float, file: Path) -> None:
    from stc.report import markdown, table

    cached = sum(one.cached for one in done)
    _print(f"\n{len(done)} stages, {cached} of them cached, {seconds:.0f} s")
    if systems:
        tracked.log_metrics(
            {f"{row['name']}/{key}": row[key] for row in systems for key in _CURVES if row[key] is not None}
        )
        tracked.log_table(_translations(systems), "translations.json")
        tracked.set_tags({"mlflow.note.content": markdown(systems)})  # the run's description in the UI
        _print(f"\n{table(systems)}\n\ntranslations:")
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


_CURVES = ("bleu", "chrf", "chrf_pp", "retention", "params", "packed_elements", "bytes_on_disk", "rtf")


def _translations(systems: list[dict[str, Any]]) -> dict[str, list[str]]:
    from stc.decoding.translating import read_lines
    from stc.metrics.records import REFERENCES_FILE

    first = Path(systems[0]["hypotheses"]).with_name(REFERENCES_FILE)
    columns = {"reference": first, **{row["name"]: Path(row["hypotheses"]) for row in systems}}
    return {name: read_lines(file) for name, file in columns.items()}
