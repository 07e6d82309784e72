"""Stages are read for validation, for ``--help`` and for a cached run, none of which may wait for torch."""

import subprocess
import sys
from pkgutil import iter_modules

import pytest

import stc.stages

HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "scipy", "sacrebleu", "datasets", "mlflow")


@pytest.mark.parametrize("stage", sorted(module.name for module in iter_modules(stc.stages.__path__)))
def test_a_stage_is_imported_without_the_heavy_libraries(stage: str) -> None:
    code = f"import sys, stc.stages.{stage}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.split() == []
