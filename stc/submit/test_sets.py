"""The translations of test sets: those of the run's own, and new ones of data that the user names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stc.data.audio_file import open_audio
from stc.data.manifest import Manifest
from stc.data.segment_list import LIST_SUFFIXES
from stc.decoding.hypotheses import join_parts, read_texts, write_texts
from stc.decoding.output_formats import join_segments
from stc.errors import InputError
from stc.metrics.score_files import Scores
from stc.metrics.talks import Talk, check_talks, read_listed_talks, read_segments_of, translate_talks
from stc.models.weights import first_few
from stc.store import Store, identity_of
from stc.store.artifact import Kind
from stc.submit.system import SubmittedSystem
from stc.system.console import progress, say
from stc.system.durable_files import file_sha256
from stc.system.language_tags import primary_language
from stc.system.machine import DECODE_BATCH

if TYPE_CHECKING:
    from stc.models.load_and_save import Translator


@dataclass(frozen=True)
class TestSet:
    """The translations of a test set.

    Attributes:
        texts: in the order of the data.
        segments: what each line should be the translation of, for messages.
    """

    name: str
    texts: Sequence[str]
    segments: Sequence[str]


def own_test_set(system: SubmittedSystem, name: str) -> TestSet:
    """Return the translations that the run evaluated.

    Raises:
        InputError: they are no longer in the store.
    """
    file = system.hypotheses
    if not file.is_file():
        raise InputError(
            f"{file} is missing, the run's own translations: run it again, or name data (--test NAME=DATA)"
        )
    store = Store(file.parent.parent.parent)
    record = store.record(Kind.SCORES, file.parent.name)
    manifest = store.path(Kind.MANIFEST, record["spec"]["inputs"]["data"]) if record else file
    if manifest.is_dir():
        segments = _segments(Manifest.load(manifest))
    else:
        segments = [f"segment {number}" for number in range(1, Scores.load(file.parent).sentences + 1)]
    return TestSet(name, read_texts(file), segments)


TestData = Manifest | list[Talk]


def read_test_data(system: SubmittedSystem, named: Mapping[str, Path]) -> dict[str, TestData]:
    """Return the data of further test sets: utterances, or talks with a list of their segments.

    A JSON Lines file needs no texts: only ``audio`` is read of it. The talks of a YAML list are in its folder, in the
    folder ``wav`` there, or in a folder ``wav`` beside that, as in MuST-C.

    Raises:
        InputError: something is wrong; the message names file and line.
    """
    from stc.data.sources import Columns
    from stc.stages.manifest import read_data

    found: dict[str, TestData] = {}
    for name, data in named.items():
        if data.suffix in LIST_SUFFIXES:
            found[name] = _listed_talks(data)
            continue
        manifest = read_data(data, Columns(audio="audio", source="audio", target="audio"), system.task)
        given, wanted = (primary_language(task.target_lang) for task in (manifest.task, system.task))
        if given != wanted:
            raise InputError(f"--test {name}={data}: it is in {given!r}, and the model translates into {wanted!r}")
        found[name] = manifest
    return found


def _listed_talks(file: Path) -> list[Talk]:
    first = read_segments_of(file)[0]["wav"]
    folders = (file.parent, file.parent / "wav", file.parent.parent / "wav")
    audio = next((folder for folder in folders if (folder / first).is_file()), None)
    if audio is None:
        raise InputError(f"{file}: the talk {first} is in none of the folders {', '.join(map(str, folders))}")
    talks = read_listed_talks(file, audio, None, None)
    check_talks(talks)
    return talks


class Translations:
    """The model's translations of further test sets, kept in a folder until the hand-in is complete.

    So nothing that was translated is lost if a later test set fails, or if a translation is refused.

    Args:
        kept: the folder; made when it is needed.
        device: ``cpu`` or ``cuda``.
        batch_size: None for the default of the device.
    """

    def __init__(
        self, system: SubmittedSystem, kept: Path, device: Literal["cpu", "cuda"], batch_size: int | None
    ) -> None:
        self._system, self._kept, self._device, self._batch_size = system, kept, device, batch_size

    def of(self, data: Mapping[str, TestData]) -> Iterator[TestSet]:
        """Yield each test set with its translations.

        Raises:
            InputError: audio is unreadable.
            StcError: memory does not suffice for one utterance.
        """
        missing = [name for name, content in data.items() if not self._file(content).exists()]
        if missing:
            translator = self._system.settings.load_model(self._system.source.folder, self._device)
            for name in missing:
                texts = self._translate(translator, name, data[name])
                self._kept.mkdir(parents=True, exist_ok=True)
                write_texts(self._file(data[name]), texts)
        for name, content in data.items():
            yield TestSet(name, read_texts(self._file(content)), _segments(content))

    def _translate(self, translator: Translator, name: str, data: TestData) -> list[str]:
        if isinstance(data, Manifest):
            return join_parts(data, self._translate_utterances(translator, name, data))
        translated = translate_talks(
            translator,
            self._system.task,
            data,
            longest=None,
            batch_size=self._batch_size or DECODE_BATCH[self._device],
            max_new_tokens=self._system.settings.max_new_tokens,
            progress=lambda title, total, unit="it": progress(f"{name}: {title}", total, unit),
        )
        for note in translated.notes:
            say(f"{name}: {note}")
        return [self._system.rules.apply(text) for text in translated.texts]

    def _translate_utterances(self, translator: Translator, name: str, manifest: Manifest) -> list[str]:
        """Return a text for each utterance. Those that are longer than the model's window are cut in their pauses."""
        system, extractor = self._system, translator.processor.feature_extractor
        long = {row.id for row in manifest.rows if row.duration * extractor.sampling_rate > extractor.n_samples}
        fitting = [row for row in manifest.rows if row.id not in long]
        cut = Manifest(manifest.folder, manifest.task, [row for row in manifest.rows if row.id in long])
        texts: dict[str, str] = {}
        if fitting:
            whole = Manifest(manifest.folder, manifest.task, fitting)
            said = system.settings.translate_for_command(translator, whole, name, self._batch_size)
            texts |= {row.id: system.rules.apply(text) for row, text in zip(fitting, said, strict=True)}
        if long:
            window = extractor.n_samples / extractor.sampling_rate
            files = [path.name for path in cut.audio_paths()]
            say(f"{name}: cut in pauses, since longer than the model's window of {window:g} s: {first_few(files)}")
            parts = self._translate_in_parts(translator, name, cut)
            texts |= {row.id: text for row, text in zip(cut.rows, parts, strict=True)}
        return [texts[row.id] for row in manifest.rows]

    def _translate_in_parts(self, translator: Translator, name: str, manifest: Manifest) -> Iterator[str]:
        from stc.decoding.long_recordings import translate_recordings

        for recording in translate_recordings(
            translator,
            manifest.task,
            [(str(path), partial(open_audio, path)) for path in manifest.audio_paths()],
            longest=None,
            batch_size=self._batch_size or DECODE_BATCH[self._device],
            max_new_tokens=self._system.settings.max_new_tokens,
            progress=lambda title, total, unit="it": progress(f"{name}: {title}", total, unit),
        ):
            if recording.error is not None:
                raise InputError(recording.error)
            for note in recording.notes:
                say(f"{name}: {recording.name} {note}")
            yield join_segments([self._system.rules.apply(segment.text) for segment in recording.segments])

    def forget(self) -> None:
        """Delete what was kept."""
        shutil.rmtree(self._kept, ignore_errors=True)

    def _file(self, data: TestData) -> Path:
        if isinstance(data, Manifest):
            audio: list[Any] = [[row.sha256, row.part_of] for row in data.rows]
        else:
            audio = [[file_sha256(talk.path), talk.segments] for talk in data]
        decided_by = {
            "model": str(self._system.source.folder),
            "settings": self._system.settings.model_dump(mode="json"),
            "rules": self._system.rules.model_dump(mode="json"),
            "task": (data.task if isinstance(data, Manifest) else self._system.task).model_dump(mode="json"),
            "audio": audio,
        }
        return self._kept / f"{identity_of(decided_by)}.txt"


def _segments(data: TestData) -> list[str]:
    """Return what each line of a translation is of, for messages."""
    if isinstance(data, Manifest):
        return [row.part_of or row.id for row in data.lines]
    return [f"{one['wav']} from {one['offset']:g} s" for talk in data for one in talk.segments or ()]
