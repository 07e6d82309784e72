"""List the tensors of safetensors files from their headers, without loading a weight.

The format: eight bytes with the header's length (little-endian), the header (JSON: name → dtype, shape and byte
range), the tensors' bytes.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from stc.errors import ModelError
from stc.system.read_files import open_regular


@dataclass(frozen=True)
class Stored:
    """A tensor on disk: its dtype by safetensors' name, its shape, and where its bytes are."""

    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def read(self) -> bytes:
        with self.file.open("rb") as file:
            file.seek(self.start)
            return file.read(self.end - self.start)


def tensors_of(file: Path) -> dict[str, Stored]:
    """Return every tensor of a safetensors file, by name.

    Raises:
        FileNotFoundError: there is no such file.
        ModelError: it is not a complete safetensors file.
    """
    with open_regular(file, error=ModelError) as opened:
        try:
            with safe_open(file, framework="np"):  # checks header, dtypes, shapes, offsets and the length of the file
                pass
        except SafetensorError as fault:
            why = str(fault).removeprefix("Error while deserializing header: ")
            raise ModelError(f"{file} is cut short or damaged: {why}") from None
        (length,) = struct.unpack("<Q", opened.read(8))
        header = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        found[name] = Stored(entry["dtype"], tuple(entry["shape"]), file, start, end)
    return found
