"""Whole talks as data to be scored: which parts of them are translated, and which reference lines belong to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, BinaryIO

from stc.data.audio_file import audio_info, cut_audio, open_audio
from stc.data.manifest import ROUNDED
from stc.data.segment_list import (
    FILE_ORDER,
    Segment,
    in_file_order,
    read_one_text_a_line,
    read_segments,
    read_text_lines,
)
from stc.data.voice_activity import METHODS, Method, check_ready, pause_finder
from stc.decoding.output_formats import join_segments
from stc.errors import InputError
from stc.metrics import resegmentation
from stc.models.language_pair import Task
from stc.pipeline.stage import ProgressFactory

if TYPE_CHECKING:
    from stc.decoding.long_recordings import Opener, TranslatedRecording, TranslatedSegment
    from stc.models.load_and_save import Translator


@dataclass(frozen=True)
class Talk:
    """A recording, and what is known of it.

    Attributes:
        references: the lines of its translation; None if there is none.
        sources: the lines of its transcript, one for each reference line or each segment; none if there is no
            transcript.
        segments: the parts that are translated, in order; None if they are found by voice activity.
        line_a_segment: whether a line of the references is the translation of a segment, or of all of the recording
            if there are no segments.
    """

    path: Path
    references: list[str] | None
    sources: list[str]
    segments: list[Segment] | None = None
    line_a_segment: bool = False


@dataclass(frozen=True)
class Translated:
    """The translations of talks, or of utterances.

    Attributes:
        texts: in the lines of the references; without references, one for each segment.
        segments: of which ``texts`` are the translations, if they were found by voice activity and each has a line.
        notes: warnings for the user.
        cut_off: the number of translations, of segments where there are some, that reached the most tokens.
        cut_lines: the number of lines that are utterances, or listed segments, which were translated in parts.
    """

    texts: list[str] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cut_off: int = 0
    cut_lines: int = 0


def read_whole_talks(paths: Sequence[Path], references: Sequence[Path], sources: Sequence[Path]) -> list[Talk]:
    """Return talks with their lines, which are in a file for each talk.

    Raises:
        InputError: there are more or fewer files than talks, or one cannot be read.
    """
    for files, what in ((references, "references"), (sources, "sources")):
        if files and len(files) != len(paths):
            raise InputError(f"--{what}: a file for each of {len(paths)} talks is needed, not {len(files)}")
    found = []
    for number, path in enumerate(paths):
        lines = read_text_lines(references[number]) if references else None
        source = []
        if sources:
            if lines is None:
                raise InputError("--sources: without references, lines of a transcript belong to no translation")
            source = read_one_text_a_line(sources[number], len(lines), f"lines of {references[number]}")
        found.append(Talk(path, lines, source))
    return found


def read_listed_talks(file: Path, audio: Path, references: Path | None, sources: Path | None) -> list[Talk]:
    """Return the talks of a YAML list of segments (:mod:`stc.data.segment_list`), in the order of the file FILE_ORDER
    beside the list, or above a folder ``txt`` that the list is in, if it is there. Texts have a line for each entry of
    the list.

    Args:
        audio: the folder of the talks.

    Raises:
        InputError: something is missing or does not fit together; the message names it.
    """
    segments = read_segments_of(file)
    beside, above = file.with_name(FILE_ORDER), file.parent.parent / FILE_ORDER
    in_txt = file.parent.name == "txt" and not beside.exists()  # as in MuST-C
    order = in_file_order(segments, file, above if in_txt else beside)
    lines, transcripts = (
        None if one is None else read_one_text_a_line(one, len(segments), f"segments of {file}")
        for one in (references, sources)
    )
    return [
        Talk(
            audio / wav,
            references=None if lines is None else [lines[index] for index in indices],
            sources=[] if transcripts is None else [transcripts[index] for index in indices],
            segments=[segments[index] for index in indices],
            line_a_segment=True,
        )
        for wav, indices in ((wav, list(group)) for wav, group in groupby(order, lambda index: segments[index]["wav"]))
    ]


def read_segments_of(file: Path) -> list[Segment]:
    """Return the entries of a YAML list of segments; raise InputError if it is missing or malformed."""
    try:
        return read_segments(file)
    except FileNotFoundError:
        raise InputError(f"{file} is missing") from None


def cut_otherwise(talks: Sequence[Talk], segmentation: str) -> list[Talk]:
    """Return talks that are cut by voice activity, or by another list of segments.

    Args:
        segmentation: one of :data:`stc.data.voice_activity.METHODS`, or the path of a YAML list.

    Raises:
        InputError: the package of the method is missing, the list lacks a talk, or a talk is there more than once.
    """
    paths = [talk.path for talk in talks]
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise InputError(
            f"{twice[0]} is there more than once: a talk is named once, and a list whose segments of a talk are not "
            f"together needs a file {FILE_ORDER}"
        )
    if segmentation in METHODS:
        check_ready(segmentation)
        return [replace(talk, segments=None, line_a_segment=False) for talk in talks]
    listed = read_segments_of(Path(segmentation))
    names = [path.name for path in paths]
    if same := [name for name in names if names.count(name) > 1]:
        raise InputError(f"--segmentation {segmentation}: two talks are called {same[0]}")
    found = []
    for talk in talks:
        own = [one for one in listed if one["wav"] in (talk.path.name, talk.path.stem)]
        if not own:
            raise InputError(f"{segmentation} has no segment of {talk.path.name}")
        found.append(replace(talk, segments=own, line_a_segment=talk.references is None))
    return found


def check_talks(talks: Sequence[Talk]) -> None:
    """Raise InputError if a talk cannot be read, or ends before one of its segments does."""
    for talk in talks:
        with open_audio(talk.path):
            pass
        file = audio_info(str(talk.path), (talk.path.stat().st_size, talk.path.stat().st_mtime_ns))
        for segment in talk.segments or ():
            if segment["offset"] + segment["duration"] > file.seconds + ROUNDED + file.uncertainty:
                raise InputError(f"{_described(talk, segment)} is not in the talk, which lasts {file.seconds:.2f} s")


def translate_talks(
    translator: Translator,
    task: Task,
    talks: Sequence[Talk],
    *,
    method: Method = "energy",
    resegment: resegmentation.Method = "levenshtein",
    longest: float | None,
    batch_size: int,
    max_new_tokens: int,
    progress: ProgressFactory,
) -> Translated:
    """Translate talks. A segment that is longer than the model's window, or than ``longest`` seconds, is cut in pauses.

    Args:
        method: finds the pauses.
        resegment: divides the translation of a talk into the lines of its references, where these are not those of the
            segments.

    Raises:
        InputError: a talk cannot be read.
    """
    from stc.decoding.long_recordings import translate_recordings

    parts: list[tuple[str, Opener]] = []
    for talk in talks:
        if talk.segments is None:
            parts.append((str(talk.path), partial(open_audio, talk.path)))
        else:
            parts += [(_described(talk, one), partial(_open_part, talk.path, one)) for one in talk.segments]
    translated = translate_recordings(
        translator,
        task,
        parts,
        longest=longest,
        find_pauses=pause_finder(method, translator.processor.feature_extractor.sampling_rate),
        batch_size=batch_size,
        max_new_tokens=max_new_tokens,
        progress=progress,
    )
    found = Translated()
    cut_off = cut_lines = 0
    for talk in talks:
        count = 1 if talk.segments is None else len(talk.segments)
        recordings = [_without_error(one) for one in islice(translated, count)]
        cut_off += sum(part.cut_off for one in recordings for part in one.segments)
        found.notes.extend(f"{one.name} {note}" for one in recordings for note in one.notes)
        if talk.line_a_segment:
            found.texts.extend(join_segments([part.text for part in one.segments]) for one in recordings)
            cut_lines += sum(len(one.segments) > 1 for one in recordings)
            continue
        segments = [part for one in recordings for part in one.segments]
        if talk.references is None:
            found.texts.extend(part.text for part in segments)
            found.segments.extend(_listed(talk, part) for part in segments)
        else:
            whole = join_segments([part.text for part in segments])
            found.texts.extend(resegmentation.resegment(whole, talk.references, task.target_lang, resegment))
    return replace(found, cut_off=cut_off, cut_lines=cut_lines)


def _described(talk: Talk, segment: Segment) -> str:
    return f"{talk.path} from {segment['offset']:g} s to {segment['offset'] + segment['duration']:g} s"


@contextmanager
def _open_part(path: Path, segment: Segment) -> Iterator[BinaryIO]:
    with TemporaryDirectory(prefix="stc-segment-") as folder:
        part = Path(folder, "segment.wav")
        cut_audio(path, segment["offset"], segment["offset"] + segment["duration"], part)
        with open_audio(part) as file:
            yield file


def _without_error(recording: TranslatedRecording) -> TranslatedRecording:
    if recording.error is not None:
        raise InputError(recording.error)
    return recording


def _listed(talk: Talk, part: TranslatedSegment) -> Segment:
    return Segment(wav=talk.path.name, offset=round(part.start, 3), duration=round(part.end - part.start, 3))
