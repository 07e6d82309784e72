"""Compare the header of an audio file with the bytes that follow it.

An interrupted copy leaves a file that ends before its audio does, and decoders read it without a word. The container
shows it: a WAV or AIFF file states the bytes of its samples, and the last page of an Ogg stream is marked. (A truncated
FLAC file cannot be decoded, and a truncated MP3 file has fewer frames than it states.) A WAV file that was written into
a pipe states a placeholder, since its writer could not know the size.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

STREAMED = 0x7FFF_0000  # a size this large is a placeholder
_ROUND = 1_000_000_000  # so is a round size of at least this, such as 2,000,000,000 with or without the header
_HEADER = 64  # bytes by which a rounded size may be off
_IN_DS64 = 0xFFFF_FFFF  # the size is given elsewhere, in a chunk of 64-bit sizes
_OGG_PAGE = b"OggS"
_OGG_LONGEST_PAGE = 27 + 255 + 255 * 255  # header, segment table, segments
_OGG_LAST = 0x04  # flag of the last page of a stream


def is_truncated(file: BinaryIO) -> bool:
    """Return whether a WAV, AIFF or Ogg file ends before its audio does; False for any other format."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
        return _samples_missing(file, size, b"data", "<I")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _samples_missing(file, size, b"SSND", ">I")
    return head[:4] == _OGG_PAGE and _ogg_is_truncated(file, size)


def zero_size_position(file: BinaryIO) -> int | None:
    """Return the position of the size field of a WAV file that states 0 bytes of samples although samples follow.

    None for any other file. Decoders would believe the 0.
    """
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
    """Return where the content of a chunk begins and the length it states; None if there is no such chunk.

    A chunk is a name, a length, and so many bytes, padded to an even number. ``number`` is the struct format of a
    length.
    """
    wide: int | None = None
    while len(header := file.read(8)) == 8:
        length = struct.unpack(number, header[4:])[0]
        if header[:4] == wanted:
            return file.tell(), wide if wide is not None and length == _IN_DS64 else length
        start = file.tell()
        if header[:4] == b"ds64" and len(sizes := file.read(16)) == 16:  # the file's and the samples'
            wide = struct.unpack("<Q", sizes[8:])[0]
        file.seek(start + length + length % 2)
    return None


def _only_chunks(file: BinaryIO, size: int) -> bool:
    """Return whether only chunks follow up to the end, and no samples."""
    while len(header := file.read(8)) == 8 and header[:4].isascii() and header[:4].decode().isprintable():
        length = struct.unpack("<I", header[4:])[0]
        if file.seek(length + length % 2, 1) >= size:
            return file.tell() - size <= 1  # the padding of the last one may be missing
    return False


def _placeholder(length: int) -> bool:
    """Return whether a stated size is a placeholder and not a count."""
    if length == 0 or length >= STREAMED:
        return True
    near = min(min(length % unit, -length % unit) for unit in (10**6, 2**20))
    return length >= _ROUND - _HEADER and near <= _HEADER


def _ogg_is_truncated(file: BinaryIO, size: int) -> bool:
    # The sixth byte of a page holds its flags, the 27th the number of segments, and the segments' lengths follow.
    file.seek(max(0, size - _OGG_LONGEST_PAGE))
    tail = file.read()
    page = tail[tail.rfind(_OGG_PAGE) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return not page[5] & _OGG_LAST or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
