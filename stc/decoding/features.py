"""Features: the encoder's output for recordings, on disk, read instead of running the encoder again.

    features.json                the file of each recording's states, by the SHA-256 of its audio file
    features-00001.safetensors   the states, (positions, encoder width) each, named by the same SHA-256

Any model with the same encoder weights may read them: one that lost decoder layers, or was trained in other parts. The
weights are compared.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from typing_extensions import TypedDict

from stc.data.audio import read_batch
from stc.data.collate import Collator
from stc.data.manifest import Manifest
from stc.errors import InputError
from stc.models.architecture import EncodedAudio
from stc.models.compute_options import Compute
from stc.pipeline import model_cache
from stc.pipeline.stage import Progress
from stc.store.artifact import Artifact
from stc.store.records import FileName
from stc.system.memory import BatchSize
from stc.system.read_files import read_json

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

INDEX = "features.json"
SHARD_BYTES = 1_000_000_000  # of one file, about; so much is in memory while writing
MOST_REMEMBERED = 500_000_000  # bytes of states in memory: those of two hours of speech for Qwen2-Audio 7B in bfloat16


class Place(TypedDict):
    file: FileName


class Index(TypedDict):
    """The shape of features.json."""

    recordings: dict[str, Place]


@torch.inference_mode()
def write_features(
    translator: Translator, manifest: Manifest, folder: Path, *, batch_size: BatchSize, workers: int, progress: Progress
) -> dict[str, Any]:
    """Encode every distinct recording of a manifest, in its order, and write the states.

    Args:
        workers: threads that read audio.

    Returns:
        The number of ``recordings`` and of their ``positions``, and the digest of the ``encoder``.

    Raises:
        InputError: audio is unreadable, not the one that the manifest lists, or longer than the model's window.
    """
    architecture, model = translator.architecture, translator.model
    collator = Collator.of(translator, manifest.task)
    collator.check_lengths(manifest)
    shard: dict[str, torch.Tensor] = {}
    recordings: dict[str, dict[str, Any]] = {}
    positions = files = 0

    def flush() -> None:
        save_file(shard, folder / _shard(files), metadata={"format": "pt"})
        shard.clear()

    def encode(rows: Sequence[Any]) -> None:
        nonlocal positions, files
        audio = read_batch(manifest, rows, collator.sampling_rate, workers)
        _, features = collator.process([row.id for row in rows], audio)
        encoded = architecture.encode_audio(model, {name: tensor.to(model.device) for name, tensor in features.items()})
        for row, states in zip(rows, encoded.states.split(encoded.counts.tolist()), strict=True):
            files += not shard
            shard[row.sha256] = states.to("cpu", copy=True)
            recordings[row.sha256] = {"file": _shard(files)}
            positions += len(states)
            if sum(tensor.nbytes for tensor in shard.values()) >= SHARD_BYTES:
                flush()
        progress.update(len(rows))

    batch_size.over(list({row.sha256: row for row in manifest.rows}.values()), encode)
    if shard:
        flush()
    (folder / INDEX).write_text(json.dumps({"recordings": recordings}, indent=1) + "\n", encoding="utf-8")
    return {"recordings": len(recordings), "positions": positions, "encoder": encoder_digest(translator)}


class KnownStates(ABC):
    """The encoder's states for recordings, which are given by the SHA-256 of their files."""

    @abstractmethod
    def positions(self, recording: str) -> int:
        """Return the number of a recording's states."""

    @abstractmethod
    def states(self, recording: str) -> torch.Tensor:
        """Return a recording's states, (positions, encoder width)."""

    def prompts(self, collator: Collator, recordings: Sequence[str]) -> list[np.ndarray]:
        """Return the prompt tokens of recordings, with a placeholder for each state."""
        return [collator.prompt_for_states(self.positions(one)) for one in recordings]

    def encoded(self, recordings: Sequence[str], device: Any) -> EncodedAudio:
        """Return the states of recordings on a device."""
        states = [self.states(one) for one in recordings]
        counts = torch.tensor([len(one) for one in states], device=device)
        return EncodedAudio(torch.cat(states).to(device), counts)


class FeatureReader(KnownStates):
    """Reads the encoder's states for recordings from a folder.

    Raises:
        InputError: the folder has no index, or a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Any] = {}  # mapped into memory
        try:
            self._recordings = read_json(folder / INDEX, Index)["recordings"]
        except FileNotFoundError:
            raise InputError(f"{folder / INDEX} is missing: not a folder of features") from None

    def require(self, manifest: Manifest) -> None:
        """Raise InputError if recordings of a manifest are missing."""
        if missing := [row for row in manifest.rows if row.sha256 not in self._recordings]:
            raise InputError(
                f"{self._folder} lacks {len(missing)} of the {len(manifest)} utterances of {manifest.folder}, the "
                f"first is {missing[0].id!r} ({missing[0].audio}): features of the same recordings are needed, "
                "or none (null)"
            )

    def positions(self, recording: str) -> int:
        count: int = self._file(recording).get_slice(recording).get_shape()[0]
        return count

    def states(self, recording: str) -> torch.Tensor:
        found: torch.Tensor = self._file(recording).get_tensor(recording)
        return found

    def _file(self, recording: str) -> Any:
        name = self._recordings[recording]["file"]
        if name not in self._files:
            self._files[name] = safe_open(self._folder / name, framework="pt")
        return self._files[name]


class RememberedStates(KnownStates):
    """The encoder's states in memory, for the next systems with the same encoder. At most :data:`MOST_REMEMBERED` bytes
    are kept; further recordings are encoded each time."""

    def __init__(self) -> None:
        self._states: dict[str, torch.Tensor] = {}
        self._bytes = 0

    def has(self, recordings: Sequence[str]) -> bool:
        """Return whether all of some recordings are known."""
        return all(one in self._states for one in recordings)

    def remember(self, recordings: Iterator[str], encoded: EncodedAudio) -> None:
        """Keep what the encoder made of the next ``encoded.counts`` recordings."""
        for states, recording in zip(encoded.states.cpu().split(encoded.counts.tolist()), recordings, strict=False):
            if recording not in self._states and self._bytes + states.nbytes <= MOST_REMEMBERED:
                self._states[recording] = states
                self._bytes += states.nbytes

    def positions(self, recording: str) -> int:
        return len(self._states[recording])

    def states(self, recording: str) -> torch.Tensor:
        return self._states[recording]


def remembered_states(translator: Translator, compute: Compute) -> RememberedStates | None:
    """Return what earlier stages of a run encoded with the same encoder, to use and to add to.

    It is None for a family that names no encoder, since there are no weights to compare. The runner forgets it before a
    stage that does not use it (``Stage.KEEPS_STATES``).

    Args:
        compute: how the model computes.
    """
    family, model = translator.architecture, translator.model
    if "encoder" not in family.stacks:
        return None
    hearing = json.dumps(translator.processor.feature_extractor.to_dict(), sort_keys=True, default=str)
    key = (family.model_type, encoder_digest(translator), hearing, compute.dtype, compute.attention, str(model.device))
    if key not in model_cache.states:
        model_cache.states.clear()
        model_cache.states[key] = RememberedStates()
    found: RememberedStates = model_cache.states[key]
    return found


def features_of(
    artifact: Artifact | None, model: Artifact, translator: Translator, compute: Compute
) -> FeatureReader | None:
    """Return a reader of features for a model; None without features.

    Args:
        model: the artifact that ``translator`` was loaded from.
        compute: how the model computes.

    Raises:
        InputError: the features have another precision or attention, or are of an encoder with other weights.
    """
    if artifact is None:
        return None
    facts = artifact.facts
    for name in ("dtype", "attention"):
        if facts.get(name) != (wanted := getattr(compute, name)):
            raise InputError(f"{artifact.path} has features with {name}={facts.get(name)}; {name}={wanted} is needed")
    # For the same artifact, comparing is not needed. Reading all weights of a large encoder takes a second.
    if facts["model"] != model.identity and facts["encoder"] != encoder_digest(translator):
        raise InputError(
            f"{artifact.path} has features of another encoder than that of {model.path}: leave them out (null)"
        )
    return FeatureReader(artifact.path)


def encoder_digest(translator: Translator) -> str:
    """Return the SHA-256 of the loaded encoder's weights: names, types, shapes and values."""
    sha = hashlib.sha256()
    family = translator.architecture
    weights = family.stack(translator.model, "encoder").state_dict() if "encoder" in family.stacks else {}
    for name, tensor in sorted(weights.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()


def _shard(number: int) -> str:
    return f"features-{number:05d}.safetensors"
