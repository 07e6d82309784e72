"""segments: talks with a YAML list of their segments, and a line of text for each, as in MuST-C and IWSLT's sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from stc.data.segment_list import in_file_order, read_one_text_a_line, read_segments
from stc.data.sources import Columns, DataNotFound, FolderSource, Row

_SPLIT = "{split}"
_NAMES = Columns(audio="wav", source="source", target="target")


def _names_the_split(pattern: str) -> str:
    if _SPLIT not in pattern:
        raise ValueError(f"{_SPLIT} must be in it, in place of the split's name")
    return pattern


class Segments(FolderSource):
    """A reader of segments of talks (:mod:`stc.data.segment_list`), in the order that FILE_ORDER gives the talks.

    Everything is a path relative to ``path``, in which ``{split}`` stands for the name of the split.

    Attributes:
        segments: the YAML list.
        order: names a talk a line. If there is no such file, the segments stay in the order of the list.
        columns: the folder of the audio files that the list names, and the files of the source texts and of the
            translations, a line an entry of the list. An empty ``source`` means that there are no source texts.
    """

    segments: Annotated[str, AfterValidator(_names_the_split)]
    order: str
    columns: Columns

    def splits(self) -> list[str]:
        if not self.path.is_dir():
            raise DataNotFound(f"{self.path} is not there: a folder with {self.segments} for each split is needed")
        first, *others = map(re.escape, self.segments.split(_SPLIT))
        named = re.compile("(?P<split>[^/]+)".join((first, "(?P=split)".join(others))))
        files = self.path.glob(self.segments.replace(_SPLIT, "*"))
        found = (named.fullmatch(file.relative_to(self.path).as_posix()) for file in files)
        return sorted(match["split"] for match in found if match)

    def has(self, split: str) -> bool:
        return self._file(self.segments, split).exists()

    def described(self, split: str) -> str:
        return str(self._file(self.segments, split))

    def count(self, split: str) -> int:
        return len(read_segments(self._file(self.segments, split)))

    def rows(self, split: str) -> Iterator[Row]:
        file = self._file(self.segments, split)
        segments = read_segments(file)
        targets, sources = (
            read_one_text_a_line(self._file(pattern, split), len(segments), f"segments of {file}")
            if pattern
            else [""] * len(segments)
            for pattern in (self.columns.target, self.columns.source)
        )
        folder = Path(self.columns.audio.replace(_SPLIT, split))
        for number, index in enumerate(in_file_order(segments, file, self._file(self.order, split)), start=1):
            segment = segments[index]
            yield Row(
                where=f"{file}, segment {index + 1}",
                number=number,
                audio=str(folder / segment["wav"]),
                source=sources[index],
                target=targets[index],
                offset=segment["offset"],
                duration=segment["duration"],
                column_names=_NAMES,
            )

    def _file(self, pattern: str, split: str) -> Path:
        return self.path / pattern.replace(_SPLIT, split)
