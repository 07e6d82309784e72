"""Fixtures: a store that the stages made from a tiny model, an export of it, and a runner of the code in cards."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from compressed_store import Made, compress
from plain_python import PlainPython

from stc.data.manifest import Manifest
from stc.errors import StcError
from stc.export import ExportResult, export


@pytest.fixture(scope="session")
def made(tiny_model: Path, tiny_manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """``made("quantize")``: the folder of a stage's result in a store where a tiny model was pruned, quantized,
    evaluated and compared."""
    return compress(tiny_model, tiny_manifest, tmp_path_factory.mktemp("exported") / "store")


@contextmanager
def _asking(plain: PlainPython) -> Iterator[None]:
    """Proofs ask the process that forks, and not a fresh one."""

    def ask(what: str, arguments: Sequence[str], request: Mapping[str, Any], **environment: str) -> Any:
        done = plain.run(Path(arguments[-1]).read_text(encoding="utf-8"), stdin=json.dumps(request))
        if done.returncode:
            raise StcError(f"{what}: {done.stderr}")
        return json.loads(done.stdout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stc.verification.independent.run_json", ask)
        yield


@pytest.fixture(scope="session")
def quantized(
    made: Made, tiny_manifest: Path, plain_python: PlainPython, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    out = tmp_path_factory.mktemp("out") / "small-talk"
    with _asking(plain_python):
        return export(made("quantize"), out, base_model="someone/base", license_id="apache-2.0", data=tiny_manifest)


@pytest.fixture
def proven(plain_python: PlainPython) -> Iterator[None]:
    """Exports are proven, without the seconds that a fresh process takes to import the libraries."""
    with _asking(plain_python):
        yield


@pytest.fixture
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports are not proven: for what happens before the proof or after it."""
    checked = "stc.export.round_trip_check.independent_translations"
    monkeypatch.setattr(checked, lambda *args, **kwargs: [["text"], ["text"]])


@pytest.fixture
def run_snippet(tmp_path: Path, tiny_manifest: Path, plain_python: PlainPython) -> Callable[[Path], str]:
    """``run_snippet(folder)``: what the code of a card prints of the first utterance of the tiny manifest, run as a
    reader would: beside the folder, and beside utterance.wav."""

    def run(folder: Path) -> str:
        card = (folder / "README.md").read_text(encoding="utf-8")
        code = re.search(r"^```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL)
        assert code is not None
        here = tmp_path / "reader"
        shutil.copytree(folder, here / folder.name)
        shutil.copyfile(Manifest.load(tiny_manifest).audio_paths()[0], here / "utterance.wav")
        done = plain_python.run(code[1], cwd=here)
        assert done.returncode == 0, done.stderr
        return " ".join(done.stdout.split())

    return run
