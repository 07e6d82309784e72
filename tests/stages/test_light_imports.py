"""Stages are imported for validation, ``--help`` and cached runs, which must not wait for torch."""

import json
import subprocess
import sys
from pkgutil import iter_modules

import pytest

import stc.stages

HEAVY = ("torch", "transformers", "peft", "bitsandbytes", "scipy", "sacrebleu", "datasets", "mlflow")
STAGES = sorted(module.name for module in iter_modules(stc.stages.__path__))
LOADING = """
import importlib, json, sys
stages, heavy = map(json.loads, sys.argv[1:])
found = {}
for stage in stages:
    before = {*sys.modules}
    importlib.import_module(f"stc.stages.{stage}")
    found[stage] = [name for name in heavy if name in {*sys.modules} - before]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Return the heavy libraries that the import of each stage loads first, in one process."""
    command = [sys.executable, "-c", LOADING, json.dumps(STAGES), json.dumps(HEAVY)]
    found: dict[str, list[str]] = json.loads(subprocess.check_output(command, text=True))
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_imported_without_the_heavy_libraries(stage: str, loaded: dict[str, list[str]]) -> None:
    assert loaded[stage] == []
