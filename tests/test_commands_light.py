"""``--help`` of every command answers without the heavy libraries."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest

import stc.evaluate.options
import stc.translate
from stc.config.composition import compose_jobs
from stc.config.override_checks import check_arguments
from stc.system.paths import ROOT

HEAVY = {"torch", "transformers", "mlflow", "datasets", "soundfile", "scipy", "sacrebleu", "bitsandbytes"}


def test_help_of_every_command_comes_at_once() -> None:
    commands = ["translate", "evaluate.__main__", "doctor", "submit.__main__"]
    code = (
        f"import sys; from importlib import import_module; sys.argv = ['x', '--help']\nfor name in {commands}:\n"
        "    try: import_module(f'stc.{name}').main()\n    except SystemExit as end: assert not end.code\n"
        f"    assert not {HEAVY!r} & set(sys.modules), name"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert all(f"python -m stc.{name.removesuffix('.__main__')}" in done.stdout for name in commands)


def documented(command: str) -> list[list[str]]:
    """The arguments of every ``python -m`` line of docs/using.md that runs ``command``."""
    text = (ROOT / "docs/using.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if f"python -m {command} " in f"{line} " and "`" not in line]
    return [shlex.split(line.partition(f"python -m {command}")[2]) for line in lines]


def test_documented_commands_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    for name, parser in (
        ("stc.translate", stc.translate._parser()),
        ("stc.evaluate", stc.evaluate.options.make_parser()),
    ):
        commands = documented(name)
        assert len(commands) >= 2
        for arguments in commands:
            parser.parse_args(arguments)
    for settings in documented("stc.doctor"):
        compose_jobs(check_arguments(settings))
