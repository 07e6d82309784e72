"""Commands that have to answer before torch is imported, in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

_COMMANDS = """
import contextlib, importlib, io, json, sys
main = importlib.import_module(sys.argv[1]).main
for arguments in json.loads(sys.argv[2]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(arguments)
    print(json.dumps([code, out.getvalue(), err.getvalue()]))
assert not {"torch", "transformers"} & set(sys.modules)
"""


class Answer(NamedTuple):
    code: int
    out: str
    err: str


def answers(module: str, commands: Sequence[Sequence[str]]) -> list[Answer]:
    """What ``main`` of a module gives and says for each command, all of them in one process without torch."""
    command = [sys.executable, "-c", _COMMANDS, module, json.dumps(commands)]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [Answer(*json.loads(line)) for line in lines]
