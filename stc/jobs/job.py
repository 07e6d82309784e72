"""One job: runs a composed config, reports on it and writes result.json."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from stc.config.composition import ComposedJob
from stc.config.plan import Plan, make_plan
from stc.jobs.closing_lines import closing_lines, example_recording, left_out_lines
from stc.jobs.mlflow_content import (
    DESCRIPTION_TAG,
    StageCurves,
    chosen_params,
    layers_removed,
    log_stages,
    log_systems,
    main_figures,
    pruned_ratio,
    stage_rows,
)
from stc.jobs.shared_results import kept_for_all
from stc.jobs.step_lines import StepLines, report_progress
from stc.models.hub import HubModel
from stc.pipeline.runner import Evaluation, NodeResult
from stc.pipeline.stage import Context
from stc.planning.disk import check_disk_space
from stc.planning.preflight import shipped_corpus_notes
from stc.report.plot_style import name_subject
from stc.report.run_plots import plot_run, plot_seeds
from stc.report.run_table import aggregate_seeds, compared_systems, format_run_table, format_seeds_table
from stc.store import Store
from stc.store.artifact import Kind
from stc.store.run_result import RESULT_FILE
from stc.system.console import prepare_libraries, show_progress_lines
from stc.system.machine import resolve_device
from stc.system.paths import short_path
from stc.system.tables import markdown_table
from stc.tracking import TrackedRun, track

log = logging.getLogger(__name__)

PLOTS_FOLDER = "plots"
STAGES_FILE = "stages.json"  # an artifact in MLflow


@dataclass(frozen=True)
class TrackingLabels:
    """The name, parameters and tags of a run in MLflow."""

    name: str
    params: dict[str, Any]
    tags: dict[str, str]


def run_job(
    composed: DictConfig,
    output_dir: Path,
    name: str = "",
    also: str = "",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run one composed config, with one seed or with each of several. Write result.json to ``output_dir``.

    Args:
        composed: the config.
        output_dir: made if it does not exist.
        name: of the run in MLflow; by default made from the config.
        also: added to the default name.
        params: shown in MLflow beside those that every run has.
        tags: of the run in MLflow.

    Returns:
        the content of result.json.
    """
    prepare_libraries()
    show_progress_lines()
    plan = make_plan(composed)
    name = name or f"{_default_name(plan)} {also}".strip()
    labels = TrackingLabels(name, {**(params or {}), **chosen_params(plan)}, dict(tags or {}))
    if plan.config.seeds:
        return _run_seeds(composed, plan, output_dir, labels)
    return _run(plan, output_dir, labels)


def _run_seeds(composed: DictConfig, plan: Plan, output_dir: Path, labels: TrackingLabels) -> dict[str, Any]:
    """Run each of the seeds, in a folder of its own in ``output_dir``, and report on all of them together.

    The later runs find in the store what does not depend on the seed.
    """
    config = plan.config
    seeds = list(config.seeds)
    name = f"{labels.name} seeds {' '.join(map(str, seeds))}"
    runs: list[dict[str, Any]] = []
    params = {**labels.params, "seed": " ".join(map(str, seeds))}
    with (
        kept_for_all([ComposedJob([], composed, plan)]) as drop_rest,
        track(config.tracking, run_name=name, config=plan.values, params=params, tags=labels.tags) as tracked,
    ):
        for seed in seeds:
            one = composed.copy()
            one.seed, one.seeds = seed, []
            report_progress(f"\nseed {seed}")
            tags = {"mlflow.parentRunId": tracked.id} if tracked.id else {}
            of_seed = TrackingLabels(f"{labels.name} seed {seed}", {**labels.params, "seed": str(seed)}, tags)
            runs.append(_run(make_plan(one), output_dir / f"seed{seed}", of_seed))
        drop_rest()
        systems = aggregate_seeds([one["systems"] for one in runs])
        plots = plot_seeds(output_dir / PLOTS_FOLDER, _plot_title(plan), systems, len(seeds))
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
        file = _write_result(result, output_dir, plots, tracked)
        if systems:
            tracked.log_metrics(main_figures(systems[-1]))
            tracked.set_tags({DESCRIPTION_TAG: format_seeds_table(systems, seeds, markdown_table)})
            _print(f"\n{format_seeds_table(systems, seeds)}")
        _print_places(file, tracked)
    return result


def _run(plan: Plan, output_dir: Path, labels: TrackingLabels) -> dict[str, Any]:
    """Run a plan with one seed."""
    config = plan.config
    context = config.resources.context(resolve_device(config.resources.device, config.resources.processes))
    store = Store(config.store.dir)
    for note in shipped_corpus_notes(plan):
        report_progress(note)
    for node in map(plan.pipeline.nodes.__getitem__, plan.pipeline.required_nodes()):
        if isinstance(node.source, HubModel):
            report_progress(f"{node.name}: {node.source.id} is no folder here, and is taken from the Hugging Face hub")
    with track(
        config.tracking, run_name=labels.name, config=plan.values, params=labels.params, tags=labels.tags
    ) as tracked:
        curves = StageCurves(plan, tracked)
        done: list[NodeResult] = []

        def context_of(node: str, scratch: Path) -> Context:
            def log_metrics(metrics: Mapping[str, float], step: int | None = None) -> None:
                curves.log(node, metrics, step)

            return replace(context, scratch=scratch, log=log_metrics)

        def finish_stage(result: NodeResult) -> None:
            lines.found(result)
            done.append(result)
            curves.finish(result)

        lines = StepLines(plan.pipeline, verbose=config.verbose)

        evaluation = Evaluation(
            plan.pipeline,
            store,
            context_of,
            force=config.force,
            begin=lines.begin,
            announce=report_progress,
            before_stage=partial(check_disk_space, store),
            keep=config.store.keep,
        )
        started = time.monotonic()
        try:
            done = evaluation.run(finish_stage)
        finally:
            tracked.log_dict({"stages": stage_rows(done)}, STAGES_FILE)
        lines.report_cached()
        log_stages(tracked, done, plan, curves)
        systems = _compared_systems(evaluation, plan)
        plots = plot_run(output_dir / PLOTS_FOLDER, _plot_title(plan), systems, done)
        result = {
            "lang": config.lang.code,
            "prune_ratio": pruned_ratio(plan),
            "prune_method": plan.pruning.method if plan.prunes else None,
            "layers_removed": layers_removed(done),
            "encoder_layers_removed": layers_removed(done, "encoder_order"),
            "systems": systems,
            "stages": stage_rows(done),
            "plots": [str(plot.relative_to(output_dir)) for plot in plots],
            "mlflow_run_id": tracked.id,
        }
        file = _write_result(result, output_dir, plots, tracked)
        seconds = time.monotonic() - started
        _print(f"\n{len(done)} stages, {sum(one.cached for one in done)} of them cached, {seconds:.0f} s")
        for line in left_out_lines(done):
            _print(line)
        if systems:
            tracked.log_metrics({"job/seconds": seconds})
            log_systems(tracked, systems, plan, evaluation)
            _print(f"\n{format_run_table(systems)}\ntranslations:")
            for row in systems:
                _print(f"  {row['name']:18} {short_path(row['hypotheses'])}")
            recording = example_recording(evaluation, plan.pipeline)
            _print(f"\n{closing_lines(systems, output_dir, config.lang.code, recording)}\n")
        _print_places(file, tracked)
    return result


def _default_name(plan: Plan) -> str:
    config = plan.config
    pruned = f"{plan.pruning.method} {pruned_ratio(plan):g}" if plan.prunes else "0"
    return f"{config.model.name} {config.lang.code} {pruned} {config.pipeline.name}"


def _plot_title(plan: Plan) -> str:
    method = plan.pruning.method if plan.prunes else ""
    return name_subject([plan.config.model.name], plan.config.lang.name, [pruned_ratio(plan)], method)


def _write_result(result: Mapping[str, Any], output_dir: Path, plots: Sequence[Path], tracked: TrackedRun) -> Path:
    """Write result.json, and log it and the plots to MLflow."""
    output_dir.mkdir(parents=True, exist_ok=True)
    file = output_dir / RESULT_FILE
    file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    tracked.log_file(file)
    for plot in plots:
        tracked.log_file(plot, PLOTS_FOLDER)
    return file


def _compared_systems(evaluation: Evaluation, plan: Plan) -> list[dict[str, Any]]:
    """Return the systems of the run's comparison, if it made one."""
    for name in plan.pipeline.outputs:
        node = plan.pipeline.nodes[name]
        if node.kind is Kind.COMPARISON:
            inputs: dict[str, Any] = {
                key: {label: evaluation.artifact(target) for label, target in wiring.items()}
                for key, wiring in node.inputs.items()
                if isinstance(wiring, Mapping)
            }
            return compared_systems(evaluation.artifact(name), inputs)
    return []


def _print(text: str) -> None:
    """Print a result to standard output, and to the job's log."""
    print(text)
    log.info("%s", text.strip("\n"))


def _print_places(file: Path, tracked: TrackedRun) -> None:
    where = f"run {tracked.id}; `make ui` shows it" if tracked.id else "tracking is off"
    _print(f"result: {short_path(file)}\nMLflow: {where}")
