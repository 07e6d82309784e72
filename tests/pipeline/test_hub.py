"""A model of the hub: known before anything runs, with network and without, as a compute node is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stc.models import architecture
from stc.system.paths import ROOT

FAMILIES = {"owner/model": "qwen2_audio", "owner/other": "whisper"}

FETCH = """
import json, sys
from stc.models import read_config
from stc.models.hub import HubModel
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = str(HubModel(name).fetch(read_config))
    except Exception as error:
        found[name] = f"{type(error).__name__}: {error}"
json.dump(found, sys.stdout)
"""


def snapshot(home: Path, name: str) -> Path:
    return home / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / ("0" * 40)


def cached(home: Path, name: str, family: str) -> None:
    folder = snapshot(home, name)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    (folder.parents[1] / "refs").mkdir()
    (folder.parents[1] / "refs" / "main").write_text("0" * 40)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with as much of two models as their configs say."""
    home = tmp_path_factory.mktemp("hub")
    for name, family in FAMILIES.items():
        cached(home, name, family)
    return home


@pytest.fixture(scope="module")
def fetched(home: Path) -> dict[str, str]:
    """What a process without network gets for each model: its folder, or the error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    command = [sys.executable, "-c", FETCH, *FAMILIES, "owner/absent"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    answers: dict[str, str] = json.loads(done.stdout)
    return answers


def test_model_in_the_cache_needs_no_network(fetched: dict[str, str], home: Path) -> None:
    assert fetched["owner/model"] == str(snapshot(home, "owner/model"))


def test_model_of_another_family_is_refused_by_its_config_alone(fetched: dict[str, str]) -> None:
    assert fetched["owner/other"].startswith("ModelError: model_type 'whisper' is not handled")


def test_error_for_a_missing_model_has_the_download_command(fetched: dict[str, str]) -> None:
    assert fetched["owner/absent"].startswith("InputError: owner/absent: not in this machine's cache")
    assert "hf download owner/absent" in fetched["owner/absent"]


PLAN = ["model=qwen2_audio_7b", "data=talks", "prune.ratio=0.25", "lang=de"]
PUBLISHED = "Qwen/Qwen2-Audio-7B-Instruct"

OF_THE_FAMILY = json.dumps(architecture("qwen2_audio").known_config(PUBLISHED))


@contextmanager
def hub(models: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """A stand-in for the hub that has the config.json of some models: its address, and the models it is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            model, _, file = self.path.lstrip("/").partition("/resolve/main/")
            if file:  # the client also sends a request of its own
                assert file == "config.json"
                asked.append(model)
            if model == "owner/slow":
                self.slow()
            elif model in models:
                self.answer(200, models[model])
            elif model == "owner/gated":
                self.answer(401, "", "GatedRepo")
            elif model == "owner/empty":
                self.answer(404, "", "EntryNotFound")
            elif model == "owner/busy":
                self.answer(503, "")
            else:
                self.answer(401, "", "RepoNotFound")

        def answer(self, status: int, content: str, code: str = "") -> None:
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content.encode())

        def slow(self) -> None:
            """A byte a second, so that there always is some progress."""
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            try:
                for _ in range(60):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(1)
            except OSError:
                pass  # whoever asked has gone

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def run(home: Path, *arguments: str, endpoint: str = "", module: str = "stc.run") -> subprocess.CompletedProcess[str]:
    """A command; without an ``endpoint`` it is offline."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(home / "huggingface"), "NO_PROXY": "127.0.0.1"}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0"} if endpoint else {"HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    folder = home / "folder"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", module, *PLAN, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


REFUSED = {
    "models/nope": ["no such folder here", "knows no such model"],
    "owner/gated": ["/owner/gated", "hf auth login"],
    "owner/empty": ["config.json"],
    "owner/whisper": ["'whisper' is not handled", "qwen2_audio"],
}
"""Models that a run cannot use, and words of their errors."""


@pytest.mark.parametrize("key", ["model.path", "stages.teacher.from"])
def test_plan_refuses_the_models_that_a_run_could_not_use(tmp_path: Path, key: str) -> None:
    with hub({"owner/whisper": '{"model_type": "whisper"}', PUBLISHED: OF_THE_FAMILY}) as (endpoint, _):
        answer = run(tmp_path, "-m", "plan=true", f"{key}={','.join(REFUSED)}", endpoint=endpoint)
    assert (answer.returncode, answer.stdout) == (2, "")
    for model, told in REFUSED.items():
        (line,) = [line for line in answer.stderr.splitlines() if line.startswith(f"  {key}={model}:")]
        assert [text for text in told if text not in line] == []


def test_run_of_an_unknown_model_starts_nothing(tmp_path: Path) -> None:
    with hub({}) as (endpoint, _):
        answer = run(tmp_path, "model.path=owner/nope", endpoint=endpoint)
    assert answer.returncode == 2
    assert "model.path=owner/nope: no such folder here" in answer.stderr
    assert list((tmp_path / "folder").iterdir()) == []


def test_sweep_asks_once_and_has_the_sizes(tmp_path: Path) -> None:
    sweep = ["-m", "plan=true", "model.path=owner/model", "prune.ratio=0.125,0.25,0.375,0.5", "lang=de,zh"]
    with hub({"owner/model": OF_THE_FAMILY}) as (endpoint, asked):
        answer = run(tmp_path, *sweep, endpoint=endpoint)
    assert asked == ["owner/model"]
    assert "download: 16.8 GB" in answer.stdout


def test_model_in_the_cache_is_looked_at_without_asking(tmp_path: Path) -> None:
    cached(tmp_path / "huggingface", "owner/name", "whisper")
    with hub({"owner/name": OF_THE_FAMILY}) as (endpoint, asked):
        answer = run(tmp_path, "plan=true", "model.path=owner/name", endpoint=endpoint)
    assert (answer.returncode, asked) == (2, [])
    assert "'whisper' is not handled" in answer.stderr


@pytest.mark.parametrize("model", ["owner/busy", "owner/slow"])
def test_plan_goes_on_where_the_hub_gives_no_answer(tmp_path: Path, model: str) -> None:
    begun = time.monotonic()
    with hub({}) as (endpoint, asked):
        answer = run(tmp_path, "-m", "plan=true", f"model.path={model}", "prune.ratio=0.25,0.5", endpoint=endpoint)
    assert time.monotonic() - begun < 45  # the slow one takes a minute
    assert asked == [model]
    (line,) = [line for line in answer.stdout.splitlines() if line.startswith(f"note: model.path={model}:")]
    assert "cannot be asked" in line
    assert "stages: " in answer.stdout


def test_offline_a_plan_goes_on_and_a_run_begins_nothing(tmp_path: Path) -> None:
    arguments = ["stages.teacher.from=models/nope", "stages.heal_unpruned.from=models/nope"]
    told = "stages.teacher.from=models/nope: no such folder here"
    plan = run(tmp_path, "plan=true", *arguments)
    assert f"note: {told}" in plan.stdout
    refused = run(tmp_path, *arguments)
    assert refused.returncode == 2
    assert told in refused.stderr
    assert "HF_HUB_OFFLINE" in refused.stderr
    assert list((tmp_path / "folder").iterdir()) == []


def test_folder_of_the_name_elsewhere_is_what_is_meant(tmp_path: Path) -> None:
    (tmp_path / "folder" / "models" / "teacher").mkdir(parents=True)
    assert "did you mean 'models/teacher'" in run(tmp_path, "model.path=modles/teacher").stderr
