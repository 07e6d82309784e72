"""Checkpoints of a training, so that a training that was killed continues where it was.

    <folder>/<steps>/checkpoint.json       the training it belongs to, plain values, and all checksums
    <folder>/<steps>/00000.safetensors …   the tensors
    <folder>/.writing.<process>/           being written; renamed into place when complete
    <folder>/unusable.<steps>.<time>/      set aside: damaged, or of another training

A checkpoint is complete or it is not used. The last complete one stays until the next is complete. No checkpoint holds
a number that is not finite, or anything pickled. When a checkpoint is written has no effect on the result.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from typing_extensions import TypedDict

from stc.errors import InputError, StcError
from stc.store.records import RECORD_SUM, FileEntries, flatten, record_checksum, serialize_record
from stc.system.durable_files import fsync, make_durable, mismatch
from stc.system.read_files import read_json, validate_shape
from stc.training.checkpoint_state import State, Stateful, TrainedWeights
from stc.workers.worker import current_group

log = logging.getLogger(__name__)

SHARE = 0.02  # of the time that may go into writing
LEAST_SECONDS = 5.0  # between two checkpoints, however fast they are written
BYTES_A_SECOND = 1e9  # assumed speed of writing until it has been measured
FILE_BYTES = 2**30  # of tensors per file; main memory must have room for as much
LAYOUT = 1  # raised when the contents of a checkpoint change

_INDEX = "checkpoint.json"
_WRITING = ".writing."


class _Index(TypedDict):
    """The contents of checkpoint.json."""

    of: dict[str, Any]
    files: FileEntries
    values: dict[str, dict[str, Any]]


class UnusableCheckpoint(Exception):
    """A checkpoint cannot be used, or must not be written. The message says why."""


class Checkpoints:
    """The checkpoints of one training. As a context manager, it writes a last one when the training is told to stop.

    Two are kept, the older one in case the disk loses the newer. It is removed before the next one is written. With
    several processes the first one writes, and all of them read.

    Args:
        folder: must survive a crash.
        trained: unchanged from :meth:`before_step` until :meth:`before_update`.
        others: what else a step changes, by name; it may change already while the gradient is computed. A part that
            draws random numbers when it is loaded comes before the part that restores them.
        steps: the length of the training.
        settings: of the training. The checkpoints of a training with other settings are not used.
        result_bytes: what the training will write at its end. A checkpoint that leaves less room is not written.
    """

    def __init__(
        self,
        folder: Path,
        trained: TrainedWeights,
        others: Mapping[str, Stateful],
        steps: int,
        settings: Mapping[str, Any],
        result_bytes: int = 0,
    ) -> None:
        self._folder = folder
        self._trained = trained
        self._others = dict(others)
        self._steps = steps
        self._result_bytes = result_bytes
        self._training = {
            "layout": LAYOUT,
            "steps": steps,
            "settings": dict(settings),
            "parts": sorted(others),
            "weights": trained.shapes(),
        }
        self._current: tuple[int, dict[str, State]] | None = None  # steps done, and the other states after them
        self._newest = 0
        self._written = time.monotonic()
        self._cost: float | None = None  # seconds that writing the last one took
        self._warned = False

    def resume(self) -> int:
        """Load the newest usable checkpoint, and return how many steps it has done; 0 if there is none."""
        group = current_group()
        if not group.is_first:  # the others wait for the first, which may set checkpoints aside
            group.gather(None)
        steps = self._resume()
        if group.is_first:
            group.gather(None)
        if len(set(group.gather(steps))) > 1:
            raise StcError(f"the processes of a training do not all find the same checkpoint in {self._folder}")
        return steps

    def _resume(self) -> int:
        for incomplete in self._folder.glob(f"{_WRITING}*"):
            shutil.rmtree(incomplete, ignore_errors=True)
        for folder in reversed(self._complete()):
            try:
                states = self._read(folder)
            except UnusableCheckpoint as fault:
                aside = folder.with_name(f"unusable.{folder.name}.{time.time_ns()}")
                folder.rename(aside)
                log.warning("the checkpoint of step %s %s: set aside as %s", int(folder.name), fault, aside)
                continue
            for name, part in {"trained": self._trained, **self._others}.items():
                part.load_state(states[name])
            self._newest = int(folder.name)
            log.warning("training goes on from the checkpoint of step %d of %d", self._newest, self._steps)
            break
        self._written = time.monotonic()
        return self._newest

    def before_step(self, steps: int) -> None:
        """Note the state between two steps, and write a checkpoint if it is time. To be called before every step.

        Args:
            steps: how many are done.
        """
        self._current = steps, {name: part.state() for name, part in self._others.items()}
        waited = time.monotonic() - self._written
        if steps > self._newest and waited >= LEAST_SECONDS and waited >= self._expected_cost(self._current[1]) / SHARE:
            self._write(*self._current)

    def before_update(self) -> None:
        """Forget the noted state. To be called before the weights change."""
        self._current = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, KeyboardInterrupt) or self._current is None:
            return
        steps, others = self._current
        # A scheduler's notice is short: write only if repeating the steps since the last one would take longer.
        if steps > self._newest and time.monotonic() - self._written > self._expected_cost(others):
            log.warning("told to stop: saving the training after step %d", steps)
            self._write(steps, others)

    def failure(self, cause: str) -> StcError:
        """Return the error of a training with numbers that are not finite. It says what the user can do."""
        advice = "no checkpoint had been written yet; a lower learning_rate may help"
        if self._newest:
            advice = (
                f"the checkpoint of step {self._newest} is kept in {self._path(self._newest)}. The same command "
                "continues from there, which helps if the machine was at fault. If not, a lower learning_rate may "
                "help; it starts the training from the beginning"
            )
        return StcError(f"training stopped: {cause}; {advice}")

    def _path(self, steps: int) -> Path:
        return self._folder / f"{steps:08}"

    def _complete(self) -> list[Path]:
        """Return the folders of the complete checkpoints, the oldest first."""
        return sorted(folder for folder in self._folder.glob("[0-9]*") if folder.is_dir())

    def _expected_cost(self, others: Mapping[str, State]) -> float:
        if self._cost is None:
            states = [self._trained.state(), *others.values()]
            self._cost = sum(one.nbytes for state in states for one in state.tensors.values()) / BYTES_A_SECOND
        return self._cost

    def _write(self, steps: int, others: Mapping[str, State]) -> None:
        """Write a checkpoint. If it cannot be written, warn once: no training ends for that."""
        if not current_group().is_first:
            return
        begun = time.monotonic()
        building = self._folder / f"{_WRITING}{os.getpid()}"
        try:
            for older in self._complete()[:-1]:
                shutil.rmtree(older)
            building.mkdir(parents=True)
            _write(building, {"trained": self._trained.state(), **others}, self._training, self._result_bytes)
            building.rename(self._path(steps))
            fsync(self._folder)
            self._newest = steps
        except (OSError, SafetensorError, UnusableCheckpoint) as error:
            if not self._warned:
                before = f"that of step {self._newest} is kept" if self._newest else "there is none before it"
                log.warning("training goes on without a checkpoint of step %d, and %s: %s", steps, before, error)
            self._warned = True
        finally:
            shutil.rmtree(building, ignore_errors=True)
        self._written = time.monotonic()
        self._cost = self._written - begun

    def _read(self, folder: Path) -> dict[str, State]:
        """Return the state of each part.

        Raises:
            UnusableCheckpoint: it is damaged, or of another training.
        """
        index = _read_index(folder)
        ours, theirs = flatten(self._training), flatten(index["of"])
        if differing := sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)):
            raise UnusableCheckpoint(f"is of another training ({', '.join(differing)})")
        tensors: dict[str, dict[str, torch.Tensor]] = {}
        for file in index["files"]:
            for name, tensor in load_file(folder / file).items():
                part, _, key = name.partition("/")
                tensors.setdefault(part, {})[key] = tensor
        return {part: State(values, tensors.get(part, {})) for part, values in index["values"].items()}


def _write(folder: Path, states: Mapping[str, State], training: Mapping[str, Any], result_bytes: int) -> None:
    """Write a complete checkpoint to disk.

    Raises:
        UnusableCheckpoint: a number is not finite.
        OSError, SafetensorError: it cannot be written, for lack of space or otherwise.
    """
    size = sum(one.nbytes for state in states.values() for one in state.tensors.values())
    needed = size + result_bytes
    if shutil.disk_usage(folder).free < needed:  # others write to the same disk
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {needed / 1e9:.1f} GB are needed", str(folder))
    with ThreadPoolExecutor() as pool:  # a file is flushed and hashed while the next is written
        entries = {}
        for number, tensors in enumerate(_files(states)):
            name = f"{number:05}.safetensors"
            save_file(tensors, folder / name)
            entries[name] = pool.submit(make_durable, folder / name)
        files = {name: entry.result() for name, entry in entries.items()}
    index = {"of": training, "files": files, "values": {name: state.values for name, state in states.items()}}
    (folder / _INDEX).write_text(serialize_record(index), encoding="utf-8")
    fsync(folder / _INDEX)
    fsync(folder)


def _files(states: Mapping[str, State]) -> Iterator[dict[str, torch.Tensor]]:
    """Yield the tensors of each file, in main memory."""
    tensors: dict[str, torch.Tensor] = {}
    size = 0
    for part, state in states.items():
        for name, tensor in state.tensors.items():
            copy = tensor.detach().cpu().contiguous()
            if copy.is_floating_point() and not torch.isfinite(torch.stack(copy.aminmax())).all():
                raise UnusableCheckpoint(f"{part} {name} has numbers that are not finite")
            if tensors and size + copy.nbytes > FILE_BYTES:
                yield tensors
                tensors, size = {}, 0
            tensors[f"{part}/{name}"] = copy
            size += copy.nbytes
    yield tensors


def _read_index(folder: Path) -> dict[str, Any]:
    """Return the contents of checkpoint.json, after a check of all checksums.

    Raises:
        UnusableCheckpoint: a file is not what was written.
    """
    try:
        index = read_json(folder / _INDEX, dict[str, Any])
        if index.pop(RECORD_SUM, None) != record_checksum(index):
            raise InputError(f"{_INDEX} is not what was written (checksum)")
        validate_shape(index, _INDEX, _Index)
        files: Mapping[str, Any] = index["files"]
        with ThreadPoolExecutor() as pool:
            faults = pool.map(lambda name: mismatch(folder / name, name, files[name]), files)
        if fault := next(filter(None, faults), ""):
            raise InputError(fault)
    except (OSError, InputError) as error:
        raise UnusableCheckpoint(f"is damaged: {error}") from None
    return index
