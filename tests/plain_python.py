"""Python without stc that is asked many times: it imports the libraries once, and forks for each script.

A script finds what a fresh process would give it, without the seconds that the imports take. The forking process runs
this file as its program, isolated as ``python -I`` is.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

IMPORTED = {"transformers": ["AutoProcessor", "Qwen2AudioForConditionalGeneration"], "peft": [], "bitsandbytes": []}


class PlainPython:
    """A forking process, and the folder where it writes what scripts say."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder

    def run(
        self, code: str, *arguments: str, cwd: Path | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a script as ``python -I -c`` does, and return how it ended and what it said."""
        streams = [self._folder / name for name in ("stdin", "stdout", "stderr")]
        streams[0].write_text(stdin, encoding="utf-8")
        script = {
            "code": code,
            "arguments": arguments,
            "cwd": str(cwd or self._folder),
            "streams": [str(stream) for stream in streams],
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(script) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        out, err = (stream.read_text(encoding="utf-8") for stream in streams[1:])
        return subprocess.CompletedProcess([*arguments], status, out, err)


@contextmanager
def started(folder: Path) -> Iterator[PlainPython]:
    """A forking process, until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-I", __file__],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        yield PlainPython(process, folder)


def _forked() -> dict[str, Any]:
    """Fork for each script that is asked for; returns in the forks alone, with their script."""
    gc.disable()  # imports make objects by the million, and none of them is ever given back
    for library, names in IMPORTED.items():
        module = importlib.import_module(library)
        for name in names:
            getattr(module, name)  # transformers imports what is named, when it is named
    gc.freeze()  # so that no fork copies what it does not change
    gc.enable()
    while line := sys.stdin.readline():
        fork = os.fork()
        if not fork:
            found: dict[str, Any] = json.loads(line)
            return found
        print(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]), flush=True)
    os._exit(0)  # taking everything down that was imported takes a second


if __name__ == "__main__":
    script = _forked()
    for number, (stream, mode) in enumerate(zip(script["streams"], "rww", strict=True)):
        with open(stream, mode) as file:
            os.dup2(file.fileno(), number)
    os.chdir(script["cwd"])
    sys.argv = ["-c", *script["arguments"]]
    exec(compile(script["code"], "<string>", "exec"), {"__name__": "__main__"})
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
