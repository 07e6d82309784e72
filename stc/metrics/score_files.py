"""The files in which one stage leaves its figures for another: scores.json and measurement.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from stc.errors import InputError
from stc.metrics.metric import Settings, corpus_score, metric_with, statistics
from stc.system.read_files import read_json

HYPOTHESES_FILE = "hypotheses.txt"
REFERENCES_FILE = "references.txt"
UNEDITED_FILE = "unedited.txt"
"""The file of what a model said, where something was removed from it before it was scored."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Record(_Frozen):
    FILE: ClassVar[str]

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read the record of a folder.

        Raises:
            InputError: the file is missing or is no such record.
        """
        path = folder / cls.FILE
        try:
            return read_json(path, cls)
        except FileNotFoundError:
            raise InputError(f"{path} is missing") from None


class MetricScore(_Frozen):
    """A corpus score, its signature, and its sentence-level statistics: (sentences, statistics)."""

    score: float
    signature: str
    statistics: list[list[int | float]]


class Scores(_Record):
    """The quality of one system on one data set, by metric."""

    FILE: ClassVar[str] = "scores.json"

    target_lang: str
    sentences: int
    metrics: dict[str, MetricScore]

    @classmethod
    def of(
        cls,
        names: Iterable[str],
        hypotheses: Sequence[str],
        references: Sequence[str],
        target_lang: str,
        sources: Sequence[str] = (),
        settings: Settings | None = None,
    ) -> Self:
        """Score translations by the metrics of these names.

        Raises:
            ConfigError, InputError: as :func:`stc.metrics.metric.statistics`.
        """
        metrics = {}
        for name in dict.fromkeys(names):
            metric = metric_with(name, settings or {})
            rows = statistics(name, hypotheses, references, target_lang, sources, metric)
            signature = metric.signature(target_lang)
            metrics[name] = MetricScore(score=corpus_score(name, rows), signature=signature, statistics=rows)
        return cls(target_lang=target_lang, sentences=len(references), metrics=metrics)


class Size(_Frozen):
    """The size of a model, which is the same on every machine.

    Attributes:
        parameters: a packed weight counts as the parameters it stands for.
        packed_elements: elements of the stored tensors; two 4-bit parameters are one.
        bytes_on_disk: of the safetensors files.
    """

    decoder_layers: int
    encoder_layers: int
    parameters: int
    packed_elements: int
    bytes_on_disk: int


class Speed(_Frozen):
    """The speed and peak memory of a model on one machine.

    Attributes:
        rtf: real-time factor at batch size 1: seconds of computing per second of audio, with reading the audio and
            without loading the model.
        rtf_batched: the same with several utterances at a time.
        peak_memory_bytes: of loading the model and translating at batch size 1; on the CPU the resident memory of the
            process, on a GPU what PyTorch allocated there.
        peak_memory_batched_bytes: the same, with the batched translation.
        load_seconds: from the folder to a model that is ready to translate.
        utterances: how many were timed.
        audio_seconds: their duration.
    """

    rtf: float
    rtf_batched: float
    peak_memory_bytes: int
    peak_memory_batched_bytes: int
    load_seconds: float
    utterances: int
    audio_seconds: float


class Measurement(_Record, Speed, Size):
    """Size and speed of one system on one machine.

    Attributes:
        decode_batch: how many utterances are translated at a time for the figures that are batched.
        device: ``cpu`` or ``cuda``.
        threads: of PyTorch on the CPU.
        machine: the fingerprint of the machine (:func:`stc.system.machine.fingerprint`).
    """

    FILE: ClassVar[str] = "measurement.json"

    decode_batch: int
    device: str
    threads: int
    machine: dict[str, object]
