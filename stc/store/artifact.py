"""An artifact: a finished result on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

RECORD_FILE = "stc.record.json"
"""The file in the folder of every artifact that says what it is and what made it. The store writes it."""


class Kind(StrEnum):
    """The kind of an artifact. A stage declares the kinds it takes and gives, and the pipeline checks them."""

    MODEL = "model"  # a plain Hugging Face folder that loads without stc
    ADAPTER = "adapter"  # trained weights on top of a named base
    MANIFEST = "manifest"  # one split of a data set: manifest.jsonl, task.json and the audio
    FEATURES = "features"  # encoder output of one data set
    LOGITS = "logits"  # what one model predicts at every token of one data set's targets
    SIMILARITY = "similarity"  # how much each layer, and each block of them, changes what passes through it
    RANKING = "ranking"  # the layers to remove, and where they were compared, how each was found
    HYPOTHESES = "hypotheses"  # translations, one a line
    SCORES = "scores"  # quality of one system on one data set
    MEASUREMENT = "measurement"  # size and speed of one system on one machine
    CHECK = "check"  # that something holds, before the rest of a run
    COMPARISON = "comparison"  # the table of a run


WEIGHTS = (Kind.FEATURES, Kind.LOGITS, Kind.ADAPTER, Kind.MODEL)
"""The kinds that take space: weights, and what they compute of whole data sets."""


@dataclass(frozen=True)
class Artifact:
    """A finished result on disk.

    ``facts`` is what its stage returned from ``run``: small JSON values, stored in the record.
    """

    kind: Kind
    path: Path
    identity: str
    facts: Mapping[str, Any] = field(default_factory=dict)
