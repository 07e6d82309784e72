"""The data that ``python -m stc.evaluate`` translates: utterances, or talks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stc.data.manifest import Manifest
from stc.data.voice_activity import METHODS
from stc.errors import InputError
from stc.evaluate.options import are_talks
from stc.metrics import resegmentation
from stc.metrics.metric import metric_named
from stc.models.language_pair import Task

if TYPE_CHECKING:
    from stc.metrics.talks import Talk


@dataclass(frozen=True)
class Data:
    """The data that are translated: utterances, or talks.

    Attributes:
        sources: a line for each reference; none where there are no transcripts.
        references: None if there are none.
    """

    task: Task
    content: Manifest | list[Talk]
    sources: list[str]
    references: list[str] | None

    @property
    def sentences(self) -> int | None:
        """Return the number of lines that a translation will have, if it is known."""
        if isinstance(self.content, Manifest):
            return len(self.content.lines)
        if self.references is not None:
            return len(self.references)
        if all(talk.line_a_segment for talk in self.content):
            return sum(1 if talk.segments is None else len(talk.segments) for talk in self.content)
        return None


def read_data(options: argparse.Namespace, metrics: Sequence[str]) -> Data:
    """Return the data, with their audio in place.

    Raises:
        InputError: something is wrong; the message names file and line.
    """
    from stc.metrics.talks import Talk, check_talks, cut_otherwise, read_listed_talks, read_whole_talks

    reading = [name for name in metrics if metric_named(name).needs_source]
    if not are_talks(options):
        manifest = _manifest(options, reading)
        has_sources = options.source is not None or options.data.suffix != ".jsonl"
        sources = [row.source for row in manifest.lines] if has_sources else []
        references = None if options.blind else [row.target for row in manifest.lines]
        if options.over_window == "split":
            if len(manifest.lines) < len(manifest):
                raise InputError(f"--over-window split: the long utterances of {options.data} are cut already")
            talks = [Talk(path, None, [], line_a_segment=True) for path in manifest.audio_paths()]
            return Data(manifest.task, talks, sources, references)
        return Data(manifest.task, manifest, sources, references)
    if reading and not options.sources:
        raise InputError(f"--sources is needed: {', '.join(reading)} reads the source text")
    if options.talks:
        talks = read_whole_talks(options.talks, options.references, options.sources)
    else:
        folder = Path(options.audio) if options.audio else options.data.parent
        (references,), (sources,) = options.references or [None], options.sources or [None]
        talks = read_listed_talks(options.data, folder, references, sources)
    if options.segmentation or options.talks:
        talks = cut_otherwise(talks, options.segmentation or METHODS[0])
    check_talks(talks)
    resegmentation.check_ready(options.resegment)
    return Data(
        options.lang.task,
        talks,
        [line for talk in talks for line in talk.sources],
        None if options.blind else [line for talk in talks for line in talk.references or ()],
    )


def _manifest(options: argparse.Namespace, reading: Sequence[str]) -> Manifest:
    from stc.data.sources import Columns
    from stc.stages.manifest import read_data

    if reading and options.data.suffix == ".jsonl" and options.source is None:
        raise InputError(f"--source is needed: {', '.join(reading)} reads the source text")
    audio = options.audio or "audio"
    # Where there are no references, nothing reads what stands in for them.
    target = audio if options.blind else options.target or f"text_{options.lang}"
    task: Task | None = options.lang.task if options.lang else None
    manifest = read_data(
        options.data,
        Columns(audio=audio, source=options.source or target, target=target),
        task,
        limit=options.limit,
        allow_links=options.allow_links,
    )
    if task is not None and task.target_lang != manifest.task.target_lang:
        raise InputError(
            f"--lang {options.lang}: the references of {options.data} are in {manifest.task.target_lang!r}"
        )
    return manifest
