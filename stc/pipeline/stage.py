"""The interface between a stage and everything around it.

A stage is one step of the method. It reads artifacts and writes one artifact into a folder. It cannot see other stages,
the run's config, MLflow or the store. Its fields, its ``VERSION`` and its inputs decide its result. Everything else
(device, workers, micro-batch, scratch) comes with the :class:`Context`. Therefore another machine can reuse a result.

This module imports neither torch nor transformers, and a stage module imports them inside ``run`` only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from stc.store.artifact import Kind
from stc.system.hub_files import HubFiles


@dataclass(frozen=True)
class StageInput:
    """One named input of a stage.

    Attributes:
        by: facts that identify the input, instead of how it was made. A pruned model is identified by the set of
            layers removed, so two searches that end in the same set share everything after it.
        many: whether the input is a mapping from labels to artifacts (``{teacher: evaluate_teacher, …}`` in YAML).
        optional: whether it may be left out.
        read: whether its files are read. If not, its record is enough, and files that were deleted for space are not
            made again for it.
    """

    kind: Kind
    by: tuple[str, ...] = ()
    many: bool = False
    optional: bool = False
    read: bool = True


BoolOrAuto = bool | Literal["auto"]
"""A switch: on, off, or ``auto``, which means on where it pays."""

Inputs = Mapping[str, Any]  # name → Artifact, or label → Artifact for an input with ``many``


class Progress(Protocol):
    """A progress bar: ``update(n)`` after every ``n`` finished items. A ``note`` is shown until there is another."""

    def update(self, n: int = 1, note: str = "") -> Any: ...


class ProgressFactory(Protocol):
    """``with ctx.progress("translating", total=300, unit="utterance") as bar: …``"""

    def __call__(self, title: str, total: int, unit: str = "it") -> AbstractContextManager[Progress]: ...


@dataclass(frozen=True)
class Context:
    """The resources that a stage may use. Its result must not depend on them: two contexts give the same in float32.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        workers: processes or threads for reading audio.
        train_micro_batch: examples in a forward pass of training. Gradients are accumulated to the global batch.
        decode_batch: utterances translated together.
        scratch: a folder that survives a crash, and is removed once the artifact is published.
        log: ``log({"loss": 1.2}, step=10)`` reports metrics of the run.
        progress: makes a progress bar.
        unpack: whether to dequantize a base while adapters are trained on it; ``auto``: if there is plenty of memory.
        compile: whether to compile layers for fine-tuning, and on a GPU to use CUDA graphs for adapters; ``auto``: on
            a GPU, for a long training. Dropout then draws other numbers.
        gradient_checkpointing: whether to store no activations inside of layers, and compute them twice.
        processes: the number of processes for a stage that can share out its work (:mod:`stc.workers`). On GPUs, each
            has its own.
    """

    device: str
    workers: int
    train_micro_batch: int
    decode_batch: int
    scratch: Path
    log: Callable[..., None]
    progress: ProgressFactory
    unpack: BoolOrAuto = "auto"
    compile: BoolOrAuto = "auto"
    gradient_checkpointing: bool = False
    processes: int = 1


class Stage(BaseModel):
    """A stage: frozen, typed fields that decide its result, and ``run``.

    One module defines one stage. YAML names it by its file in ``stc/stages`` (``stage: finetune``), or by the dotted
    path of any module (``stage: talks.stages.pretrain``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    NAME: ClassVar[str] = ""  # in identities, if another than in YAML
    VERSION: ClassVar[int]
    TAKES: ClassVar[Mapping[str, StageInput]]
    GIVES: ClassVar[Kind]
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset()  # fields that say where something is and not what it is
    NEWER_FIELDS: ClassVar[frozenset[str]] = frozenset()  # at their default, not in identities: older results are found
    KEEPS_MODEL: ClassVar[bool] = False  # uses the model cache, and does not change the model
    KEEPS_STATES: ClassVar[bool] = False  # uses what the encoder made of recordings in the stage before

    def identity_fields(self) -> dict[str, Any]:
        """Return the fields that are part of the identity of a result, as JSON values."""
        fields = self.model_dump(mode="json", exclude=set(self.NOT_IDENTITY))
        known = type(self).model_fields
        default = {name: known[name].get_default(call_default_factory=True) for name in self.NEWER_FIELDS}
        return {key: value for key, value in fields.items() if key not in default or getattr(self, key) != default[key]}

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        """Return what else the result depends on, for its identity: the content of outside files, or, for a
        measurement, this machine."""
        return {}

    def invalid_inputs(self, given: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yield inputs that contradict the fields, each with the reason.

        Args:
            given: the names of the inputs that there are.
        """
        return iter(())

    def unused_inputs(self, given: Collection[str]) -> Iterator[str]:
        """Yield optional inputs that the stage does not read with these fields.

        The graph leaves them out, so that they are neither in the identity nor made for nothing. For example, a
        pipeline gives features to every training, and one that trains the encoder reads the audio instead.

        Args:
            given: the names of the inputs that there are.
        """
        return iter(())

    def missing_requirements(self) -> Iterator[str]:
        """Yield what this machine lacks for it, a library for instance, each with how to get it."""
        return iter(())

    def downloads(self) -> Iterator[HubFiles]:
        """Yield what the stage reads of the Hugging Face hub; by default nothing. Raises InputError if that cannot be
        read without network."""
        return iter(())

    def forecast(self, inputs: Mapping[str, Any]) -> Any:
        """Return what the artifact will be, from what the inputs are or will be; None if that is not known.

        A model is a :class:`stc.models.layout.Layout`; adapters, features and a ranking are ``AdapterSize``,
        ``FeatureSize`` and ``RemovalCounts`` of the same module; a manifest is a
        :class:`stc.data.manifest.SpeechAmount`; a similarity is the number of layers by stack. Other kinds have no
        forecast.
        """
        return None

    def activity(self, inputs: Inputs) -> str:
        """Return in plain words what ``run`` is going to do, for the console: ``removing 8 of 16 layers``."""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(self).__name__).lower()
        return f"{words} → {self.GIVES.value}"

    @classmethod
    def describe(cls, config: Mapping[str, Any], facts: Mapping[str, Any], data: Mapping[str, Any]) -> str:
        """Return a sentence about what the stage did, for a model card; empty for none.

        Args:
            config: the fields, as the store recorded them.
            facts: of the artifact.
            data: facts of the manifest that was trained on; empty where there is none.
        """
        return ""

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        """Write the artifact into ``out_dir`` (exists, empty) and return its facts."""
        raise NotImplementedError
