"""``--help`` of every command answers without the heavy libraries."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "mlflow", "datasets", "soundfile", "scipy", "sacrebleu", "bitsandbytes"}


@pytest.mark.parametrize("name", ["translate", "evaluate", "doctor"])
def test_help_comes_at_once(name: str) -> None:
    code = (
        f"import sys; sys.argv = ['x', '--help']; from stc.{name} import main\n"
        f"try: main()\nexcept SystemExit as end: assert not end.code\nassert not {HEAVY!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m stc.{name}" in done.stdout
