"""Files that end before their audio does: what an interrupted copy leaves. Decoders read them without a word.

Seen from what the container itself says: a WAV file states the bytes of its samples, the last page of an Ogg stream is
marked as such. (A FLAC file that is cut short cannot be decoded, an MP3 file has fewer frames than it states.)
"""

from __future__ import annotations

import struct
from typing import BinaryIO

STREAMED = 0x7FFF_0000  # a WAV file written into a pipe states this size or a larger one, as a placeholder
_OGG_PAGE = b"OggS"
_OGG_LONGEST_PAGE = 27 + 255 + 255 * 255  # header, segment table, segments
_OGG_LAST = 0x04  # flag of the last page of a stream


def cut_short(file: BinaryIO) -> bool:
    """Whether a WAV or Ogg file, read from its start, ends too early; False for any other content."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return _wav(file, size)
    return head[:4] == _OGG_PAGE and _ogg(file, size)


def _wav(file: BinaryIO, size: int) -> bool:
    """Chunks are a name, their length (little-endian), and so many bytes, padded to an even number."""
    while len(header := file.read(8)) == 8:
        length = struct.unpack("<I", header[4:])[0]
        if header[:4] == b"data":
            return length < STREAMED and file.tell() + length > size
        file.seek(length + length % 2, 1)
    return True  # there is no data chunk


def _ogg(file: BinaryIO, size: int) -> bool:
    """A page's sixth byte has its flags, its 27th the number of segments, whose lengths follow."""
    file.seek(max(0, size - _OGG_LONGEST_PAGE))
    tail = file.read()
    page = tail[tail.rfind(_OGG_PAGE) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return not page[5] & _OGG_LAST or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
