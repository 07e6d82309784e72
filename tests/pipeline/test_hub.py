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

FETCH = (
    "from stc.models import read_config; from stc.pipeline.graph import Hub;print(Hub('owner/name').fetch(read_config))"
)


def fetch(home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    return subprocess.run([sys.executable, "-c", FETCH], env=environment, capture_output=True, text=True)


def cached(home: Path, model_type: str) -> Path:
    """A model in the cache, with as much as its config says."""
    model = home / "hub" / "models--owner--name"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    (model / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (model / "snapshots" / ("0" * 40) / "config.json").write_text(json.dumps({"model_type": model_type}))
    return model / "snapshots" / ("0" * 40)


def test_model_in_the_cache_needs_no_network(tmp_path: Path) -> None:
    folder = cached(tmp_path, "qwen2_audio")
    assert fetch(tmp_path).stdout.strip() == str(folder)


def test_model_of_another_family_is_refused_by_its_config_alone(tmp_path: Path) -> None:
    cached(tmp_path, "whisper")
    assert "ModelError: model_type 'whisper' is not handled" in fetch(tmp_path).stderr


def test_model_that_is_not_there_is_told_with_the_command(tmp_path: Path) -> None:
    answer = fetch(tmp_path)
    assert "InputError: owner/name: not in this machine's cache" in answer.stderr
    assert "hf download owner/name" in answer.stderr


PLAN = ["model=qwen2_audio_7b", "data=talks", "prune.ratio=0.25", "lang=de"]
PUBLISHED = "Qwen/Qwen2-Audio-7B-Instruct"

OF_THE_FAMILY = json.dumps(architecture("qwen2_audio").published(PUBLISHED))


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


@pytest.mark.parametrize("key", ["model.path", "stages.teacher.from"])
@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("models/nope", ["no such folder here", "knows no such model"]),
        ("owner/gated", ["/owner/gated", "hf auth login"]),
        ("owner/empty", ["config.json"]),
        ("owner/whisper", ["'whisper' is not handled", "qwen2_audio"]),
    ],
)
def test_plan_refuses_a_model_that_a_run_could_not_use(tmp_path: Path, key: str, model: str, told: list[str]) -> None:
    with hub({"owner/whisper": '{"model_type": "whisper"}', PUBLISHED: OF_THE_FAMILY}) as (endpoint, _):
        answer = run(tmp_path, "plan=true", f"{key}={model}", endpoint=endpoint)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert f"{key}={model}:" in answer.stderr
    assert [text for text in told if text not in answer.stderr] == []


def test_run_of_a_model_that_nobody_knows_begins_nothing(tmp_path: Path) -> None:
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
    cached(tmp_path / "huggingface", "whisper")
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
