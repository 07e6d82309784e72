"""The contract between a stage and everything around it.

A stage is one step of the method: it reads artifacts, writes one artifact into a folder, and knows nothing
else. It cannot see other stages, the run's config, MLflow or the store. What decides its result is in its
fields (its config), its ``VERSION`` and its inputs; what does not (device, workers, micro-batch, scratch) comes
with the :class:`Context`. That split is what makes a result reusable on another machine.

This module imports neither torch nor transformers, and a stage module imports them inside ``run`` only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from stc.store.artifact import Kind


@dataclass(frozen=True)
class StageInput:
    """One named input of a stage.

    With ``many`` the input is a mapping from a label to an artifact (``{teacher: evaluate_teacher, …}`` in
    YAML); with ``optional`` it may be left out. With ``by`` the input is identified by those of its facts
    instead of by how it was made: a pruned model is known by the set of layers removed, so two searches that
    end in the same set share everything after it.
    """

    kind: Kind
    by: tuple[str, ...] = ()
    many: bool = False
    optional: bool = False


BoolOrAuto = bool | Literal["auto"]
"""Whether to do something; ``auto``: where it pays."""

Inputs = Mapping[str, Any]  # name → Artifact, or label → Artifact for an input declared with ``many``


class Progress(Protocol):
    """A progress bar: ``update(n)`` after every ``n`` finished items. A ``note`` says how the work goes, in a word or
    two, and stands until there is another."""

    def update(self, n: int = 1, note: str = "") -> Any: ...


class ProgressFactory(Protocol):
    """``with ctx.progress("translating", total=300, unit="utterance") as bar: …``"""

    def __call__(self, title: str, total: int, unit: str = "it") -> AbstractContextManager[Progress]: ...


@dataclass(frozen=True)
class Context:
    """What a stage may use and must not depend on: two contexts give the same result in fp32.

    Attributes:
        device: ``"cpu"`` or ``"cuda"``.
        workers: processes or threads for reading audio.
        train_micro_batch: examples a forward pass in training; the recipe's global batch is reached by
            accumulation.
        decode_batch: utterances translated together.
        scratch: a folder of this artifact-to-be that survives a crash; removed once the artifact is published.
        log: ``log({"loss": 1.2}, step=10)`` reports metrics to whoever watches the run.
        progress: makes a progress bar.
        unpack: whether to unpack a packed base while adapters are trained on it; ``auto``: where memory has plenty
            of room.
        compile: whether to compile the layers that a fine-tuning goes through, and on a GPU to replay them where
            adapters are trained; ``auto``: on a GPU, for a long one. Dropout then draws other numbers.
        gradient_checkpointing: whether a training keeps nothing of what is inside a layer, and computes it twice.
        processes: that a stage which can share out its work uses (:mod:`stc.workers`); on GPUs, each has one.
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

    One module defines one stage. In YAML it is named by its file in ``stc/stages`` (``stage: finetune``), or by the
    dotted path of a module of anybody's (``stage: talks.stages.pretrain``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    NAME: ClassVar[str] = ""  # in identities, where it is another than in YAML
    VERSION: ClassVar[int]
    TAKES: ClassVar[Mapping[str, StageInput]]
    GIVES: ClassVar[Kind]
    NOT_IDENTITY: ClassVar[frozenset[str]] = frozenset()  # fields that say where something is, not what it is
    KEEPS_MODEL: ClassVar[bool] = False  # reads a model that the stage before may have left in memory, and leaves it

    def environment(self, ctx: Context) -> Mapping[str, Any]:
        """What else the result depends on, for identity: the content of a file from outside, or, for a
        measurement, this machine."""
        return {}

    def invalid_inputs(self, given: Collection[str]) -> Iterator[tuple[str, str]]:
        """Inputs that the fields do not go with, each with the reason; ``given`` are the names of those there are."""
        return iter(())

    def unused_inputs(self, given: Collection[str]) -> Iterator[str]:
        """The optional inputs that, with these fields, it would not look at; ``given`` are the names of those there
        are.

        The graph leaves them out, wherever a pipeline wires them, so that they are neither in the identity nor made
        for nothing: a pipeline gives every training the encoder's states, and one that trains the encoder hears the
        audio. What the fields contradict is :meth:`invalid_inputs`.
        """
        return iter(())

    def missing_requirements(self) -> Iterator[str]:
        """Yield what it needs and this machine does not have, a library for instance, each with how to get it."""
        return iter(())

    def forecast(self, inputs: Mapping[str, Any]) -> Any:
        """What the artifact will be, from what the inputs are or will be; None where that is not known.

        A model is a :class:`stc.models.layout.Layout`; adapters, features and a ranking are ``AdapterSize``,
        ``FeatureSize`` and ``RemovalCounts`` of the same module; a manifest is a
        :class:`stc.data.manifest.SpeechAmount`; a similarity is the number of layers by stack. Other kinds have no
        forecast.
        """
        return None

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
