"""What would stop a run late, or change it, and can be told before it starts.

Data that are not there, utterances longer than the model hears, warm-ups that their training is too short for, a model
that the Hugging Face hub does not give, speech engines that are not installed. Only the lines of the data are read, the
headers of audio files, and the model's config. Imports neither torch nor transformers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.data.manifest import Manifest as Folder
from stc.data.manifest import SpeechAmount
from stc.data.sources import DataNotFound
from stc.errors import ConfigError, Fault, InputError, ModelError, StcError
from stc.models.hub import HubModel, HubUnreachable
from stc.models.layout import Layout
from stc.pipeline.graph import Node, Pipeline
from stc.planning.disk import describe_folder, hub_config, hub_layout
from stc.stages.manifest import Manifest
from stc.store.artifact import Kind
from stc.system.paths import ROOT
from stc.training.recipe import Recipe

if TYPE_CHECKING:
    from stc.config.plan import Plan

SHIPPED_CORPUS, SHIPPED_BASE = ROOT / "assets" / "talks", ROOT / "assets" / "base"

LISTED = 20  # lines that are named of those with one fault

Lengths = list[tuple[str, float]]
"""Where an utterance is listed, and its seconds."""


def check_jobs(plans: Sequence[Plan], *, running: bool) -> None:
    """Stop before anything is computed or tracked.

    Args:
        running: whether what the hub cannot be asked for is needed now.

    Raises:
        ConfigError: the data of a job are not there, an utterance is longer than the model hears, or the model is one
            that the hub does not give or that stc does not handle.
    """
    refused, unasked = hub_faults(plans)
    if found := [*refused, *(unasked if running else []), *data_faults(plans)]:
        raise ConfigError(found)


def hub_faults(plans: Sequence[Plan]) -> tuple[list[Fault], list[Fault]]:
    """Return which models of the hub stop one of several jobs, each once: those that it does not give or stc does not
    handle, and those that are not on this machine while the hub cannot be asked."""
    refused: list[Fault] = []
    unasked: list[Fault] = []
    for plan in plans:
        for node in map(plan.pipeline.nodes.__getitem__, plan.pipeline.required_nodes()):
            if isinstance(node.source, HubModel):
                try:
                    hub_config(node.source)
                except HubUnreachable as error:
                    unasked.append(Fault(*_key(node, plan), str(error)))
                except (InputError, ModelError) as error:
                    refused.append(Fault(*_key(node, plan), str(error)))
    return _each_once(refused), _each_once(unasked)


def data_faults(plans: Sequence[Plan]) -> list[Fault]:
    """What of the data would stop one of several jobs, each fault once."""
    read: dict[str, Lengths] = {}  # by stage: the jobs of a sweep read the same files
    seen: dict[str, Any] = {}
    return _each_once(fault for plan in plans for fault in _faults(plan, read, seen))


def _each_once(found: Iterable[Fault]) -> list[Fault]:
    return list({str(fault): fault for fault in found}.values())


def collect_notes(plans: Sequence[Plan]) -> list[str]:
    """What stops none of several jobs and is good to know before, each once."""
    seen: dict[str, Any] = {}
    return list(
        dict.fromkeys(note for plan in plans for note in [*shipped_corpus_notes(plan), *_notes(plan.pipeline, seen)])
    )


def shipped_corpus_notes(plan: Plan) -> Iterator[str]:
    """Yield a note where a model of one's own is to be trained on the corpus that ships."""
    model, data = plan.config.model, plan.config.data
    shipped = data.path is not None and data.path.resolve() == SHIPPED_CORPUS.resolve()
    if shipped and Path(model.path).resolve() != SHIPPED_BASE.resolve():
        yield (
            f"{model.path} is trained and tested on {data.path}, the small synthetic corpus that ships; "
            "data.path=FOLDER names data of your own"
        )


def _faults(plan: Plan, read: dict[str, Lengths], seen: dict[str, Any]) -> Iterator[Fault]:
    pipeline = plan.pipeline
    lengths: dict[str, Lengths] = {}
    for name in pipeline.required_nodes():
        node = pipeline.nodes[name]
        try:
            if node.kind is Kind.MANIFEST:
                key = repr(node.stage or node.source)
                lengths[name] = read[key] = read[key] if key in read else list(_lengths(node))
        except InputError as error:
            if isinstance(node.stage, Manifest) and not isinstance(error, DataNotFound):
                continue  # of a row the job tells, which stops no other one
            yield Fault(*_key(node, plan), str(error))
    for name, window in _windows(pipeline, seen).items():
        long = [f"{where} ({seconds:.2f} s)" for where, seconds in lengths.get(name, []) if seconds > window]
        if long:
            more = f" and {len(long) - LISTED} more" if len(long) > LISTED else ""
            yield Fault(
                *_key(pipeline.nodes[name], plan),
                f"{', '.join(long[:LISTED])}{more}: longer than the model's window of {window:g} s; cut such audio "
                "into shorter utterances, or take these out",
            )


def _key(node: Node, plan: Plan) -> tuple[str, object]:
    """The setting that says where the data or the model of a node is, and its value."""
    if isinstance(node.stage, Manifest):
        setting = "source" if node.stage.path is None else "path"
        value = getattr(node.stage, setting)
        of_data = value == getattr(plan.config.data, setting)
        return f"data.{setting}" if of_data else f"stages.{node.name}.{setting}", value
    source = node.source.id if isinstance(node.source, HubModel) else node.source
    return "model.path" if source == plan.config.model.path else f"stages.{node.name}.from", source


def _lengths(node: Node) -> Iterator[tuple[str, float]]:
    """Yield where each utterance of known length is listed, and its seconds.

    Raises:
        InputError: the data are not there, or a row is malformed.
    """
    if isinstance(node.stage, Manifest):
        yield from ((place, seconds) for place, seconds in node.stage.lengths() if seconds is not None)
    elif node.source is not None and not isinstance(node.source, HubModel):
        yield from ((row.id, row.duration) for row in Folder.load(node.source).rows)


def _windows(pipeline: Pipeline, seen: dict[str, Any]) -> dict[str, float]:
    """The most seconds of an utterance that all models hear which are given a data set, by its node."""
    will_be = _foreseen(pipeline, seen)
    found: dict[str, float] = {}
    for name in pipeline.required_nodes():
        node = pipeline.nodes[name]
        model = node.inputs.get("model", name)  # a stage that takes none may make one
        layout = will_be[model] if isinstance(model, str) else None
        if isinstance(layout, Layout):
            for origin in {one for _, target in node.upstream() for one in _origins(pipeline, target)}:
                found[origin] = min(found.get(origin, math.inf), layout.window_seconds)
    return found


def _origins(pipeline: Pipeline, name: str) -> Iterator[str]:
    """The data sets that a data set is made of, itself among them."""
    node = pipeline.nodes[name]
    if node.kind is Kind.MANIFEST:
        yield name
        for _, target in node.upstream():
            yield from _origins(pipeline, target)


def _foreseen(pipeline: Pipeline, seen: dict[str, Any]) -> dict[str, Any]:
    """Return what every node will be, whatever a store has; None where that is not known.

    Args:
        seen: what files on this machine say, by what reads them; the jobs of a sweep read the same ones.
    """
    found: dict[str, Any] = {}
    for name in pipeline.required_nodes():
        node = pipeline.nodes[name]
        if node.stage is None or isinstance(node.stage, Manifest):
            key = f"{node.kind} {node.stage or node.source!r}"
            found[name] = seen[key] = seen[key] if key in seen else _will_be(node, {})
        else:
            inputs = {key: found[target] for key, target in node.inputs.items() if isinstance(target, str)}
            found[name] = _will_be(node, inputs)
    return found


def _will_be(node: Node, inputs: Mapping[str, Any]) -> Any:
    try:
        if node.stage is not None:
            return node.stage.forecast(inputs)
        assert node.source is not None
        return hub_layout(node.source) if isinstance(node.source, HubModel) else describe_folder(node.kind, node.source)
    except (StcError, OSError):  # told by who reads it
        return None


def _notes(pipeline: Pipeline, seen: dict[str, Any]) -> Iterator[str]:
    will_be = _foreseen(pipeline, seen)
    for name in pipeline.required_nodes():
        node = pipeline.nodes[name]
        if node.stage is not None:
            yield from (f"{name}, unless it is in the store: {why}" for why in node.stage.missing_requirements())
        train = node.inputs.get("train")
        if isinstance(node.stage, Recipe) and isinstance(train, str) and isinstance(will_be[train], SpeechAmount):
            steps = node.stage.epochs * math.ceil(will_be[train].utterances / node.stage.batch_size)
            shortened = node.stage.warmup(steps)
            if shortened < node.stage.warmup_steps:
                exact = isinstance(pipeline.nodes[train].stage, Manifest)
                yield (
                    f"{name}: warmup_steps={node.stage.warmup_steps}, and the training has "
                    f"{steps if exact else f'as few as {steps}'} steps: the warm-up is shortened to "
                    f"{shortened if exact else 'a tenth of them if it is not shorter'}"
                )
