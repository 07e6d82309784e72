"""Features: the encoder's output for recordings, on disk, read instead of running the encoder again.

    features.json                the file of each recording's states, by the SHA-256 of its audio file
    features-00001.safetensors   the states, (positions, encoder width) each, named by the same SHA-256

Any model with the same encoder weights may read them: one that lost decoder layers, or was trained in other parts. The
weights are compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
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
from stc.pipeline.stage import Progress
from stc.store.artifact import Artifact
from stc.store.records import FileName
from stc.system.memory import BatchSize
from stc.system.read_files import read_json

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator

INDEX = "features.json"
SHARD_BYTES = 1_000_000_000  # of one file, about; so much is in memory while writing


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


class FeatureReader:
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

    def prompts(self, collator: Collator, recordings: Sequence[str]) -> list[np.ndarray]:
        """Return the prompt tokens of recordings, given by SHA-256, with a placeholder for each state."""
        return [collator.prompt_for_states(self._file(one).get_slice(one).get_shape()[0]) for one in recordings]

    def encoded(self, recordings: Sequence[str], device: Any) -> EncodedAudio:
        """Return the states of recordings, given by SHA-256, on a device."""
        states = [self._file(one).get_tensor(one) for one in recordings]
        counts = torch.tensor([len(one) for one in states], device=device)
        return EncodedAudio(torch.cat(states).to(device), counts)

    def _file(self, recording: str) -> Any:
        name = self._recordings[recording]["file"]
        if name not in self._files:
            self._files[name] = safe_open(self._folder / name, framework="pt")
        return self._files[name]


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
