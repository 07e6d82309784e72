"""A stand-in for the Hugging Face hub, which the real client can list, download from and resume."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 1000  # bytes from which the hub has a file by its SHA-256
_API = re.compile(r"/api/(models|datasets)/([^/]+/[^/]+?)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class HubServer:
    """What the hub has: files by repository (``models/OWNER/NAME``, ``datasets/OWNER/NAME``).

    Attributes:
        gated: repositories that it does not give.
        sent: the path of each file that was sent, and the byte at which the answer began.
        breaks: the bytes after which an answer waits for ``go_on``, and then breaks off, by path; once.
        damaged: paths of files of which it sends other bytes than it says.
    """

    repositories: Mapping[str, Mapping[str, bytes]]
    gated: set[str] = field(default_factory=set)
    sent: list[tuple[str, int]] = field(default_factory=list)
    breaks: dict[str, int] = field(default_factory=dict)
    go_on: threading.Event = field(default_factory=threading.Event)
    damaged: set[str] = field(default_factory=set)
    endpoint: str = ""

    def commit(self, repository: str) -> str:
        return hashlib.sha1(repository.encode()).hexdigest()

    def entry(self, path: str, content: bytes) -> dict[str, Any]:
        git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        found = {"type": "file", "path": path, "rfilename": path, "size": len(content), "oid": git, "blobId": git}
        if len(content) >= LARGE:
            digest = hashlib.sha256(content).hexdigest()
            found["lfs"] = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": 130}
        return found


@contextmanager
def served(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[HubServer]:
    """Serve repositories while the block lasts. Every revision but another commit means the one commit there is."""
    hub = HubServer(repositories)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.posted = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = unquote(urlsplit(self.path).path)
            if api := _API.fullmatch(path):
                self.tell(f"{api[1]}/{api[2]}", api[3], api[4] or "main", api[5] or "")
            elif file := _FILE.fullmatch(path):
                self.give(f"{'datasets' if file[1] else 'models'}/{file[2]}", file[3], file[4])
            else:
                self.answer(404, b"{}")

        do_HEAD = do_POST = do_GET

        def known(self, repository: str, revision: str) -> bool:
            if repository in hub.gated:
                self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
            elif repository not in hub.repositories:
                self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif len(revision) == 40 and revision != hub.commit(repository):
                self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            else:
                return True
            return False

        def tell(self, repository: str, what: str | None, revision: str, folder: str) -> None:
            if not self.known(repository, revision):
                return
            files = [hub.entry(path, content) for path, content in hub.repositories[repository].items()]
            parents = {str(one) for file in files for one in PurePosixPath(file["path"]).parents} - {"."}
            entries = files + [{"type": "directory", "path": one, "oid": "0" * 40, "size": 0} for one in parents]
            if what == "tree":
                below = [one for one in entries if one["path"].startswith(f"{folder}/" if folder else "")]
                if "recursive=true" not in self.path.lower():
                    below = [one for one in below if str(PurePosixPath(one["path"]).parent) == (folder or ".")]
                self.answer(200, json.dumps(below).encode())
            elif what == "paths-info":
                asked = parse_qs(self.posted.decode())["paths"]
                self.answer(200, json.dumps([one for one in entries if one["path"] in asked]).encode())
            else:
                name = repository.partition("/")[2]
                about = {"id": name, "sha": hub.commit(repository), "siblings": files, "tags": [], "private": False}
                self.answer(200, json.dumps(about).encode())

        def give(self, repository: str, revision: str, path: str) -> None:
            if not self.known(repository, revision):
                return
            if path not in hub.repositories[repository]:
                self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            content = hub.repositories[repository][path]
            entry = hub.entry(path, content)
            etag = entry.get("lfs", {}).get("oid", entry["oid"])
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": hub.commit(repository), "Accept-Ranges": "bytes"}
            if self.command == "HEAD":
                self.answer(200, b"", {**headers, "Content-Length": str(len(content))})
                return
            if path in hub.damaged:
                content = bytes(len(content))
            start = int(re.findall(r"\d+", self.headers.get("Range", "bytes=0-"))[0])
            hub.sent.append((path, start))
            rest = content[start:]
            status = 206 if "Range" in self.headers else 200
            if status == 206:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(status, rest, headers, hub.breaks.pop(path, None))

        def answer(
            self, status: int, content: bytes, headers: Mapping[str, str] | None = None, end: int | None = None
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            with suppress(OSError):  # whoever asked may have gone
                self.wfile.write(content[:end])
                self.wfile.flush()
            if end is not None:
                hub.go_on.wait()
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
