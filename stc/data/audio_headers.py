"""Audio files whose container says something else than what is there.

A file that ends before its audio does is what an interrupted copy leaves, and decoders read it without a word. It is
seen from what the container itself says: a WAV or AIFF file states the bytes of its samples, the last page of an Ogg
stream is marked as such. (A FLAC file that is cut short cannot be decoded, an MP3 file has fewer frames than it
states.) A WAV file written into a pipe states a placeholder instead, since its writer could not know better.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

STREAMED = 0x7FFF_0000  # a size that large is a placeholder
_ROUND = 1_000_000_000  # and so is a round one from here on: 2,000,000,000, or one that was rounded with its header
_HEADER = 64  # bytes by which a rounded size may be off
_UNSTATED = 0xFFFF_FFFF  # a RIFF size that stands elsewhere, in a chunk of 64-bit sizes
_OGG_PAGE = b"OggS"
_OGG_LONGEST_PAGE = 27 + 255 + 255 * 255  # header, segment table, segments
_OGG_LAST = 0x04  # flag of the last page of a stream


def cut_short(file: BinaryIO) -> bool:
    """Return whether a WAV, AIFF or Ogg file, read from its start, ends too early; False for any other content."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
        return _samples_missing(file, size, b"data", "<I")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _samples_missing(file, size, b"SSND", ">I")
    return head[:4] == _OGG_PAGE and _ogg(file, size)


def unstated_size(file: BinaryIO) -> int | None:
    """Where a WAV file states that its samples have 0 bytes although they follow, which decoders believe; else None."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return None
    found = _chunk(file, b"data", "<I")
    if found is None or found[1] != 0 or found[0] == size:
        return None
    return None if _only_chunks(file, size) else found[0] - 4


def _samples_missing(file: BinaryIO, size: int, samples: bytes, number: str) -> bool:
    found = _chunk(file, samples, number)
    if found is None:
        return True
    start, length = found
    return not _placeholder(length) and start + length > size


def _chunk(file: BinaryIO, wanted: bytes, number: str) -> tuple[int, int] | None:
    """Where the content of a chunk begins and the length it states; chunks are a name, their length, and so many
    bytes, padded to an even number. ``number`` is the format of a length."""
    wide: int | None = None
    while len(header := file.read(8)) == 8:
        length = struct.unpack(number, header[4:])[0]
        if header[:4] == wanted:
            return file.tell(), wide if wide is not None and length == _UNSTATED else length
        start = file.tell()
        if header[:4] == b"ds64" and len(sizes := file.read(16)) == 16:  # the file's and the samples'
            wide = struct.unpack("<Q", sizes[8:])[0]
        file.seek(start + length + length % 2)
    return None


def _only_chunks(file: BinaryIO, size: int) -> bool:
    """Return whether what follows is chunks to the end, and no samples."""
    while len(header := file.read(8)) == 8 and header[:4].isascii() and header[:4].decode().isprintable():
        length = struct.unpack("<I", header[4:])[0]
        if file.seek(length + length % 2, 1) >= size:
            return file.tell() - size <= 1  # the padding of the last one may be missing
    return False


def _placeholder(length: int) -> bool:
    """Return whether a stated size is none that anybody counted."""
    if length == 0 or length >= STREAMED:
        return True
    near = min(min(length % unit, -length % unit) for unit in (10**6, 2**20))
    return length >= _ROUND - _HEADER and near <= _HEADER


def _ogg(file: BinaryIO, size: int) -> bool:
    """A page's sixth byte has its flags, its 27th the number of segments, whose lengths follow."""
    file.seek(max(0, size - _OGG_LONGEST_PAGE))
    tail = file.read()
    page = tail[tail.rfind(_OGG_PAGE) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return not page[5] & _OGG_LAST or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
