"""Run Python in a fresh process: it gets a request as JSON on standard input and prints its answer as JSON.

Its standard error is shown only if it fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from stc.errors import StcError

USER_ERROR = 3
"""Exit status of a process that failed for a reason the user can act on. Its last line is the whole message."""

_TAIL = 20  # lines of a failed process's standard error that are shown


def run_json(
    what: str,
    arguments: Sequence[str],
    request: Mapping[str, Any],
    *,
    python: str = sys.executable,
    **environment: str,
) -> Any:
    """Start Python with ``arguments``, send it ``request``, and return its answer.

    Args:
        what: the purpose of the process, with which messages begin: ``measuring FOLDER``.
        python: the interpreter; another one may have other libraries.
        environment: variables in addition to those of this process.

    Raises:
        StcError: the process failed. The message is its own, or the end of its standard error.
    """
    process = subprocess.run(
        [python, *arguments],
        input=json.dumps(request),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if process.returncode == 0:
        return json.loads(process.stdout)
    lines = process.stderr.strip().splitlines()
    if process.returncode == USER_ERROR:
        raise StcError(lines[-1])
    status = process.returncode
    how = f"was killed by signal {-status}" if status < 0 else f"exited with {status}"
    raise StcError(f"{what}: the process {how}\n" + "\n".join(lines[-_TAIL:]))
