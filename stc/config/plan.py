"""From a composed config to a plan: the groups are validated, and the graph of stages is built. All faults together.

A stage's own fields are validated by its class, when :mod:`stc.pipeline.from_config` builds the graph. Imports neither
torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from pydantic import BaseModel

from stc.config.added_stages import MIXTURE, add_stages, mixture_fault
from stc.config.fault_keys import ABSENT, at_source_keys, written_value
from stc.config.languages import Language
from stc.config.schema import Config, DistillConfig, MetricsConfig, ModelConfig, PipelineConfig
from stc.errors import (
    ConfigError,
    Fault,
    InputError,
    ModelError,
    command_line_value,
    first_line,
    suggestion,
    validate_model,
)
from stc.metrics.metric import metric_with
from stc.metrics.selection_metric import LOSS
from stc.models import architecture, read_config
from stc.models.architecture import Stack
from stc.models.hub import HubModel, model_source
from stc.pipeline.from_config import build_nodes, nodes_named
from stc.pipeline.graph import Node, Pipeline
from stc.pruning import ByRatio, PruningMethod, method_class
from stc.quantization import quantizer


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Attributes:
        config: the validated config.
        values: the same as plain values.
        pruning: how layers are chosen.
        pipeline: the graph of stages.
    """

    config: Config
    values: dict[str, Any]
    pruning: PruningMethod
    pipeline: Pipeline

    @property
    def prunes(self) -> bool:
        """Return whether the outputs depend on a pruned model; if not, ``prune.ratio`` has no meaning."""
        return any(self.pipeline.nodes[name].stage_name == "prune" for name in self.pipeline.required_nodes())


def make_plan(composed: DictConfig) -> Plan:
    """Validate a composed config and build its pipeline.

    Raises:
        ConfigError: with every fault of it.
    """
    composed = composed.copy()
    OmegaConf.set_struct(composed, False)
    if not isinstance(composed.get("stages", {}), DictConfig):
        raise ConfigError([Fault("stages", composed.stages, "must be a mapping from name to stage")])
    prunes = add_stages(composed)
    stages = composed.get("stages", {})
    written: Any = OmegaConf.to_container(composed, resolve=False)

    faults: list[Fault] = []
    names = [str(name) for name in composed if name != "stages"]
    groups = _resolve(composed, names, faults)
    config = _validate_groups(groups, list(stages), composed, faults)
    pruning = _pruning_method(groups.get("prune"), faults)
    _check_between_groups(groups, pruning, faults)
    filled_in = _fill_in_pruning(groups, pruning, faults) if prunes and pruning else {}
    if filled_in:
        composed.prune.update(filled_in)
    for name, entry in [*stages.items()]:
        if not isinstance(entry, DictConfig):
            faults.append(Fault(f"stages.{name!s}", stages.pop(name), "must be a mapping: stage, inputs, settings"))
    faulty_groups = _groups_of(faults)
    reported = at_source_keys(faults, written, faulty_groups)

    stage_faults: list[Fault] = []
    resolved = _resolve(composed, ["stages"], stage_faults)
    nodes, pipeline = _build_pipeline(resolved.get("stages"), groups, stage_faults)
    if MIXTURE in nodes and pipeline and MIXTURE not in pipeline.required_nodes():
        reported.append(mixture_fault(groups["data"]["mix"], groups["pipeline"]["name"]))
    faulty_groups |= _groups_of(reported)
    if prunes and not filled_in:
        faulty_groups.add("prune")  # the values filled in there are missing
    reported += at_source_keys(stage_faults, written, faulty_groups)
    if reported or config is None or pipeline is None or pruning is None:
        raise ConfigError(list({str(fault): fault for fault in reported}.values()))
    force = tuple(link for name in config.force for link in nodes_named(name, nodes))
    values = _resolve(composed, names, []) if filled_in else groups
    config = config.model_copy(update={"force": force})
    return Plan(config, {**values, **resolved}, pruning.model_copy(update=filled_in), pipeline)


def _build_pipeline(
    stages: Mapping[str, Any] | None, groups: Mapping[str, Any], faults: list[Fault]
) -> tuple[dict[str, Node], Pipeline | None]:
    nodes, found = build_nodes(stages or {})
    faults += found
    pipeline_config = _valid_part(PipelineConfig, groups, "pipeline")
    wanted = pipeline_config.outputs if pipeline_config else ()
    outputs = [(nodes_named(name, nodes) or [name])[-1] for name in wanted]  # of a chain, the last link
    if stages is not None and all(nodes_named(name, nodes) for name in stages):
        try:
            return nodes, Pipeline(nodes, outputs)
        except ConfigError as error:
            faults += error.faults
    return nodes, None


def _groups_of(faults: Sequence[Fault]) -> set[str]:
    return {fault.key.partition(".")[0] for fault in faults} - {"stages"}


def _resolve(composed: DictConfig, names: Iterable[str], faults: list[Fault]) -> dict[str, Any]:
    """Return the groups as plain values. A group with a reference to a key that is not there is left out, and is added
    to the faults."""
    values: dict[str, Any] = {}
    for name in names:
        try:
            value = OmegaConf.select(composed, name, throw_on_missing=True)
            is_group = OmegaConf.is_config(value)
            values[name] = OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if is_group else value
        except OmegaConfBaseException as error:
            key = (error.full_key or name).partition("[")[0]  # for an item, the key of its list
            written = written_value(key, OmegaConf.to_container(composed, resolve=False))
            why = first_line(error.msg)
            if isinstance(error, InterpolationKeyError):
                why = rf"{why}; text with ${{ that is no reference to a key needs \${{ and quotes"
            faults.append(Fault(key, "" if written is ABSENT else written, why))
    return values


def _validate_groups(
    groups: Mapping[str, Any], stages: list[str], composed: DictConfig, faults: list[Fault]
) -> Config | None:
    """Validate each group by itself."""
    found: list[Fault] = []
    config: Config | None = None
    try:
        config = validate_model(Config, {**groups, "stages": {}})
    except ConfigError as error:
        found += error.faults
    if isinstance(quant := groups.get("quant"), Mapping):
        try:
            quantizer(quant)
        except ConfigError as error:
            found += error.faults
    force = groups.get("force")
    for name in map(str, force if isinstance(force, list) else []):
        if name.split(".")[0] not in stages:
            found.append(Fault("force", name, f"stages are {', '.join(stages)}{suggestion(name, stages)}"))
    # A group that could not be resolved is missing here, and is reported already.
    faults += [fault for fault in found if fault.key in groups or fault.key not in composed]
    return config


def _pruning_method(values: Any, faults: list[Fault]) -> PruningMethod | None:
    """Return the settings of the pruning method. If some are faulty, return those that say how many layers are removed
    and from where, if these are valid, and else None."""
    if not isinstance(values, Mapping):
        return None  # reported as a fault of the config
    try:
        method = method_class(values)
    except ConfigError as error:
        faults += error.faults
        return None
    try:
        return validate_model(method, values, "prune")
    except ConfigError as error:
        faults += error.faults
        bad = {fault.key.removeprefix("prune.").partition(".")[0] for fault in error.faults}
    if bad & {"ratio", "scope"} or not issubclass(method, ByRatio):
        return None
    return ByRatio.model_construct(**{key: values[key] for key in ("method", "ratio", "scope")})


def _check_between_groups(groups: Mapping[str, Any], pruning: PruningMethod | None, faults: list[Fault]) -> None:
    """Add the faults of groups that are valid by themselves and not together."""
    lang = _valid_part(Language, groups, "lang")
    if not lang:
        return
    distill = _valid_part(DistillConfig, groups, "distill")
    if distill and distill.filters.length_ratio is not None:
        try:
            distill.filters.length_range(lang.code)
        except InputError as error:
            others = (("lang.code", lang.code),)
            faults.append(Fault("distill.filters.length_ratio", dict(distill.filters.length_ratio), str(error), others))
    metrics = _valid_part(MetricsConfig, groups, "metrics")
    names = [*(metrics.names if metrics else ()), getattr(pruning, "metric", LOSS)]
    for name in dict.fromkeys(name for name in names if name != LOSS):
        try:
            metric_with(name, metrics.settings if metrics else {}).check_ready(lang.code)
        except ConfigError as error:
            faults += error.faults
        except InputError as error:
            key, value = "prune.metric", name
            if metrics and name in metrics.names:
                key, value = "metrics.names", command_line_value(list(metrics.names))
            faults.append(Fault(key, value, str(error), (("lang.code", groups["lang"]["code"]),)))


def _fill_in_pruning(groups: Mapping[str, Any], pruning: PruningMethod, faults: list[Fault]) -> dict[str, Any]:
    """Return the settings of pruning that follow from the layers of the model."""
    model = _valid_part(ModelConfig, groups, "model")
    counts = _layer_counts(model, str(groups["model"]["path"]), pruning.stacks, faults) if model else None
    if counts is None:
        return {}
    filled_in, found = pruning.fill_in(counts)
    faults += found
    return filled_in


_Group = TypeVar("_Group", bound=BaseModel)


def _valid_part(group: type[_Group], groups: Mapping[str, Any], name: str) -> _Group | None:
    """Return a group without its faulty settings; None if it is not valid without them."""
    values = groups.get(name, {})
    try:
        return validate_model(group, values)
    except ConfigError as error:
        bad = {fault.key.partition(".")[0] for fault in error.faults}
    try:
        return validate_model(group, {key: value for key, value in dict(values or {}).items() if key not in bad})
    except ConfigError:
        return None


def _layer_counts(
    model: ModelConfig, path: str, stacks: Sequence[Stack], faults: list[Fault]
) -> dict[Stack, int] | None:
    """Return how many layers these stacks of a model have, by its folder or, for a model of the hub, by the config."""
    counts: dict[Stack, int | None] = {"decoder": model.decoder_layers, "encoder": model.encoder_layers}
    try:
        folder = model_source(path, "model.path")
        if not isinstance(folder, HubModel):
            facts = read_config(folder)
            counts = {**architecture(facts["model_type"]).layers(facts)}
            if absent := [stack for stack in stacks if stack not in counts]:
                raise ModelError(f"has no {absent[0]} to remove layers of; it has {', '.join(counts)}")
    except ConfigError as error:
        faults += error.faults
        return None
    except ModelError as error:
        faults.append(Fault("model.path", path, str(error)))
        return None
    needed = f"{path} is no folder here; for a model of the Hugging Face hub this number is needed: model.{{}}=32"
    unknown = [
        Fault(f"model.{name}", None, needed.format(name), others=(("model.path", path),))
        for name in (f"{stack}_layers" for stack in stacks if counts[stack] is None)
    ]
    faults += unknown
    return None if unknown else {stack: counts[stack] or 0 for stack in stacks}
