"""The typed schema of the groups in conf/.

The fields of a stage are validated by the stage's class. Imports neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from stc.config.languages import Language
from stc.data.manifest import OnOverlap
from stc.data.over_window import OverWindow
from stc.data.sources import SourceSettings, SplitPart
from stc.decoding.options import Decoding, OutputRules
from stc.distillation.filters import Filters
from stc.distillation.options import TokenDistillation
from stc.errors import Fault, field_error, suggestion
from stc.metrics.metric import MetricName
from stc.pipeline.keep import Keep
from stc.pipeline.stage import BoolOrAuto, Context
from stc.store.location import store_folder_fault
from stc.system.console import progress
from stc.system.field_types import EachOnce, Seed
from stc.system.machine import DECODE_BATCH
from stc.system.paths import Folder, expand_home
from stc.tracking import Tracking
from stc.training.recipe import Recipe


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelConfig(_Group):
    """A base model.

    Attributes:
        path: a folder or a hub id.
        data: the folder of the data that the model is compressed on, unless others are named.
        decoder_layers: needed for a hub id only, as ``encoder_layers``.
        window: seconds of audio that it hears at once; needed for ``data.over_window=split`` only.
    """

    name: str
    path: Annotated[str, AfterValidator(expand_home)]
    data: Folder | None = None
    decoder_layers: int | None = Field(default=None, ge=3)
    encoder_layers: int | None = Field(default=None, ge=3)
    dtype: Literal["float32", "bfloat16"]
    attention: Literal["sdpa", "eager"]
    max_new_tokens: int = Field(ge=1, le=1024)
    window: float | None = Field(default=None, ge=1)


class SplitsConfig(_Group):
    """The splits of a run by their names in the data source, or parts of its splits drawn by a seed."""

    train: str | SplitPart
    dev: str | SplitPart
    selection: str | SplitPart
    test: str | SplitPart


class DataSetConfig(_Group, SourceSettings):
    """A data set, and where it comes from.

    Attributes:
        name: by default that of the folder.
        limit: keeps the first so many utterances of each split.
        on_overlap: what to do with an utterance that several splits have: ``refuse`` stops the run; with ``drop`` it
            stays in ``test``, else in ``selection``, else in ``dev``, and is left out of the others.
        over_window: what to do with an utterance longer than ``model.window``: ``refuse`` stops the run; with ``split``
            it is cut into parts in ``selection`` and ``test``, and left out of the others.
    """

    name: str | None = None
    splits: SplitsConfig
    limit: int | None = Field(default=None, ge=1)
    on_overlap: OnOverlap = "refuse"
    over_window: OverWindow = "refuse"


class MixedDataConfig(DataSetConfig):
    """A data set whose split ``train`` is mixed into the data of the last healing.

    Attributes:
        weight: how often each of its utterances is in the mixture.
    """

    weight: int = Field(default=1, ge=1, le=1000)


class DataConfig(DataSetConfig):
    """The data of a run.

    Attributes:
        mix: more data for the last healing, by name; null for none.
        allow_leak: splits may share utterances; the tables say so.
    """

    mix: Mapping[str, MixedDataConfig | None] = {}
    allow_leak: bool = False


class DistillConfig(_Group):
    """Settings of distillation.

    Attributes:
        repeat: how often the teacher's translations are in the data.
        teacher: the stage whose model teaches at every token; ``logits`` is the stage that gives cached logits instead.
        tokens: what is learnt at every token.
    """

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
    """Settings of evaluation.

    A key with the name of a metric, such as ``comet``, is where ``settings`` takes those of the metric from.

    Attributes:
        settings: settings of single metrics, by name.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    names: Annotated[tuple[MetricName, ...], Field(min_length=1), EachOnce]
    retention: MetricName
    resamples: int = Field(ge=100, le=100_000)
    confidence: float = Field(gt=0.5, lt=1)
    timed_utterances: int = Field(ge=1)
    witnessed: int = Field(ge=0, le=10_000)
    settings: Mapping[str, Mapping[str, Any]] = {}

    @model_validator(mode="after")
    def _extra_keys_are_metrics_with_settings(self) -> Self:
        keys = [*type(self).model_fields, *self.settings]
        extra = (self.model_extra or {}).items()
        if faults := [
            Fault(key, value, f"no such key; keys here: {', '.join(keys)}{suggestion(key, keys)}")
            for key, value in extra
            if key not in self.settings
        ]:
            raise field_error(*faults)
        return self

    @model_validator(mode="after")
    def _retention_metric_is_computed(self) -> Self:
        if self.retention not in self.names:
            allowed = f"retention={self.retention} is not among names: {', '.join(self.names)}"
            raise field_error(Fault("names", self.names, allowed, others=(("retention", self.retention),)))
        return self


class ResourcesConfig(_Group):
    """The resources that a run may use. No result depends on them.

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
        """Return the context of every stage of a run; ``scratch`` and ``log`` are set for each stage."""
        return Context(
            device=device,
            decode_batch=DECODE_BATCH[device] if self.decode_batch == "auto" else self.decode_batch,
            scratch=Path(),
            log=lambda metrics, step=None: None,
            progress=progress,
            **self.model_dump(exclude={"device", "decode_batch"}),
        )


def _check_store_folder(folder: Path) -> Path:
    if why := store_folder_fault(folder):
        raise ValueError(why)
    return folder


class StoreConfig(_Group):
    """The store. ``keep`` says which weights stay in it: ``all``, or those of the final models only."""

    keep: Keep = "all"
    dir: Annotated[Folder, AfterValidator(_check_store_folder)]


class PipelineConfig(_Group):
    """A pipeline.

    Attributes:
        outputs: stages, made in this order.
        mix_with: the stage whose data ``data.mix`` is added to.
        costly_controls: the models of comparisons that ``controls=false`` leaves out.
    """

    name: str
    outputs: Annotated[tuple[str, ...], Field(min_length=1), EachOnce]
    mix_with: str | None = None
    costly_controls: tuple[str, ...] = ()


class Config(_Group):
    """The composed config of a run.

    Attributes:
        recover: the recipe of a second healing, in a pipeline that has one.
        seeds: the run is repeated with each of them, in place of ``seed``.
        fail_fast: a sweep begins no job after one that failed.
        verbose: the console says why a stage is made, with hashes; the log of a job always does.
        controls: whether controls that cost hours are made (``pipeline.costly_controls``).
        decoding: what is removed from the translations of every system before they are scored.
    """

    model: ModelConfig
    data: DataConfig
    lang: Language
    prune: Mapping[str, Any]
    quant: Mapping[str, Any]
    distill: DistillConfig
    teacher: Recipe
    finetune: Recipe
    recover: Recipe | None = None
    metrics: MetricsConfig
    decoding: OutputRules = OutputRules()
    resources: ResourcesConfig
    store: StoreConfig
    tracking: Tracking
    pipeline: PipelineConfig
    stages: Mapping[str, Mapping[str, Any]]
    force: Annotated[tuple[str, ...], EachOnce] = ()
    fail_fast: bool = False
    verbose: bool = False
    controls: bool = True
    seed: Seed
    seeds: Annotated[tuple[Seed, ...], EachOnce] = ()
