"""COMET (Rei et al. 2020, arXiv 2009.09025): a trained metric, computed by the library ``unbabel-comet``.

The library needs older versions of transformers and numpy than stc, so it has an environment of its own: ``make comet``
makes it. A process there loads the checkpoint once, and scores everything that a stage asks for. What was scored in an
earlier run is read from :mod:`stc.metrics.score_cache`; if that is everything, the process is not started.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

import stc.metrics
from stc.errors import InputError, StcError
from stc.metrics.metric import SentenceMetric
from stc.metrics.score_cache import ScoreCache, cache_file, key_of
from stc.pipeline import model_cache
from stc.system.console import say
from stc.system.durable_files import cached_sha256, file_sha256
from stc.system.hub_files import HubFiles, hub_errors
from stc.system.paths import ROOT, expand_home
from stc.system.read_files import read_yaml

WORKER = Path(stc.metrics.__file__).with_name("comet_worker.py")
CHECKPOINT_FILES = ("hparams.yaml", "checkpoints/model.ckpt")
ENCODER_FILES = ("*.json", "*.model", "*.txt")
TAIL = 20  # lines of the worker's standard error in a message


class Comet(SentenceMetric):
    """COMET × 100, the mean over sentences.

    Attributes:
        checkpoint: a name on the hub, such as ``Unbabel/wmt22-comet-da``, or the path of a ``.ckpt`` file; CometKiwi
            and XCOMET too. A checkpoint is a pickle: it can run code, so take it from people you trust.
        python: the interpreter of the environment that has ``unbabel-comet``; relative to the repository.
        batch_size: sentences that are scored at a time.
    """

    title: ClassVar[str] = "COMET"
    needs_source: ClassVar[bool] = True

    checkpoint: str = "Unbabel/wmt22-comet-da"
    python: str = ".venv-comet/bin/python"
    batch_size: int = Field(default=16, ge=1)

    def identity(self) -> dict[str, Any]:
        """Return the checkpoint: a file by its content, one of the hub by its name."""
        if not self._file.is_file():
            return {"checkpoint": self.checkpoint}
        found = self._file.stat()
        return {"checkpoint": cached_sha256(str(self._file.resolve()), (found.st_size, found.st_mtime_ns))}

    def check_ready(self, target_lang: str) -> None:
        if _comet_version(str(self._python)) is None:
            raise InputError(
                f"metric comet: {self._python} is not a Python with unbabel-comet. `make comet` makes one; "
                "metrics=comet metrics.comet.python=PATH names another"
            )
        if self.checkpoint.endswith(".ckpt") and not self._file.is_file():
            raise InputError(f"metric comet: {self._file} is missing (metrics.comet.checkpoint)")

    def needs_references(self) -> bool:
        return bool(self._about()["references"])

    def downloads(self) -> Iterator[HubFiles]:
        """Yield the checkpoint, and what COMET reads of the encoder that it was made from: config and tokenizer."""
        if not self._file.is_file():
            yield HubFiles("metric comet", self.checkpoint, needed=CHECKPOINT_FILES)
            if encoder := _encoder_of(self.checkpoint):
                yield HubFiles("metric comet", encoder, files=lambda: ENCODER_FILES, needed=("config.json",))

    def check_downloads(self) -> None:
        if self._known_about() is None:  # else every score may be known, and nothing is loaded
            super().check_downloads()

    def scores(
        self, hypotheses: Sequence[str], references: Sequence[str], sources: Sequence[str], target_lang: str
    ) -> list[float]:
        texts = list(zip(sources, hypotheses, references, strict=True))
        about = self._about()
        keys = _keys(about, texts)
        found = _cache().find(keys)
        if missing := [text for text, key in zip(texts, keys, strict=True) if key not in found]:
            worker = self._worker()
            if worker.about != about:  # the hub has another checkpoint of this name than when it was last loaded
                return self.scores(hypotheses, references, sources, target_lang)
            distinct = list(dict.fromkeys(missing))
            scored = dict(zip(_keys(about, distinct), worker.score(distinct), strict=True))
            _cache().add(scored)
            found |= scored
        return [100 * found[key] for key in keys]

    def signature(self, target_lang: str) -> str:
        about = self._about()
        reference = "" if about["references"] else "|reference:none"
        name = Path(self.checkpoint).name if self._file.is_file() else self.checkpoint
        of = f"checkpoint:{name}|sha256:{about['sha256'][:12]}{reference}"
        return f"{of}|precision:{about['precision']}|scale:100|version:{about['version']}"

    @cached_property
    def _file(self) -> Path:
        return Path(expand_home(self.checkpoint))

    @property
    def _python(self) -> Path:
        return ROOT / expand_home(self.python)

    def _about(self) -> dict[str, Any]:
        """Return what the process says of the checkpoint, or said when this was last loaded."""
        return self._known_about() or self._worker().about

    def _known_about(self) -> dict[str, Any] | None:
        """Return what the process says, or said when the checkpoint was last loaded; None if it never was."""
        if worker := _workers.get(self._process):
            return worker.about
        key = self._about_key()
        return _cache().find([key]).get(key)

    def _about_key(self) -> bytes:
        return key_of(self.identity(), _comet_version(str(self._python)), file_sha256(WORKER))

    @property
    def _process(self) -> tuple[str, str]:
        """The interpreter and the checkpoint, by which a process is known."""
        return str(self._python), str(self._file.resolve()) if self._file.is_file() else self.checkpoint

    def _worker(self) -> _Worker:
        if self._process not in _workers:
            self.check_ready("")
            _end_workers()
            _tell_who_reads_checkpoints(self.checkpoint, self.python)
            try:
                worker = _Worker(*self._process, self.batch_size)
            except StcError:
                super().check_downloads()  # a sentence says more than the end of the process
                raise
            _workers[self._process] = worker
            _cache().add({self._about_key(): worker.about})
        return _workers[self._process]


def _keys(about: Mapping[str, Any], texts: Iterable[tuple[str, str, str]]) -> list[bytes]:
    """Return the keys of the scores of (source, translation, reference)."""
    of_checkpoint = key_of(about, file_sha256(WORKER)).hex()
    return [key_of(of_checkpoint, *text) for text in texts]


def _encoder_of(checkpoint: str) -> str | None:
    """Return the id of the encoder of a checkpoint of the hub; None if the checkpoint's settings cannot be had."""
    from huggingface_hub import hf_hub_download

    try:
        with hub_errors(checkpoint):
            settings = read_yaml(Path(hf_hub_download(checkpoint, "hparams.yaml")))
    except InputError:  # reported for the checkpoint itself
        return None
    encoder = settings.get("pretrained_model")
    return str(encoder) if encoder else None


@cache
def _tell_who_reads_checkpoints(checkpoint: str, python: str) -> None:
    say(f"COMET: {checkpoint} is a pickle, which can run code; it is loaded by {python} only")


@cache
def _comet_version(python: str) -> str | None:
    """Return the version of COMET that a Python has; None without it or what it imports first, as an installation may
    have been interrupted."""
    code = (
        "import sys; from importlib import metadata, util; print(metadata.version('unbabel-comet')); "
        "sys.exit(not all(map(util.find_spec, ('comet', 'torch', 'pkg_resources'))))"
    )
    try:
        return subprocess.run([python, "-c", code], capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def _cache_in(file: Path) -> ScoreCache:
    return ScoreCache(file)


def _cache() -> ScoreCache:
    return _cache_in(cache_file())


_workers: dict[tuple[str, str], _Worker] = {}


def _end_workers() -> None:
    while _workers:
        _workers.popitem()[1].close()


model_cache.free_with_model.append(_end_workers)


class _Worker:
    """The process that scores. It serves all stages of a search, and ends before a stage that scores nothing.

    Attributes:
        about: of the checkpoint: the ``version`` of the library, the ``sha256`` of the file, and whether it reads
            ``references``.
    """

    def __init__(self, python: str, checkpoint: str, batch_size: int) -> None:
        # A file and not a pipe: nobody reads it while the process works.
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        self._process = subprocess.Popen(
            [python, WORKER, checkpoint, str(batch_size)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
            encoding="utf-8",
        )
        self.about: dict[str, Any] = self._answer()

    def score(self, texts: Sequence[tuple[str, str, str]]) -> list[float]:
        """Return the scores of (source, translation, reference)."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer says why
            self._process.stdin.write(json.dumps([dict(zip(("src", "mt", "ref"), one, strict=True)) for one in texts]))
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        scores: list[float] = self._answer()
        return scores

    def close(self) -> None:
        self._process.kill()  # it may be scoring for minutes, and has nothing to save
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # what was not read is still in the buffer
                pipe.close()
        self._errors.close()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        tail = "\n".join(self._errors.read().splitlines()[-TAIL:])
        for key in [key for key, worker in _workers.items() if worker is self]:
            del _workers[key]
        raise StcError(f"metric comet: its process ended with {code}\n{tail}")
