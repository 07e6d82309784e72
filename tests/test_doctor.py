"""The doctor finds what a run would fail on, says what to do, and leaves no trace."""

from __future__ import annotations

import ast
import os
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from stc.doctor import main
from stc.errors import InputError
from stc.models.hub import HubModel
from stc.planning import machine_checks as checks
from stc.planning.machine_checks import Check
from stc.quantization import methods, quantizer
from stc.system.hub_files import HubUnreachable
from stc.system.paths import ROOT


def failing(found: Iterator[Check]) -> list[str]:
    return [check.found for check in found if check.status == "FAIL"]


def test_sound_machine_is_found_so_and_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not [line for line in lines if line.startswith("FAIL")]
    told = {line[6:].split("  ")[0].strip() for line in lines}
    assert {"packages", "mlflow", "audio", "nf4, cpu", "bfloat16, cpu", "store", "data"} <= told
    assert list(tmp_path.iterdir()) == []


def test_what_fails_is_a_line_each_and_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "check_libraries", lambda: iter([]))
    settings = ["store.dir=/proc/store", "tracking.uri=http://127.0.0.1:9", "data.splits.dev=valid"]
    assert main(settings) == 1
    out = capsys.readouterr().out
    failed = {line[6:].split("  ")[0].strip(): line for line in out.splitlines() if line.startswith("FAIL")}
    assert set(failed) == {"store", "mlflow", "data"}
    assert "store.dir=FOLDER names another place" in failed["store"]
    assert "tracking=none runs without it" in failed["mlflow"]
    assert "valid.jsonl is missing" in failed["data"]
    repeated = out.partition("3 of ")[2]
    assert all(line[6:60] in " ".join(repeated.split()) for line in map(" ".join, map(str.split, failed.values())))
    assert "OK" not in repeated


def test_packages_have_a_line_each_only_where_they_are_asked_for_or_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Check("OK", "numpy", "2.4"), Check("OK", "scipy", "1.17"), Check("FAIL", "torch", "not installed")]
    monkeypatch.setattr(checks, "check_libraries", lambda: iter(found))

    def shown(*arguments: str) -> set[str]:
        assert main(["tracking=none", *arguments]) == 1
        return {line.split()[1] for line in capsys.readouterr().out.splitlines() if line[:4] in ("OK  ", "FAIL")}

    assert shown() & {"packages", "numpy", "scipy", "torch"} == {"packages", "torch"}
    assert shown("-v") & {"packages", "numpy", "scipy", "torch"} == {"numpy", "scipy", "torch"}


def test_doctor_answers_where_a_package_is_missing_that_it_needs_itself(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pydantic'] = None\n")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "stc.doctor"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "pydantic" in done.stdout


def test_folder_that_can_be_no_store_is_a_fault_of_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "check_libraries", lambda: iter([]))
    (tmp_path / "letter").write_text("precious")
    assert main([f"store.dir={tmp_path}", "prune.ratio=0.3"]) == 1
    assert f"store.dir={tmp_path}" in capsys.readouterr().out


def test_faults_of_the_config_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(checks, "check_libraries", lambda: iter([]))
    assert main(["prune.ratio=5", "lang=fr"]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert any("prune.ratio=5" in line for line in failed)
    assert any("lang=fr" in line for line in failed)


def test_language_that_a_run_takes_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks, "check_libraries", lambda: iter([]))
    assert main(["lang.code=fr", "lang.name=French", "data.columns.target=text_de"]) == 0
    assert "FAIL" not in capsys.readouterr().out


@pytest.mark.parametrize("error", [InputError("nobody has it"), HubUnreachable("there is no network")])
def test_model_of_the_hub_that_cannot_be_had_is_one_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: InputError
) -> None:
    def config(hub: HubModel) -> None:
        raise error

    monkeypatch.setattr(checks, "check_libraries", lambda: iter([]))
    monkeypatch.setattr(HubModel, "cached", lambda hub: None)
    monkeypatch.setattr(HubModel, "config", config)
    assert main(["model=qwen2_audio_7b", "data=talks", "prune.ratio=0.25", "stages.teacher.from=owner/name"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert f"stages.teacher.from=owner/name: {error}" in line


def test_check_that_breaks_is_a_failure_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Iterator[Check]:
        raise OSError("libsndfile.so: cannot open shared object file")

    monkeypatch.setattr(checks, "check_libraries", lambda: iter([]))
    monkeypatch.setattr(checks, "check_audio_formats", broken)
    assert main([]) == 1
    out = capsys.readouterr().out
    assert "OSError: libsndfile.so: cannot open shared object file" in out
    assert "store" in out


def test_library_that_is_missing_or_too_old_or_broken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        if name == "scipy":
            raise ImportError("no libgfortran")
        if name == "psutil":  # for lack of what is said to be missing
            raise ModuleNotFoundError("No module named 'no_such_package'", name="no_such_package")

    monkeypatch.setattr(checks, "import_module", load)
    needed = ["no-such-package>=1", "numpy>=99", "psutil", "scipy", "tqdm>=4"]
    monkeypatch.setattr(checks, "project_requirements", lambda: (">=3", needed))
    found = {check.about: check for check in checks.check_libraries()}
    assert [check.status for check in found.values()] == ["FAIL", "FAIL", "FAIL", "OK"]
    assert "pip install 'no-such-package>=1'" in found["no-such-package"].found
    assert "stc needs >=99" in found["numpy"].found
    assert "no libgfortran" in found["scipy"].found


OPTIONAL = {"hibari-tts": "hibari", "piper-tts": "piper"}
OWN = {"stc", "talks", "plain_transformers"}
"""The last is a file of stc, under the name that it has in a hand-in."""
BROUGHT = {"triton", "onnxruntime", "comet"}
"""What comes with a package that is declared, torch for CUDA and piper-tts, or is in an environment of its own."""


def test_whatever_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    names = [Requirement(one).name for one in declared]
    modules = {{**checks.MODULES, **OPTIONAL}.get(name, name.replace("-", "_")) for name in names}
    assert _imported() - sys.stdlib_module_names - OWN - modules == BROUGHT


def _imported() -> set[str]:
    """The packages that stc imports, at the head of a file or inside a function."""
    found: set[str] = set()
    for file in chain((ROOT / "stc").rglob("*.py"), (ROOT / "talks").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("method", methods())
def test_packed_layers_that_compute_wrongly_are_noticed(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    packs = quantizer({"method": method})
    assert packs.MAX_ERROR / 10 < checks.rounding_error(packs, "cpu") < packs.MAX_ERROR
    for error in (0.9, float("nan")):
        monkeypatch.setattr(checks, "rounding_error", lambda quantizer, device, error=error: error)
        assert any("is off by" in found for found in failing(checks.check_devices("cpu", [packs])))


def test_gpu_that_is_asked_for_and_not_there_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert any("device=cuda" in found for found in failing(checks.check_devices("cuda", [])))


@pytest.mark.parametrize(("more", "status"), [(checks.ROOM + 1, "OK"), (1, "WARN"), (-1, "FAIL")])
def test_room_is_compared_with_what_a_run_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int, status: str
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10**9 + more))
    [check] = checks.check_store(tmp_path / "store", 10**9)
    assert check.status == status
    assert not (tmp_path / "store").exists()


def test_database_that_is_none_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database at all, and long enough to be looked at" * 10)
    assert failing(checks.check_tracking(f"sqlite:///{tmp_path / 'notes.db'}")) != []


def test_database_that_somebody_writes_to_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ANSWER_SECONDS", 0.1)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    holder.execute("CREATE TABLE runs (id)")
    assert failing(checks.check_tracking(uri)) == []
    holder.execute("BEGIN IMMEDIATE")
    assert "locked" in failing(checks.check_tracking(uri))[0]
    holder.close()


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server that answers /health, and gives 404 for everything else."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as answering:
        thread = threading.Thread(target=answering.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{answering.server_port}"
        answering.shutdown()
        thread.join()


def test_server_is_asked_for_its_health(server: str) -> None:
    assert failing(checks.check_tracking(server)) == []
    assert "no MLflow server" in failing(checks.check_tracking(f"{server}/elsewhere"))[0]


def test_folder_of_runs_which_mlflow_no_longer_takes_is_a_failure(tmp_path: Path) -> None:
    assert failing(checks.check_tracking(str(tmp_path / "mlruns"))) != []
