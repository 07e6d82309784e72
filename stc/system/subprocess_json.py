"""Asking a fresh process: a request as JSON on its standard input, its answer as JSON on its standard output.

What it says on standard error is shown only where it fails.
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
"""Exit status of a process that met a user's fault; the last line it said is the whole message."""

_TAIL = 20  # lines of a failed process's standard error that are shown


def run_json(
    what: str,
    arguments: Sequence[str],
    request: Mapping[str, Any],
    *,
    python: str = sys.executable,
    **environment: str,
) -> Any:
    """Start Python with ``arguments``, hand it ``request``, and return the answer.

    Args:
        what: what the process is for, as messages begin: ``measuring FOLDER``.
        python: which one; another may have libraries that this one has not.
        environment: variables it gets in addition to this process's own.

    Raises:
        StcError: the process fails, with its message or with the end of what it said.
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
    said = process.stderr.strip().splitlines()
    if process.returncode == USER_ERROR:
        raise StcError(said[-1])
    status = process.returncode
    how = f"was killed by signal {-status}" if status < 0 else f"exited with {status}"
    raise StcError(f"{what}: the process {how}\n" + "\n".join(said[-_TAIL:]))
