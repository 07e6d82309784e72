"""The tensors of a model folder as its safetensors headers describe them, read without loading a weight.

The format: eight bytes with the header's length (little-endian), the header (JSON: name → dtype, shape and byte
range), the tensors' bytes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stc.errors import ModelError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 4_000_000_000  # of one file of a model that we save, at most
WIDTHS = {"U8": 1, "I8": 1, "BF16": 2, "F32": 4}
"""Bytes an element of what model folders of ours hold, by dtype; safetensors writes wider ones first."""
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # as peft names them


@dataclass(frozen=True)
class Tensor:
    """A tensor as safetensors describes it: its dtype by safetensors' name, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * WIDTHS[self.dtype]


@dataclass(frozen=True)
class Stored(Tensor):
    """One tensor on disk, and where its bytes are."""

    file: Path
    start: int
    end: int

    def read(self) -> bytes:
        with self.file.open("rb") as file:
            file.seek(self.start)
            return file.read(self.end - self.start)


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """Every tensor of a model folder, by name.

    Raises:
        ModelError: the folder has no safetensors weights, a shard is missing, a file's length is not what its
            header promises, or the index lists a tensor that its shard has not.
    """
    if (folder / INDEX).is_file():
        listed = _weight_map(folder / INDEX)
        files = sorted({folder / shard for shard in listed.values()})
        if missing := [file.name for file in files if not file.is_file()]:
            raise ModelError(f"{folder} lacks {some(missing)}, which {INDEX} lists")
    elif (folder / SINGLE).is_file():
        listed, files = {}, [folder / SINGLE]
    else:
        pickled = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        hint = f" ({some(pickled)} is pickled, which is never loaded)" if pickled else ""
        raise ModelError(f"{folder} has neither {SINGLE} nor {INDEX}{hint}")
    tensors = {name: stored for file in files for name, stored in _header(file).items()}
    if absent := sorted(name for name, shard in listed.items() if name not in tensors):
        raise ModelError(f"{folder}: {some(absent)} is listed in {INDEX} and in none of its files")
    return tensors


def attached_adapter(folder: Path) -> Path | None:
    """The folder, inside a model's, of the low-rank adapter that belongs to the model; None where there is none."""
    adapter = folder / "adapter"
    return adapter if adapter.is_dir() else None


def adapter_tensors(adapter: Path) -> dict[str, Stored]:
    """Every tensor of an adapter's folder, by name.

    Raises:
        ModelError: a file is missing or damaged.
    """
    if missing := [name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS) if not (adapter / name).is_file()]:
        raise ModelError(f"{adapter} lacks {some(missing)}")
    return _header(adapter / ADAPTER_WEIGHTS)


def file_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of a file with these tensors, written by safetensors for PyTorch.

    Tensors of wider elements come first, and those of one dtype by name; the header is padded to eight bytes.
    """
    ranks = list(WIDTHS)
    order = sorted(tensors, key=lambda name: (-ranks.index(tensors[name].dtype), name.encode()))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in order:
        start, end = end, end + tensors[name].bytes
        header[name] = {
            "dtype": tensors[name].dtype,
            "shape": tensors[name].shape,
            "data_offsets": [start, end],
        }
    length = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-length // 8) * 8 + end


def _weight_map(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["weight_map"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not a weight index: {error!r}") from None


def _header(path: Path) -> dict[str, Stored]:
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if 8 + length > size:
            raise ModelError(f"{path} is cut short: {size:,} bytes do not even hold its header")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise ModelError(f"{path} is not a safetensors file: {error}") from None
    begin = 8 + length
    tensors = {
        name: Stored(
            entry["dtype"],
            tuple(entry["shape"]),
            path,
            begin + entry["data_offsets"][0],
            begin + entry["data_offsets"][1],
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }
    promised = max((tensor.end for tensor in tensors.values()), default=begin)
    if size != promised:
        what = "cut short" if size < promised else "too long"
        raise ModelError(f"{path} is {what}: {size:,} bytes where its header promises {promised:,}")
    return tensors


def some(names: Iterable[str], shown: int = 5) -> str:
    """A few of many names, for a message."""
    every = list(names)
    more = f" and {len(every) - shown} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more
