"""The typed schema of everything in conf/, and from a composed config to a plan. All faults at once.

A stage's own fields are validated by the stage's class, when :mod:`stc.graph` makes the graph; here are the groups
they are filled from. Imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stc.console import progress
from stc.data.filters import Filters
from stc.decoding.methods import Decoding
from stc.errors import ConfigError, Fault, InputError, ModelError, nearest, validation_faults
from stc.fields import EachOnce, Seed
from stc.graph import links, nodes
from stc.language_tags import LanguageTag
from stc.machine import DECODE_BATCH
from stc.metrics.text import MetricName, refuse_unready
from stc.models import architecture, read_config
from stc.models.architecture import Stack
from stc.pipeline import Pipeline
from stc.pruning import Prune
from stc.quantization import quantizer
from stc.stage import Context, OrAuto
from stc.stages.manifest import Columns
from stc.tracking import Tracking
from stc.training.recipe import Recipe, TokenDistillation


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(_Group):
    """A base model. ``path`` is a folder or a hub id; how many layers it has is needed for a hub id only."""

    name: str
    path: str
    decoder_layers: int | None = Field(default=None, ge=3)
    encoder_layers: int | None = Field(default=None, ge=3)
    dtype: Literal["float32", "bfloat16"]
    attention: Literal["sdpa", "eager"]
    max_new_tokens: int = Field(ge=1, le=1024)


class Splits(_Group):
    train: str
    dev: str
    selection: str
    test: str


class Data(_Group):
    """A folder with one JSON Lines file a split. ``limit`` keeps the first so many utterances of each."""

    name: str
    path: Path
    splits: Splits
    columns: Columns
    limit: int | None = Field(default=None, ge=1)


class Lang(_Group):
    code: LanguageTag
    name: str
    metric: MetricName


class Distill(_Group):
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
            raise ValueError(
                f"tokens.temperature={self.tokens.temperature:g}: the logits are computed at "
                f"temperature={self.temperature:g}, which sets both"
            )
        return self


class Metrics(_Group):
    names: Annotated[tuple[MetricName, ...], Field(min_length=1), EachOnce]
    retention: MetricName
    resamples: int = Field(ge=100, le=100_000)
    confidence: float = Field(gt=0.5, lt=1)
    timed_utterances: int = Field(ge=1)
    witnessed: int = Field(ge=0, le=10_000)

    @model_validator(mode="after")
    def _scored(self) -> Self:
        if self.retention not in self.names:
            raise ValueError(f"retention={self.retention} is not among names: {', '.join(self.names)}")
        return self


class Resources(_Group):
    """What a run may use; no result depends on it.

    Attributes:
        decode_batch: ``auto`` is :data:`stc.machine.DECODE_BATCH` of the device.
    """

    device: Literal["auto", "cpu", "cuda"]
    workers: int = Field(ge=1, le=256)
    train_micro_batch: int = Field(ge=1)
    decode_batch: Annotated[int, Field(ge=1)] | Literal["auto"]
    unpack: OrAuto
    compile: OrAuto
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


class StoreGroup(_Group):
    dir: Path


class PipelineGroup(_Group):
    name: str
    outputs: Annotated[tuple[str, ...], Field(min_length=1), EachOnce]


class Config(_Group):
    """A composed run. ``recover`` is the recipe of a second healing, in a pipeline that has one; ``seeds`` are those
    that the run is to be made with, one after the other, in place of ``seed``; with ``fail_fast`` a sweep begins no job
    after one that failed."""

    model: Model
    data: Data
    lang: Lang
    prune: Prune
    quant: Mapping[str, Any]
    distill: Distill
    teacher: Recipe
    finetune: Recipe
    recover: Recipe | None = None
    metrics: Metrics
    resources: Resources
    store: StoreGroup
    tracking: Tracking
    pipeline: PipelineGroup
    stages: Mapping[str, Mapping[str, Any]]
    force: Annotated[tuple[str, ...], EachOnce] = ()
    fail_fast: bool = False
    seed: Seed
    seeds: Annotated[tuple[Seed, ...], EachOnce] = ()


@dataclass(frozen=True)
class Plan:
    """What a run will do: its validated config, the same as plain values, and its graph."""

    config: Config
    values: dict[str, Any]
    pipeline: Pipeline

    @property
    def prunes(self) -> bool:
        """Whether what is asked for rests on a pruned model; where not, ``prune.ratio`` says nothing."""
        return any(self.pipeline.nodes[name].stage_name == "prune" for name in self.pipeline.needed())


def plan(composed: DictConfig) -> Plan:
    """Validate a composed config and build its pipeline.

    Raises:
        ConfigError: with every fault of it.
    """
    composed = composed.copy()
    OmegaConf.set_struct(composed, False)
    stages = composed.pop("stages", {})
    if not isinstance(stages, DictConfig):
        raise ConfigError([Fault("stages", stages, "a mapping from name to stage is needed")])
    groups = _resolved(composed)
    config, faults = _groups(groups, list(stages))
    faults += [
        Fault(f"stages.{name!s}", entry, "a mapping (stage, inputs, settings) is needed")
        for name, entry in stages.items()
        if not isinstance(entry, DictConfig)
    ]
    if config is None:
        raise ConfigError(faults)
    if config.distill.filters.length_ratio is not None:
        try:
            config.distill.filters.length_range(config.lang.code)
        except InputError as error:
            faults.append(Fault("distill.filters.length_ratio", composed.distill.filters.length_ratio, str(error)))
    for metric in dict.fromkeys(filter(None, (*config.metrics.names, config.prune.metric))):
        try:
            refuse_unready(metric, config.lang.code)
        except InputError as error:
            faults.append(Fault("lang.code", composed.lang.code, str(error)))
    misplaced = config.prune.misplaced()
    faults += misplaced
    pruned = any(isinstance(entry, DictConfig) and entry.get("stage") == "prune" for entry in stages.values())
    if pruned and not misplaced:
        counted, count_faults = _counted(config)
        faults += count_faults
        composed.prune.update(counted)
        config = config.model_copy(update={"prune": config.prune.model_copy(update={"ratio": counted.get("ratio")})})
    if faults:
        raise ConfigError(faults)
    composed.stages = stages
    values = _resolved(composed)
    graph = nodes(values["stages"])
    force = [name for given in config.force for name in links(given, graph)]
    config = config.model_copy(update={"force": tuple(force)})
    outputs = [(links(name, graph) or [name])[-1] for name in config.pipeline.outputs]  # of a chain, the last link
    return Plan(config, values, Pipeline(graph, outputs))


def _resolved(composed: DictConfig) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError([Fault(error.full_key or "config", "", str(error.msg).split("\n")[0])]) from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _groups(values: Mapping[str, Any], stages: list[str]) -> tuple[Config | None, list[Fault]]:
    faults: list[Fault] = []
    try:
        quantizer(values.get("quant") or {})
    except ConfigError as error:
        faults += error.faults
    force = values.get("force")
    for name in map(str, force if isinstance(force, list) else []):
        if name.split(".")[0] not in stages:
            faults.append(Fault("force", name, f"stages are {', '.join(stages)}{nearest(name, stages)}"))
    try:
        return Config.model_validate({**values, "stages": {}}), faults
    except ValidationError as error:
        return None, validation_faults(error, Config, "") + faults


def _counted(config: Config) -> tuple[dict[str, Any], list[Fault]]:
    """What the group prune comes to for the layers of the model."""
    folder = Path(config.model.path)
    of: dict[Stack, int | None] = {"decoder": config.model.decoder_layers, "encoder": config.model.encoder_layers}
    try:
        if folder.is_dir() or any(of[stack] is None for stack in config.prune.stacks):
            facts = read_config(folder)
            of = {**architecture(facts["model_type"]).layers(facts)}
    except ModelError as error:
        return {}, [Fault("model.path", config.model.path, str(error))]
    return config.prune.counted({stack: of[stack] or 0 for stack in config.prune.stacks})
