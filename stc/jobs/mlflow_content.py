"""The content that MLflow gets of a job: parameters by which runs are told apart, figures, curves and translations.

MLflow sorts charts and columns by name, so the names of the figures that matter come first, and say their units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from stc.config.plan import Plan
from stc.data.manifest import Manifest
from stc.decoding.hypotheses import read_texts
from stc.errors import InputError
from stc.metrics.metric import metric_with
from stc.metrics.score_files import REFERENCES_FILE, Scores
from stc.pipeline.runner import Evaluation, NodeResult
from stc.report.run_table import format_run_table
from stc.store.artifact import Artifact, Kind
from stc.system.tables import markdown_table
from stc.tracking import TrackedRun
from stc.tracking.run import Dataset
from stc.tracking.view import RETENTION, SIZE_MB
from stc.training.recipe import Recipe

SENTENCE_METRIC = "chrf"
DESCRIPTION_TAG = "mlflow.note.content"  # MLflow shows it as the description of a run


def chosen_params(plan: Plan) -> dict[str, str]:
    """Return the settings that tell runs apart; the whole config is an artifact beside them."""
    config = plan.config
    params: dict[str, Any] = {
        "model": config.model.name,
        "lang": config.lang.code,
        "pipeline": config.pipeline.name,
        "quant": config.quant["method"],
        "seed": config.seed,
        "data.path": plan.values["data"].get("path"),
        "data.limit": plan.values["data"].get("limit"),
        "distill": _distillation(plan),
        **_recipe_params("finetune", config.finetune),
        "teacher.epochs": config.teacher.epochs,
    }
    if config.recover is not None:
        params |= _recipe_params("recover", config.recover)
    if plan.prunes:
        params |= {"prune.method": plan.pruning.method, "prune.ratio": f"{pruned_ratio(plan):g}"}
        params["prune.scope"] = config.prune.get("scope")
    return {key: str(value) for key, value in params.items() if value is not None}


def _recipe_params(group: str, recipe: Recipe) -> dict[str, Any]:
    shown = ("method", "epochs", "learning_rate", "batch_size")
    return {f"{group}.{key}": getattr(recipe, key) for key in shown}


def _distillation(plan: Plan) -> str:
    """Return what the student learns from: the name of the group's member that says so, or the nearest."""
    distill = plan.config.distill
    kind = "online" if distill.teacher else "cached" if distill.logits else "sequence"
    filters = distill.filters.model_dump()
    return f"{kind} filtered" if any(filters.values()) else kind


def pruned_ratio(plan: Plan) -> float:
    """Return the share of the layers that is removed; 0 if the run prunes nothing."""
    return float(plan.pruning.ratio or 0.0) if plan.prunes else 0.0


def layers_removed(done: Sequence[NodeResult], order: str = "order") -> list[int]:
    """Return the layers that the last round removed, in the order of their removal."""
    orders: list[list[int]] = [one.artifact.facts.get(order, []) for one in done]
    return max(orders, key=len, default=[])


def log_stages(tracked: TrackedRun, done: Sequence[NodeResult], plan: Plan, curves: StageCurves) -> None:
    """Log what is known once all stages are done: their curves, the layers removed, the data."""
    for one in done:  # the evaluation did not look at all that are in the store
        curves.finish(one)
    tracked.log_params(_found_params(plan, done))
    tracked.log_datasets(_used_datasets(plan, done))


def log_systems(tracked: TrackedRun, systems: Sequence[Mapping[str, Any]], plan: Plan, evaluation: Evaluation) -> None:
    """Log the table of the systems, their translations, and the last one, which the run is about, with its model."""
    main = systems[-1]
    figures = main_figures(main)
    tracked.log_metrics(figures)
    # MLflow's page that compares runs puts the first parameter on the x axis, and the first figure on the y axis.
    tracked.log_params({"compressed.size_mb": f"{figures[SIZE_MB]:.2f}"})
    tracked.log_model(
        f"{main['name']} {plan.config.lang.code}", {"folder": main["model_dir"], **chosen_params(plan)}, figures
    )
    tracked.log_table(translations_table(systems, _scored_data(evaluation, plan)), "translations.json")
    tracked.set_tags({DESCRIPTION_TAG: format_run_table(systems, markdown_table)})


def _scored_data(evaluation: Evaluation, plan: Plan) -> Artifact | None:
    """Return the data whose translations the run compares, if one of its stages translated them."""
    for name in reversed(plan.pipeline.required_nodes()):
        data = plan.pipeline.nodes[name].inputs.get("data")
        if plan.pipeline.nodes[name].kind is Kind.SCORES and isinstance(data, str):
            return evaluation.artifact(data)
    return None


def _found_params(plan: Plan, done: Sequence[NodeResult]) -> dict[str, str]:
    """Return what tells runs apart and is known at their end: the layers removed and the sizes of the data."""
    params = {
        f"removed.{stack}": " ".join(map(str, sorted(layers_removed(done, order))))
        for stack, order in (("decoder", "order"), ("encoder", "encoder_order"))
    }
    for one in done:
        if plan.pipeline.nodes[one.name].stage_name == "manifest":
            params[f"data.{one.name}_utterances"] = str(one.artifact.facts.get("utterances", ""))
    return {key: value for key, value in params.items() if value}


def main_figures(system: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of the main system, the last of the table.

    Those of the other systems are in the run's description: here they would hide these.
    """
    low, high = system.get("retention_ci") or (None, None)
    figures = {
        RETENTION: _times(system["retention"], 100),
        f"{RETENTION}_low": _times(low, 100),
        f"{RETENTION}_high": _times(high, 100),
        f"{RETENTION}_deviation": _times(system.get("retention_deviation"), 100),
        SIZE_MB: system["bytes_on_disk"] / 1e6,
        "compressed/size_parameters_million": _times(system.get("params"), 1e-6),
        "compressed/speed_real_time_factor": system.get("rtf"),
        **{f"compressed/score_{name}": system.get(name) for name in system["metrics"]},
    }
    return {key: round(value, 3) for key, value in figures.items() if value is not None}  # shown without rounding


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value


def _used_datasets(plan: Plan, done: Sequence[NodeResult]) -> list[Dataset]:
    """Return the data that the run trained and tested on."""
    contexts = {"train": "training", "test": "testing"}
    return [
        Dataset(
            f"{one.name} {plan.config.lang.code}",
            one.artifact.identity[:8],
            one.artifact.path,
            contexts[one.name],
            {"num_rows": one.artifact.facts.get("utterances"), "seconds": one.artifact.facts.get("seconds")},
        )
        for one in done
        if one.artifact.kind is Kind.MANIFEST and one.name in contexts
    ]


class StageCurves:
    """Sends the curves of a run's stages: of one that is at work as it grows, of one that was made before at once.

    A search is one curve, the score by the number of layers removed, although each of its rounds is a stage.
    """

    def __init__(self, plan: Plan, tracked: TrackedRun) -> None:
        self._plan, self._tracked = plan, tracked
        self._sent: set[tuple[str, int]] = set()

    def log(self, node: str, metrics: Mapping[str, float], step: int | None) -> None:
        """Send what a stage logs. Without a step it is no curve, and is among the stage's facts."""
        if step is not None and self._plan.pipeline.nodes[node].kind is not Kind.RANKING:
            self._send({f"training/{node}/{key}": value for key, value in metrics.items()}, step)

    def finish(self, result: NodeResult) -> None:
        """Send what is missing of a stage's curves: a stage may have been made, or begun, by another run."""
        facts = result.artifact.facts
        if result.artifact.kind is Kind.RANKING:
            if facts.get("score") is not None:
                removed = len(facts.get("order", [])) + len(facts.get("encoder_order", []))
                search, metric = result.name.split(".")[0], getattr(self._plan.pruning, "metric", "score")
                self._send({f"search/{search}/{metric}_by_layers_removed": facts["score"]}, removed)
            return
        for key, points in result.curves.items():
            for step, value in points:
                self._send({f"training/{result.name}/{key}": value}, int(step))

    def _send(self, metrics: Mapping[str, float], step: int) -> None:
        new = {key: value for key, value in metrics.items() if (key, step) not in self._sent}
        self._sent.update((key, step) for key in new)
        self._tracked.log_metrics(new, step)


def stage_rows(done: Iterable[NodeResult]) -> list[dict[str, Any]]:
    """Return each stage with its identity, whether it was cached, and the seconds when it was made."""
    return [
        {"name": one.name, "identity": one.artifact.identity, "cached": one.cached, "seconds": one.seconds}
        for one in done
    ]


def translations_table(systems: Sequence[Mapping[str, Any]], data: Artifact | None) -> dict[str, list[Any]]:
    """Return the table of all translations: column title → values, a row a sentence.

    Args:
        systems: the rows of the comparison, with the places of their translations.
        data: the manifest that was translated; without it, the rows have numbers and no English.
    """
    folders = {system["name"]: Path(system["hypotheses"]).parent for system in systems}
    references = read_texts(next(iter(folders.values())) / REFERENCES_FILE)
    table: dict[str, list[Any]] = {"id": list(range(1, len(references) + 1)), "reference": references}
    with suppress(InputError, OSError):  # the store may have the scores and no longer the data
        lines = Manifest.load(data.path).lines if data else []
        if len(lines) == len(references):
            table = {"id": [one.id for one in lines], "English": [one.source for one in lines], "reference": references}
    for system in systems:
        name, folder = system["name"], folders[system["name"]]
        table[name] = read_texts(Path(system["hypotheses"]))
        scored = Scores.load(folder).metrics.get(SENTENCE_METRIC)
        if scored is not None:
            scores = metric_with(SENTENCE_METRIC, {}).from_statistics(scored.statistics)
            table[f"{name} {SENTENCE_METRIC}"] = [round(score, 1) for score in scores]
    return table
