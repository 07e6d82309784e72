"""Uploading an export. The hub is a small server of this test's own, which answers as the Hugging Face hub does: the
real one cannot be written to from a test."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from stc.errors import InputError
from stc.export import ExportResult, push


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A server that takes a repository's files as the hub does; what was sent to it, by path of the request."""
    got: dict[str, Any] = {"files": {}}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            here = f"http://{self.headers['Host']}"
            if self.path == "/api/repos/create":
                got["created"] = json.loads(body)
                self.answer({"url": f"{here}/someone/model", "name": "someone/model"})
            elif self.path == "/api/validate-yaml":
                self.answer({"errors": [], "warnings": []})
            elif "/preupload/" in self.path:
                files = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in json.loads(body)["files"]
                ]
                self.answer({"files": files})
            else:
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        got["files"][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                self.answer({"commitUrl": f"{here}/someone/model/commit/1", "commitOid": "1", "success": True})

        def do_GET(self) -> None:
            self.answer({"id": "someone/model", "sha": "0", "siblings": [], "tags": []})

        def answer(self, content: dict[str, Any]) -> None:
            text = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    yield got
    server.shutdown()


def test_every_file_of_an_export_is_uploaded_to_a_private_repository(
    quantized: ExportResult, hub: dict[str, Any]
) -> None:
    assert push(quantized, "someone/model").endswith("/someone/model/commit/1")
    assert hub["created"] == {"name": "model", "organization": "someone", "visibility": "private"}
    assert hub["files"] == {file.name: file.read_bytes() for file in quantized.folder.iterdir()}


def test_invalid_hub_name_is_a_user_error(quantized: ExportResult) -> None:
    with pytest.raises(InputError, match="--push-to-hub no/such/name"):
        push(quantized, "no/such/name")
