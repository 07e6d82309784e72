"""``python -m stc.translate FOLDER AUDIO…``: translate recordings with a model folder."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from stc.config.languages import language_argument, language_codes
from stc.data.segment_list import FILE_ORDER, talk_places
from stc.data.voice_activity import METHODS, check_ready, pause_finder
from stc.decoding.output_formats import FORMATS, SUFFIXES, format_recording
from stc.errors import InputError
from stc.models import architecture, read_config
from stc.models.language_pair import Task
from stc.store.artifact import Kind
from stc.store.lineage import language_mismatch, target_languages
from stc.store.lookup import resolve_artifact
from stc.system.console import add_compute_options, default_dtype, progress, run_command, say, seconds
from stc.system.machine import DECODE_BATCH, resolve_device
from stc.system.natural_order import natural_key

if TYPE_CHECKING:
    from stc.decoding.long_recordings import TranslatedRecording

STANDARD_INPUT = "-"
STANDARD_INPUT_BYTES = 2**32  # the most that is read of a piped recording: more than a WAV file can hold
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")

_DESCRIPTION = """\
Translate recordings: wav, flac, ogg, mp3, at any sampling rate; several channels are averaged. A recording longer
than the model's window is cut in pauses. One that cannot be read is named on standard error, the others are
translated, and the exit code is 1."""


@dataclass(frozen=True)
class Recording:
    """A recording to translate.

    Attributes:
        name: what output and messages call it.
        path: None for standard input.
        place: where its translation goes in an output folder, without suffix.
    """

    name: str
    path: Path | None
    place: Path

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the recording; raise InputError if it cannot be read."""
        from stc.data.audio_file import open_audio

        if self.path is not None:
            with open_audio(self.path) as file:
                yield file
            return
        with tempfile.TemporaryFile() as file:  # a decoder seeks, which is impossible in a pipe
            while block := sys.stdin.buffer.read(2**20):
                if file.tell() > STANDARD_INPUT_BYTES:
                    raise InputError(f"{self.name}: standard input does not end after {STANDARD_INPUT_BYTES:,} bytes")
                file.write(block)
            file.flush()
            yield file


def main(arguments: Sequence[str] | None = None) -> int:
    """Translate recordings and return the exit code: 0, 1 (a recording or the model is wrong) or 2 (the arguments)."""
    parser = _parser()
    return run_command(lambda: _translate(parser, parser.parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stc.translate", description=_DESCRIPTION)
    parser.add_argument("model", type=Path, metavar="FOLDER", help="a model folder, anybody's, or the id of a result")
    parser.add_argument(
        "audio",
        nargs="+",
        metavar="AUDIO",
        help="a file; a folder: its audio files, those of its subfolders too, in the order of its file FILE_ORDER, or "
        f"by path and number; or {STANDARD_INPUT}: the content of a file, on standard input",
    )
    parser.add_argument(
        "--lang",
        type=language_argument,
        metavar="CODE|FILE.yaml",
        help=f"the language to translate into: {', '.join(language_codes())}, or a file such as those in conf/lang "
        "(default: what a model of the store was trained for)",
    )
    parser.add_argument("--format", choices=FORMATS, default="text", help="text: a line a recording (the default)")
    parser.add_argument(
        "--output",
        metavar="FILE|FOLDER/",
        help="where to; a folder, which is one that exists or ends in /, gets a file a recording "
        "(default: standard output)",
    )
    parser.add_argument(
        "--segmentation",
        choices=METHODS,
        default=METHODS[0],
        help="how the pauses are found that a recording is cut in (default: %(default)s)",
    )
    parser.add_argument("--longest", type=seconds, metavar="SECONDS", help="of a segment (default: the model's window)")
    add_compute_options(parser)
    return parser


def _translate(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    options.model = resolve_artifact(options.model, Kind.MODEL)
    architecture(read_config(options.model)["model_type"])  # before torch is imported, which takes its time
    sources = _sources(options.audio)
    check_ready(options.segmentation)
    folder = _output_folder(options.output)
    if fault := _fault(sources, options, folder):
        parser.error(fault)
    if not any(source.path is None or source.path.exists() for source in sources):
        raise InputError(f"{sources[0].name} is missing" + (", and so are the others" if len(sources) > 1 else ""))
    task = _task(options)
    if note := language_mismatch(options.model, task.target_lang):
        say(note)
    failed = 0
    with _sink(options.output, folder) as write:
        for source, translation in zip(sources, _translations(sources, task, options), strict=True):
            for note in translation.notes:
                say(f"{source.name} {note}")
            text = format_recording(translation, options.format)
            if translation.error is not None:
                say(translation.error)
                failed += 1
            if folder is None:
                write(text)
            elif translation.error is None:
                _replace(folder / _file(source, options.format), text)
    if failed and len(sources) > 1:
        say(f"{failed} of {len(sources)} recordings could not be translated")
    return 1 if failed else 0


def _sources(given: Sequence[str]) -> list[Recording]:
    """Return the recordings that the arguments name."""
    sources = []
    for argument in given:
        path = Path(argument)
        if argument == STANDARD_INPUT:
            sources.append(Recording(argument, None, Path("stdin")))
        elif path.is_dir():
            inside = _in_order([file for file in path.rglob("*") if _is_audio(file)], path)
            if not inside:
                raise InputError(f"{path} has no audio files: none ends in {', '.join(AUDIO_SUFFIXES)}")
            sources += [Recording(str(file), file, file.relative_to(path).with_suffix("")) for file in inside]
        else:
            sources.append(Recording(argument, path, Path(path.stem)))
    return sources


def _in_order(files: list[Path], folder: Path) -> list[Path]:
    names = {file.relative_to(folder).as_posix(): file for file in files}
    if (places := talk_places(names, "audio file", folder / FILE_ORDER)) is None:
        return sorted(files, key=natural_key)
    return [names[name] for name in sorted(names, key=places.__getitem__)]


def _is_audio(file: Path) -> bool:
    return file.suffix.lower() in AUDIO_SUFFIXES and not file.name.startswith(".") and not file.is_dir()


def _output_folder(output: str | None) -> Path | None:
    return Path(output) if output and (output.endswith(("/", os.sep)) or Path(output).is_dir()) else None


def _fault(sources: Sequence[Recording], options: argparse.Namespace, folder: Path | None) -> str | None:
    """Return what is wrong with the arguments as a whole, before anything is computed or written."""
    if sum(source.path is None for source in sources) > 1:
        return f"{STANDARD_INPUT} (standard input) can be read only once"
    if any(source.path is None for source in sources) and sys.stdin.isatty():
        return f"{STANDARD_INPUT} reads a recording from standard input, which is a terminal: pipe a file into it"
    if folder is None and options.format == "srt" and len(sources) > 1:
        return f"--format srt of {len(sources)} recordings needs a folder: --output FOLDER/"
    files = [folder / _file(source, options.format) for source in sources] if folder else []
    if twice := [file for file, count in Counter(files).items() if count > 1]:
        both = [source.name for source, file in zip(sources, files, strict=True) if file == twice[0]]
        return f"{' and '.join(both)} would both be written to {twice[0]}"
    if options.output and not folder:
        files = [Path(options.output)]
        if not files[0].parent.is_dir():
            return f"--output {options.output}: there is no folder {files[0].parent}"
    read = {os.path.realpath(source.path) for source in sources if source.path is not None}
    if over := [file for file in files if os.path.realpath(file) in read]:
        return f"--output: {over[0]} is one of the recordings"
    return None


def _file(source: Recording, form: str) -> Path:
    return source.place.with_name(source.place.name + SUFFIXES[form])


@contextmanager
def _sink(output: str | None, folder: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield a function that writes the text of one recording after the other, and flushes after each.

    A file is opened when the first text comes, so that an existing file stays as it is if there is none.
    """
    file: TextIO | None = None
    with ExitStack() as closing:

        def write(text: str) -> None:
            nonlocal file
            try:
                if file is None:
                    file = closing.enter_context(_open_output(output)) if output else sys.stdout
                file.write(text)
                file.flush()
            except BrokenPipeError:
                raise
            except OSError as error:
                raise InputError(f"{output or 'standard output'} cannot be written: {error.strerror}") from None

        yield write


def _open_output(output: str) -> TextIO:
    return Path(output).open("w", encoding="utf-8", errors="replace")


def _replace(file: Path, text: str) -> None:
    """Write a file completely, or leave the old content."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.part")
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}") from None


def _task(options: argparse.Namespace) -> Task:
    """Return the language to translate into: that of ``--lang``, or the only one that the model was trained for."""
    if options.lang is not None:
        task: Task = options.lang.task
        return task
    trained = target_languages(options.model)
    if len(trained) != 1:
        known = f"was trained for {', '.join(trained)}" if trained else "does not say what it was trained for"
        raise InputError(f"--lang is needed: {options.model} {known}")
    ((code, name),) = trained.items()
    return Task(target_lang=code, target_name=name)


def _translations(
    sources: Sequence[Recording], task: Task, options: argparse.Namespace
) -> Iterator[TranslatedRecording]:
    device = resolve_device(options.device)

    from stc.decoding.long_recordings import translate_recordings
    from stc.models.load_and_save import load

    translator = load(options.model, device=device, dtype=options.dtype or default_dtype(device))
    return translate_recordings(
        translator,
        task,
        [(source.name, source.open) for source in sources],
        longest=options.longest,
        find_pauses=pause_finder(options.segmentation, translator.processor.feature_extractor.sampling_rate),
        batch_size=options.batch_size or DECODE_BATCH[device],
        max_new_tokens=options.max_new_tokens,
        progress=progress,
    )


if __name__ == "__main__":
    sys.exit(main())
