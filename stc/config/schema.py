"""The typed schema of everything in conf/, and from a composed config to a plan. All faults at once.

A stage's own fields are validated by the stage's class, when :mod:`stc.pipeline.from_config` makes the graph; here are
the groups they are filled from. Imports neither torch nor transformers.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stc.data.manifest import OnOverlap
from stc.data.sources import SourceSettings
from stc.decoding.options import Decoding
from stc.distillation.filters import Filters
from stc.distillation.options import TokenDistillation
from stc.errors import ConfigError, Fault, InputError, ModelError, field_error, first_line, suggestion, validate_model
from stc.metrics.metric import MetricName, metric_named
from stc.metrics.selection import LOSS
from stc.models import architecture, read_config
from stc.models.architecture import Stack
from stc.models.hub import HubModel, model_source
from stc.pipeline.from_config import build_nodes, nodes_named
from stc.pipeline.graph import Pipeline
from stc.pipeline.stage import BoolOrAuto, Context
from stc.pruning import ByRatio, PruningMethod, method_class
from stc.quantization import quantizer
from stc.store.location import store_folder_fault
from stc.system.console import progress
from stc.system.fields import EachOnce, Seed
from stc.system.language_tags import LanguageTag
from stc.system.machine import DECODE_BATCH
from stc.system.paths import Folder, expand_home
from stc.tracking import Tracking
from stc.training.recipe import Recipe

# ${key}, or ${oc.select:key,default}; where the default is null, what is to be set is not that key but the one here.
_INTERPOLATION = re.compile(r"\$\{(?:oc\.select:)?([A-Za-z_][\w.]*)(?:,(?!null\b)\w+)?\}")

_ABSENT: Any = object()
"""What stands under a key that is not there."""


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(_Group):
    """A base model. ``path`` is a folder or a hub id; how many layers it has is needed for a hub id only. ``data`` is
    the folder of the data that it is compressed on where no other are named."""

    name: str
    path: Annotated[str, AfterValidator(expand_home)]
    data: Folder | None = None
    decoder_layers: int | None = Field(default=None, ge=3)
    encoder_layers: int | None = Field(default=None, ge=3)
    dtype: Literal["float32", "bfloat16"]
    attention: Literal["sdpa", "eager"]
    max_new_tokens: int = Field(ge=1, le=1024)


class SplitsConfig(_Group):
    train: str
    dev: str
    selection: str
    test: str


class DataConfig(_Group, SourceSettings):
    """The data, and where they come from. ``limit`` keeps the first so many utterances of each split. Without a name
    the data are called as their folder.

    Attributes:
        on_overlap: what becomes of an utterance of ``train`` that is in another split as well.
    """

    name: str | None = None
    splits: SplitsConfig
    limit: int | None = Field(default=None, ge=1)
    on_overlap: OnOverlap = "refuse"


class LanguageConfig(_Group):
    code: LanguageTag
    name: str
    metric: MetricName


class DistillConfig(_Group):
    """``repeat``: how often the teacher's translations are in the data. ``tokens`` is what is learnt at every token,
    from the model that the stage ``teacher`` gives or the logits that the stage ``logits`` does."""

    repeat: int = Field(ge=1, le=100)
    decoding: Decoding
    filters: Filters
    teacher: str | None
    logits: str | None
    temperature: float = Field(gt=0, le=100)
    top_k: int = Field(ge=1, le=1_000_000)
    tokens: TokenDistillation | None

    @model_validator(mode="after")
    def _one_temperature(self) -> Self:
        if self.logits and self.tokens and self.tokens.temperature != self.temperature:
            allowed = f"the logits are computed at temperature={self.temperature:g}, which sets both"
            raise field_error(Fault("tokens.temperature", self.tokens.temperature, allowed))
        return self


class MetricsConfig(_Group):
    names: Annotated[tuple[MetricName, ...], Field(min_length=1), EachOnce]
    retention: MetricName
    resamples: int = Field(ge=100, le=100_000)
    confidence: float = Field(gt=0.5, lt=1)
    timed_utterances: int = Field(ge=1)
    witnessed: int = Field(ge=0, le=10_000)

    @model_validator(mode="after")
    def _scored(self) -> Self:
        if self.retention not in self.names:
            allowed = f"retention={self.retention} is not among names: {', '.join(self.names)}"
            raise field_error(Fault("names", self.names, allowed, others=(("retention", self.retention),)))
        return self


class ResourcesConfig(_Group):
    """What a run may use; no result depends on it.

    Attributes:
        decode_batch: ``auto`` is :data:`stc.system.machine.DECODE_BATCH` of the device.
    """

    device: Literal["auto", "cpu", "cuda"]
    workers: int = Field(ge=1, le=256)
    train_micro_batch: int = Field(ge=1)
    decode_batch: Annotated[int, Field(ge=1)] | Literal["auto"]
    unpack: BoolOrAuto
    compile: BoolOrAuto
    gradient_checkpointing: bool
    processes: int = Field(ge=1, le=64)

    def context(self, device: str) -> Context:
        """What every stage of a run may use; scratch and what hears its metrics are added for each."""
        return Context(
            device=device,
            workers=self.workers,
            train_micro_batch=self.train_micro_batch,
            decode_batch=DECODE_BATCH[device] if self.decode_batch == "auto" else self.decode_batch,
            scratch=Path(),
            log=lambda metrics, step=None: None,
            progress=progress,
            unpack=self.unpack,
            compile=self.compile,
            gradient_checkpointing=self.gradient_checkpointing,
            processes=self.processes,
        )


def _fit_for_a_store(folder: Path) -> Path:
    if why := store_folder_fault(folder):
        raise ValueError(why)
    return folder


class StoreConfig(_Group):
    dir: Annotated[Folder, AfterValidator(_fit_for_a_store)]


class PipelineConfig(_Group):
    name: str
    outputs: Annotated[tuple[str, ...], Field(min_length=1), EachOnce]


class Config(_Group):
    """A composed run. ``recover`` is the recipe of a second healing, in a pipeline that has one; ``seeds`` are those
    that the run is to be made with, one after the other, in place of ``seed``; with ``fail_fast`` a sweep begins no job
    after one that failed."""

    model: ModelConfig
    data: DataConfig
    lang: LanguageConfig
    prune: Mapping[str, Any]
    quant: Mapping[str, Any]
    distill: DistillConfig
    teacher: Recipe
    finetune: Recipe
    recover: Recipe | None = None
    metrics: MetricsConfig
    resources: ResourcesConfig
    store: StoreConfig
    tracking: Tracking
    pipeline: PipelineConfig
    stages: Mapping[str, Mapping[str, Any]]
    force: Annotated[tuple[str, ...], EachOnce] = ()
    fail_fast: bool = False
    seed: Seed
    seeds: Annotated[tuple[Seed, ...], EachOnce] = ()


@dataclass(frozen=True)
class Plan:
    """What a run will do: its validated config, the same as plain values, how layers are chosen, and its graph."""

    config: Config
    values: dict[str, Any]
    pruning: PruningMethod
    pipeline: Pipeline

    @property
    def prunes(self) -> bool:
        """Whether what is asked for rests on a pruned model; where not, ``prune.ratio`` says nothing."""
        return any(self.pipeline.nodes[name].stage_name == "prune" for name in self.pipeline.required_nodes())


def make_plan(composed: DictConfig) -> Plan:
    """Validate a composed config and build its pipeline.

    Raises:
        ConfigError: with every fault of it.
    """
    composed = composed.copy()
    OmegaConf.set_struct(composed, False)
    written: Any = OmegaConf.to_container(composed, resolve=False)
    stages = composed.get("stages", {})
    if not isinstance(stages, DictConfig):
        raise ConfigError([Fault("stages", stages, "must be a mapping from name to stage")])
    pruned = any(isinstance(entry, DictConfig) and entry.get("stage") == "prune" for entry in stages.values())
    choosing = composed.prune.pop("stages", {}) if isinstance(composed.get("prune"), DictConfig) else {}
    if pruned and choosing:
        composed.stages = OmegaConf.merge(choosing, stages)
        stages = composed.stages
        written["stages"] = OmegaConf.to_container(stages, resolve=False)
    names = [str(name) for name in composed if name != "stages"]
    groups, faults = _resolved(composed, names)
    config, more = _config(groups, list(stages))
    faults += [fault for fault in more if fault.key in groups or fault.key not in composed]
    pruning, more = _pruning(groups.get("prune"))
    faults += more
    counted, more = _between_groups(groups, pruning, pruned)
    faults += more
    if counted:
        composed.prune.update(counted)
    for name, entry in [*stages.items()]:
        if not isinstance(entry, DictConfig):
            faults.append(Fault(f"stages.{name!s}", stages.pop(name), "must be a mapping: stage, inputs, settings"))
    at_fault = {fault.key.partition(".")[0] for fault in faults} - {"stages"}
    named = _at_sources(faults, written, at_fault)
    if pruned and not counted:
        at_fault.add("prune")  # what is filled in there is missing
    resolved, more = _resolved(composed, ["stages"])
    graph, unfit = build_nodes(resolved.get("stages", {}))
    outputs = [(nodes_named(name, graph) or [name])[-1] for name in _outputs(groups)]  # of a chain, the last link
    pipeline: Pipeline | None = None
    if "stages" in resolved and all(nodes_named(name, graph) for name in resolved["stages"]):
        try:
            pipeline = Pipeline(graph, outputs)
        except ConfigError as error:
            unfit += error.faults
    at_fault |= {fault.key.partition(".")[0] for fault in named} - {"stages"}
    named += _at_sources([*more, *unfit], written, at_fault)
    if named or config is None or pipeline is None or pruning is None:
        raise ConfigError(list({str(fault): fault for fault in named}.values()))
    force = [name for given in config.force for name in nodes_named(given, graph)]
    config = config.model_copy(update={"force": tuple(force)})
    settled = _resolved(composed, names)[0] if counted else groups
    return Plan(config, {**settled, **resolved}, pruning.model_copy(update=counted), pipeline)


def _resolved(composed: DictConfig, names: Iterable[str]) -> tuple[dict[str, Any], list[Fault]]:
    """The groups as plain values, those left out that refer to something which is not there; and that as faults."""
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name in names:
        try:
            value = OmegaConf.select(composed, name, throw_on_missing=True)
            is_group = OmegaConf.is_config(value)
            values[name] = OmegaConf.to_container(value, resolve=True, throw_on_missing=True) if is_group else value
        except OmegaConfBaseException as error:
            key = (error.full_key or name).partition("[")[0]  # of an item, that of the list
            written = _written(key, OmegaConf.to_container(composed, resolve=False))
            why = first_line(error.msg)
            if isinstance(error, InterpolationKeyError):
                why = rf"{why}; in text that is no reference to a key, ${{ is written \${{, and the text in quotes"
            faults.append(Fault(key, "" if written is _ABSENT else written, why))
    return values, faults


def _at_sources(faults: Sequence[Fault], written: Any, at_fault: Collection[str]) -> list[Fault]:
    """The faults with their keys as those that the values are taken from; without those taken from a group that is
    at fault itself, since that is told."""
    found = []
    for fault in faults:
        key = _source(fault.key, written)
        others = tuple((_source(other, written), value) for other, value in fault.others)
        if key == fault.key or key.partition(".")[0] not in at_fault:
            found.append(replace(fault, key=key, others=others))
    return found


def _source(key: str, written: Any) -> str:
    """The key that the value under a key is taken from: by an interpolation that is the whole of it, by the
    ``settings`` of a stage, or by what the stage is ``like``."""
    parts = key.split(".")
    node = written
    for depth, part in enumerate(parts):
        if not isinstance(node, Mapping):
            return key
        further = parts[depth:]
        if part in node:
            node, further = node[part], parts[depth + 1 :]
        elif depth == 2 and parts[0] == "stages" and "like" in node:
            node = f"${{stages.{node['like']}}}"
        elif depth == 2 and parts[0] == "stages" and "settings" in node:
            node = node["settings"]
        else:
            return key
        if isinstance(node, str) and (other := _INTERPOLATION.fullmatch(node)):
            if _written(other[1], written) is _ABSENT:
                return key
            return _source(".".join([other[1], *further]), written)
    return key


def _written(key: str, written: Any) -> Any:
    """What is written under a key: the interpolation where that is one, or where what is above it is one."""
    for part in key.split("."):
        if isinstance(written, str):
            return written
        if not isinstance(written, Mapping) or part not in written:
            return _ABSENT
        written = written[part]
    return written


def _outputs(groups: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return validate_model(PipelineConfig, groups.get("pipeline") or {}).outputs
    except ConfigError:
        return ()


def _config(groups: Mapping[str, Any], stages: list[str]) -> tuple[Config | None, list[Fault]]:
    """The groups, each by itself."""
    faults: list[Fault] = []
    if isinstance(quant := groups.get("quant"), Mapping):
        try:
            quantizer(quant)
        except ConfigError as error:
            faults += error.faults
    force = groups.get("force")
    for name in map(str, force if isinstance(force, list) else []):
        if name.split(".")[0] not in stages:
            faults.append(Fault("force", name, f"stages are {', '.join(stages)}{suggestion(name, stages)}"))
    try:
        return validate_model(Config, {**groups, "stages": {}}), faults
    except ConfigError as error:
        return None, error.faults + faults


def _between_groups(
    groups: Mapping[str, Any], prune: PruningMethod | None, pruned: bool
) -> tuple[dict[str, Any], list[Fault]]:
    """Return what pruning comes to for the layers of the model, where the run prunes; and what groups that are sound by
    themselves are at fault in together."""
    faults: list[Fault] = []
    distill, lang = _sound(DistillConfig, groups, "distill"), _sound(LanguageConfig, groups, "lang")
    if distill and lang and distill.filters.length_ratio is not None:
        try:
            distill.filters.length_range(lang.code)
        except InputError as error:
            others = (("lang.code", lang.code),)
            faults.append(Fault("distill.filters.length_ratio", dict(distill.filters.length_ratio), str(error), others))
    model = _sound(ModelConfig, groups, "model")
    if lang:
        metrics = _sound(MetricsConfig, groups, "metrics")
        names = [*(metrics.names if metrics else ()), getattr(prune, "metric", LOSS)]
        for name in dict.fromkeys(name for name in names if name != LOSS):
            try:
                metric_named(name).check_ready(lang.code)
            except InputError as error:
                faults.append(Fault("lang.code", groups["lang"]["code"], str(error)))
    if prune is None or not pruned or model is None:
        return {}, faults
    of, unknown = _layers(model, str(groups["model"]["path"]), prune.stacks)
    counted, uncounted = prune.fill_in(of) if not unknown else ({}, [])
    return counted, faults + unknown + uncounted


_Named = TypeVar("_Named", bound=BaseModel)


def _sound(group: type[_Named], groups: Mapping[str, Any], name: str) -> _Named | None:
    """A group without the settings that are at fault by themselves, as far as it can do without."""
    values = groups.get(name, {})
    try:
        return validate_model(group, values)
    except ConfigError as error:
        bad = {fault.key.partition(".")[0] for fault in error.faults}
    try:
        return validate_model(group, {key: value for key, value in dict(values or {}).items() if key not in bad})
    except ConfigError:
        return None


def _pruning(values: Any) -> tuple[PruningMethod | None, list[Fault]]:
    """Return the settings of the pruning method, and the faults in them. Where there are any, the settings are those
    that say how many layers are removed from what, if these are sound, and else None."""
    if not isinstance(values, Mapping):
        return None, []  # which is a fault of the config
    try:
        method = method_class(values)
    except ConfigError as error:
        return None, error.faults
    try:
        return validate_model(method, values, "prune"), []
    except ConfigError as error:
        faults = error.faults
    bad = {fault.key.removeprefix("prune.").partition(".")[0] for fault in faults}
    if bad & {"ratio", "scope"} or not issubclass(method, ByRatio):
        return None, faults
    return ByRatio.model_construct(**{key: values[key] for key in ("method", "ratio", "scope")}), faults


def _layers(model: ModelConfig, path: str, stacks: Sequence[Stack]) -> tuple[dict[Stack, int], list[Fault]]:
    """Return how many layers the stacks of a model have, by its folder or, of a model of the hub, by the config."""
    stated: dict[Stack, int | None] = {"decoder": model.decoder_layers, "encoder": model.encoder_layers}
    try:
        folder = model_source(path, "model.path")
        if not isinstance(folder, HubModel):
            facts = read_config(folder)
            stated = {**architecture(facts["model_type"]).layers(facts)}
            if absent := [stack for stack in stacks if stack not in stated]:
                why = f"has no {absent[0]} to remove layers of; it has {', '.join(stated)}"
                return {}, [Fault("model.path", path, why)]
    except ConfigError as error:
        return {}, error.faults
    except ModelError as error:
        return {}, [Fault("model.path", path, str(error))]
    allowed = f"{path} is no folder here, and of a model of the Hugging Face hub it has to be said: model.{{}}=32"
    unknown = [
        Fault(key, None, allowed.format(key.partition(".")[2]), others=(("model.path", path),))
        for key in (f"model.{stack}_layers" for stack in stacks if stated[stack] is None)
    ]
    return {stack: stated[stack] or 0 for stack in stacks}, unknown
