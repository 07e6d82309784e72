"""Checkpoints of a training, so that one that was killed goes on where it was.

    <folder>/<steps>/checkpoint.json       whose it is, what is no tensor, every file's checksum and its own
    <folder>/<steps>/00000.safetensors …   the tensors
    <folder>/.writing.<process>/           being written; renamed into place when whole
    <folder>/unusable.<steps>.<time>/      set aside: damaged, or of another training

Invariants: a checkpoint is whole or it is not used; the last whole one stays until the next is; none holds a number
that is not finite; nothing in it is pickled. When one is written changes no result.
"""

from __future__ import annotations

import errno
import json
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
from stc.store.records import RECORD_SUM, FileEntries, flatten, record_checksum, record_text
from stc.system.durable_files import fsync, make_durable, mismatch
from stc.system.read_files import read_json, validate_shape
from stc.training.checkpoint_state import State, Stateful, TrainedWeights
from stc.workers.worker import current_group

log = logging.getLogger(__name__)

SHARE = 0.02  # of the time may go into writing them, so that what a crash costs follows from what writing does
LEAST_SECONDS = 5.0  # from one to the next, however fast they are written
BYTES_A_SECOND = 1e9  # writing is taken for as fast as this until it has been measured
FILE_BYTES = 2**30  # of tensors a file, which is what main memory has to have room for
LAYOUT = 1  # raised when what is in them changes

_INDEX = "checkpoint.json"
_WRITING = ".writing."


class _Index(TypedDict):
    """The shape of checkpoint.json."""

    of: dict[str, Any]
    files: FileEntries
    values: dict[str, dict[str, Any]]


class Unusable(Exception):
    """A checkpoint cannot be used, or must not be written; its message says why."""


class Checkpoints:
    """Those of one training. As a context, it writes a last one where the training is told to stop.

    Two are kept, the older one for the case that the disk loses the newer. It is removed before the next is written,
    so that there is never more than one beside it. Of several processes the first one writes, and all of them read.

    Args:
        folder: where they are kept; it has to survive a crash.
        trained: is whole before each step, and until :meth:`before_update`.
        drawn: what else a step changes, by name, possibly already while the gradient is computed. What may draw
            random numbers when it is loaded comes before what restores them.
        steps: that the training has.
        settings: what else it takes to be the same training: of another one nothing is used.
    """

    def __init__(
        self,
        folder: Path,
        trained: TrainedWeights,
        drawn: Mapping[str, Stateful],
        steps: int,
        settings: Mapping[str, Any],
    ) -> None:
        self._folder = folder
        self._trained = trained
        self._drawn = dict(drawn)
        self._steps = steps
        self._of = {
            "layout": LAYOUT,
            "steps": steps,
            "settings": dict(settings),
            "parts": sorted(drawn),
            "weights": trained.shapes(),
        }
        self._whole: tuple[int, dict[str, State]] | None = None  # steps done, and what was drawn until then
        self._newest = 0
        self._last = time.monotonic()
        self._cost: float | None = None  # seconds that writing the last one took
        self._said = False

    def resume(self) -> int:
        """Take up the newest one that can be used; how many steps were done then, 0 without one."""
        group = current_group()
        steps = group.first_then_others(self._resume)
        if len(set(group.gather(steps))) > 1:
            raise StcError(f"the processes of a training do not all find the same checkpoint in {self._folder}")
        return steps

    def _resume(self) -> int:
        for torn in self._folder.glob(f"{_WRITING}*"):
            shutil.rmtree(torn, ignore_errors=True)
        for folder in reversed(self._kept()):
            try:
                states = self._read(folder)
            except Unusable as fault:
                aside = folder.with_name(f"unusable.{folder.name}.{time.time_ns()}")
                folder.rename(aside)
                log.warning("the checkpoint of step %s %s: set aside as %s", int(folder.name), fault, aside)
                continue
            for name, part in {"trained": self._trained, **self._drawn}.items():
                part.load_state(states[name])
            self._newest = int(folder.name)
            log.warning("training goes on from the checkpoint of step %d of %d", self._newest, self._steps)
            break
        self._last = time.monotonic()
        return self._newest

    def before_step(self, steps: int) -> None:
        """To be called before every step, with so many done: all is whole. Writes a checkpoint if it is time."""
        self._whole = steps, {name: part.state() for name, part in self._drawn.items()}
        waited = time.monotonic() - self._last
        if steps > self._newest and waited >= LEAST_SECONDS and waited >= self._expected_cost(self._whole[1]) / SHARE:
            self._write(*self._whole)

    def before_update(self) -> None:
        """To be called before the weights change."""
        self._whole = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, KeyboardInterrupt) or self._whole is None:
            return
        steps = self._whole[0]
        # Where training on from the last one takes no longer than writing, a scheduler's patience is better saved.
        if steps > self._newest and time.monotonic() - self._last > self._expected_cost(self._whole[1]):
            log.warning("told to stop: keeping the training as it is after step %d", steps)
            self._write(*self._whole)

    def advice(self) -> str:
        """What can be done where the loss is no longer finite."""
        if not self._newest:
            return "no checkpoint had been written yet; a lower learning_rate may help"
        return (
            f"the checkpoint of step {self._newest} is kept in {self._path(self._newest)}. The same command goes on "
            "from there, which helps if the machine was at fault; if not, a lower learning_rate may, which begins anew"
        )

    def _path(self, steps: int) -> Path:
        return self._folder / f"{steps:08}"

    def _kept(self) -> list[Path]:
        """The older ones first."""
        return sorted(folder for folder in self._folder.glob("[0-9]*") if folder.is_dir())

    def _expected_cost(self, drawn: Mapping[str, State]) -> float:
        if self._cost is None:
            states = [self._trained.state(), *drawn.values()]
            self._cost = sum(one.nbytes for state in states for one in state.tensors.values()) / BYTES_A_SECOND
        return self._cost

    def _write(self, steps: int, drawn: Mapping[str, State]) -> None:
        """Write one, or say once why it cannot be done: no training ends for that."""
        if not current_group().is_first:
            return
        begun = time.monotonic()
        beside = self._folder / f"{_WRITING}{os.getpid()}"
        try:
            for older in self._kept()[:-1]:
                shutil.rmtree(older)
            beside.mkdir(parents=True)
            _write(beside, {"trained": self._trained.state(), **drawn}, self._of)
            beside.rename(self._path(steps))
            fsync(self._folder)
            self._newest = steps
        except (OSError, SafetensorError, Unusable) as error:
            if not self._said:
                before = f"that of step {self._newest} is kept" if self._newest else "there is none before it"
                log.warning("training goes on without a checkpoint of step %d, and %s: %s", steps, before, error)
            self._said = True
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        self._last = time.monotonic()
        self._cost = self._last - begun

    def _read(self, folder: Path) -> dict[str, State]:
        """The state of each part.

        Raises:
            Unusable: it is damaged, or of another training.
        """
        index = _read_index(folder)
        ours, theirs = flatten(self._of), flatten(index["of"])
        if differing := sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)):
            raise Unusable(f"is of another training ({', '.join(differing)})")
        tensors: dict[str, dict[str, torch.Tensor]] = {}
        for file in index["files"]:
            for name, tensor in load_file(folder / file).items():
                part, _, inside = name.partition("/")
                tensors.setdefault(part, {})[inside] = tensor
        return {part: State(values, tensors.get(part, {})) for part, values in index["values"].items()}


def _write(folder: Path, states: Mapping[str, State], of: Mapping[str, Any]) -> None:
    """Bring a whole checkpoint to disk.

    Raises:
        Unusable: a number is not finite.
        OSError: it cannot be written, for want of room or otherwise; or SafetensorError.
    """
    size = sum(one.nbytes for state in states.values() for one in state.tensors.values())
    if shutil.disk_usage(folder).free < size:  # rather than filling the disk others write to
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {size / 1e9:.1f} GB are needed", str(folder))
    with ThreadPoolExecutor() as pool:  # a file is brought to disk and hashed while the next is written
        settled = {}
        for number, tensors in enumerate(_files(states)):
            name = f"{number:05}.safetensors"
            save_file(tensors, folder / name)
            settled[name] = pool.submit(make_durable, folder / name)
        files = {name: entry.result() for name, entry in settled.items()}
    index = {"of": of, "files": files, "values": {name: state.values for name, state in states.items()}}
    content = json.loads(record_text(index))  # as it will be read
    (folder / _INDEX).write_text(record_text({**content, RECORD_SUM: record_checksum(content)}), encoding="utf-8")
    fsync(folder / _INDEX)
    fsync(folder)


def _files(states: Mapping[str, State]) -> Iterator[dict[str, torch.Tensor]]:
    """The tensors, in main memory, a file's worth at a time."""
    tensors: dict[str, torch.Tensor] = {}
    size = 0
    for part, state in states.items():
        for name, tensor in state.tensors.items():
            held = tensor.detach().cpu().contiguous()
            if held.is_floating_point() and not torch.isfinite(torch.stack(held.aminmax())).all():
                raise Unusable(f"{part} {name} has numbers that are not finite")
            if tensors and size + held.nbytes > FILE_BYTES:
                yield tensors
                tensors, size = {}, 0
            tensors[f"{part}/{name}"] = held
            size += held.nbytes
    yield tensors


def _read_index(folder: Path) -> dict[str, Any]:
    """What checkpoint.json says, after it and every file have been compared with their checksums.

    Raises:
        Unusable: one is not what was written.
    """
    try:
        index = read_json(folder / _INDEX, dict[str, Any])
        if index.pop(RECORD_SUM, None) != record_checksum(index):
            raise InputError(f"{_INDEX} is not what was written")
        validate_shape(index, _INDEX, _Index)
    except (OSError, InputError) as error:
        raise Unusable(f"is damaged: {_INDEX} is missing or not what was written ({error})") from None
    with ThreadPoolExecutor() as pool:
        same = pool.map(lambda name: _same(folder / name, index["files"][name]), index["files"])
        for name, whole in zip(index["files"], same, strict=True):
            if not whole:
                raise Unusable(f"is damaged: {name} is missing or not what was written")
    return index


def _same(file: Path, entry: Mapping[str, Any]) -> bool:
    try:
        return not mismatch(file, file.name, entry)
    except OSError:
        return False
