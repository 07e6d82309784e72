"""Finds what would stop a run late, or change it, before it starts.

Data that do not exist, utterances longer than the model's window, warm-ups longer than their training, a model that the
Hugging Face hub does not give, missing speech engines. It reads only the lines of the data, the headers of audio files,
and the model's config. Imports neither torch nor transformers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.data.manifest import Manifest as ManifestFolder
from stc.data.manifest import SpeechAmount
from stc.data.sources import DataNotFound, SplitNotFound
from stc.errors import ConfigError, Fault, InputError, ModelError, StcError
from stc.metrics.metric import metric_with
from stc.metrics.selection_metric import LOSS
from stc.models.hub import HubModel
from stc.models.layout import Layout
from stc.pipeline.graph import Node, Pipeline
from stc.planning.disk import forecast_node, hub_config, input_forecasts
from stc.stages.manifest import Manifest
from stc.store.artifact import Kind
from stc.system.hub_files import HubUnreachable
from stc.system.paths import ROOT
from stc.training.recipe import Recipe

if TYPE_CHECKING:
    from stc.config.plan import Plan
    from stc.config.schema import DataSetConfig

SHIPPED_CORPUS, SHIPPED_BASE = ROOT / "assets" / "talks", ROOT / "assets" / "base"

LISTED = 20  # the most lines that are named for one fault

Durations = list[tuple[str, float]]
"""The place of each utterance in the data, and its seconds."""


def check_jobs(plans: Sequence[Plan], *, running: bool) -> None:
    """Stop before anything is computed or tracked.

    Args:
        running: whether models that are not on this machine are needed now.

    Raises:
        ConfigError: the data of a job do not exist, an utterance is longer than the model's window, the hub does not
            give the model or what a metric reads, or stc does not support the model.
    """
    refused, unreachable = hub_faults(plans)
    found = [*refused, *data_faults(plans)]
    if running:
        found += [*unreachable, *metric_faults(plans)]
    if found:
        raise ConfigError(found)


def hub_faults(plans: Sequence[Plan]) -> tuple[list[Fault], list[Fault]]:
    """Return the models of the hub that stop one of several jobs, each once: those that the hub does not give or stc
    does not support, and those that are not on this machine while the hub cannot be asked."""
    refused: list[Fault] = []
    unreachable: list[Fault] = []
    for plan in plans:
        for node in _required_nodes(plan.pipeline):
            if isinstance(node.source, HubModel):
                try:
                    hub_config(node.source)
                except HubUnreachable as error:
                    unreachable.append(Fault(*_setting(node, plan), str(error)))
                except (InputError, ModelError) as error:
                    refused.append(Fault(*_setting(node, plan), str(error)))
    return _without_repeats(refused), _without_repeats(unreachable)


def metric_faults(plans: Sequence[Plan]) -> list[Fault]:
    """Return the metrics of which something is neither on this machine nor given by the hub, each once."""
    faults: list[Fault] = []
    for plan in plans:
        metrics = plan.config.metrics
        chosen = getattr(plan.pruning, "metric", LOSS) if plan.prunes else LOSS
        for name in dict.fromkeys([*metrics.names, chosen]):
            if name != LOSS:
                try:
                    metric_with(name, metrics.settings).check_downloads()
                except InputError as error:
                    key = "metrics.names" if name in metrics.names else "prune.metric"
                    faults.append(Fault(key, name, str(error)))
    return _without_repeats(faults)


def data_faults(plans: Sequence[Plan]) -> list[Fault]:
    """Return the faults of the data that would stop one of several jobs, each once."""
    durations: dict[str, Durations] = {}  # by stage: the jobs of a sweep read the same files
    forecasts: dict[str, Any] = {}
    return _without_repeats(fault for plan in plans for fault in _data_faults(plan, durations, forecasts))


def _without_repeats(faults: Iterable[Fault]) -> list[Fault]:
    return list({str(fault): fault for fault in faults}.values())


def collect_notes(plans: Sequence[Plan]) -> list[str]:
    """Return what stops none of several jobs and is good to know before they start, each once."""
    forecasts: dict[str, Any] = {}
    notes: list[str] = []
    for plan in plans:
        notes += [*shipped_corpus_notes(plan), *_notes(plan.pipeline, forecasts)]
    return list(dict.fromkeys(notes))


def shipped_corpus_notes(plan: Plan) -> Iterator[str]:
    """Yield a note if the user's own model is to be trained on the corpus that ships."""
    model, data = plan.config.model, plan.config.data
    shipped = data.path is not None and data.path.resolve() == SHIPPED_CORPUS.resolve()
    if shipped and Path(model.path).resolve() != SHIPPED_BASE.resolve():
        yield (
            f"{model.path} is trained and tested on {data.path}, the small synthetic corpus that ships; "
            "data.path=FOLDER names data of your own"
        )


def _required_nodes(pipeline: Pipeline) -> list[Node]:
    return [pipeline.nodes[name] for name in pipeline.required_nodes()]


def _data_faults(plan: Plan, known: dict[str, Durations], forecasts: dict[str, Any]) -> Iterator[Fault]:
    pipeline = plan.pipeline
    durations: dict[str, Durations] = {}
    for node in _required_nodes(pipeline):
        try:
            if node.kind is Kind.MANIFEST:
                key = repr(node.stage or node.source)
                durations[node.name] = known[key] = known[key] if key in known else list(_durations(node))
        except InputError as error:
            if isinstance(node.stage, Manifest) and not isinstance(error, DataNotFound):
                continue  # a faulty row: the job reports it, and it stops no other one
            found = _split_setting(node, plan) if isinstance(error, SplitNotFound) else None
            yield Fault(*(found or _setting(node, plan)), str(error))
    for name, window in _windows(pipeline, forecasts).items():
        long = [f"{where} ({seconds:.2f} s)" for where, seconds in durations.get(name, []) if seconds > window]
        if long:
            more = f" and {len(long) - LISTED} more" if len(long) > LISTED else ""
            yield Fault(
                *_setting(pipeline.nodes[name], plan),
                f"{', '.join(long[:LISTED])}{more}: longer than the model's window of {window:g} s; "
                "data.over_window=split cuts what is translated in its pauses and leaves out what is trained on",
            )


def _setting(node: Node, plan: Plan) -> tuple[str, object]:
    """Return the setting that says where the data or the model of a node is, and its value."""
    if isinstance(node.stage, Manifest):
        setting = "source" if node.stage.path is None else "path"
        value = getattr(node.stage, setting)
        groups = _data_groups(plan)
        group = next((name for name, one in groups.items() if getattr(one, setting) == value), f"stages.{node.name}")
        if setting == "path":
            return f"{group}.path", value
        place = node.stage.data_source().PLACE
        return f"{group}.source.{place}", value[place]
    source = node.source.id if isinstance(node.source, HubModel) else node.source
    return "model.path" if source == plan.config.model.path else f"stages.{node.name}.from", source


def _split_setting(node: Node, plan: Plan) -> tuple[str, object] | None:
    """Return the setting that names the split of a node, and its value; None if it is in no group of data."""
    stage = node.stage
    assert isinstance(stage, Manifest)
    for group, data in _data_groups(plan).items():
        if (data.path, data.source) == (stage.path, stage.source):
            for name, split in data.splits:
                if split == stage.split:
                    return f"{group}.splits.{name}", split
    return None


def _data_groups(plan: Plan) -> dict[str, DataSetConfig]:
    """Return the data of a run by the key of their settings."""
    mixed = {f"data.mix.{name}": one for name, one in plan.config.data.mix.items() if one is not None}
    return {"data": plan.config.data, **mixed}


def _durations(node: Node) -> Iterator[tuple[str, float]]:
    """Yield the place and the seconds of each utterance of known length.

    Raises:
        InputError: the data do not exist, or a row is malformed.
    """
    if isinstance(node.stage, Manifest):
        yield from ((place, seconds) for place, seconds in node.stage.lengths() if seconds is not None)
    elif node.source is not None and not isinstance(node.source, HubModel):
        yield from ((row.id, row.duration) for row in ManifestFolder.load(node.source).rows)


def _windows(pipeline: Pipeline, known: dict[str, Any]) -> dict[str, float]:
    """Return, for the node of each data set, the longest utterance in seconds that all models which read it accept."""
    forecasts = _forecasts(pipeline, known)
    found: dict[str, float] = {}
    for node in _required_nodes(pipeline):
        model = node.inputs.get("model", node.name)  # a stage without a model may make one
        layout = forecasts[model] if isinstance(model, str) else None
        if isinstance(layout, Layout):
            for data in {one for _, target in node.upstream() for one in _data_sets(pipeline, target)}:
                found[data] = min(found.get(data, math.inf), layout.window_seconds)
    return found


def _data_sets(pipeline: Pipeline, name: str) -> Iterator[str]:
    """Yield a data set and those that it is made of."""
    node = pipeline.nodes[name]
    if node.kind is Kind.MANIFEST:
        yield name
        for _, target in node.upstream():
            yield from _data_sets(pipeline, target)


def _forecasts(pipeline: Pipeline, known: dict[str, Any]) -> dict[str, Any]:
    """Return what every node will be, whatever a store has; None if that is not known.

    Args:
        known: forecasts that follow from files, which the jobs of a sweep share; this function adds to it.
    """
    found: dict[str, Any] = {}
    for node in _required_nodes(pipeline):
        if node.stage is None or isinstance(node.stage, Manifest):
            key = f"{node.kind} {node.stage or node.source!r}"
            if key not in known:
                known[key] = _forecast(node, {})
            found[node.name] = known[key]
        else:
            found[node.name] = _forecast(node, input_forecasts(node, found))
    return found


def _forecast(node: Node, inputs: Mapping[str, Any]) -> Any:
    try:
        return forecast_node(node, inputs)
    except (StcError, OSError):  # reported by what reads it
        return None


def _notes(pipeline: Pipeline, known: dict[str, Any]) -> Iterator[str]:
    forecasts = _forecasts(pipeline, known)
    for node in _required_nodes(pipeline):
        if node.stage is not None:
            missing = node.stage.missing_requirements()
            yield from (f"{node.name}, unless it is in the store: {why}" for why in missing)
        train = node.inputs.get("train")
        if isinstance(node.stage, Recipe) and isinstance(train, str) and isinstance(forecasts[train], SpeechAmount):
            steps = node.stage.epochs * math.ceil(forecasts[train].utterances / node.stage.batch_size)
            shortened = node.stage.warmup(steps)
            if shortened < node.stage.warmup_steps:
                exact = isinstance(pipeline.nodes[train].stage, Manifest)
                yield (
                    f"{node.name}: warmup_steps={node.stage.warmup_steps}, and the training has "
                    f"{steps if exact else f'as few as {steps}'} steps: the warm-up is shortened to "
                    f"{shortened if exact else 'a tenth of them if it is not shorter'}"
                )
