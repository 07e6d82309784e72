"""A stage whose source changed gives other results (then its VERSION says so) or the same (then that is stated).

    python tests/test_stage_sources.py --same-results

states, for every stage at its present VERSION, that the source as it is now gives the same results as before.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from pathlib import Path

import pytest

from stc.stages import stage_class, stage_names

ROOT = Path(__file__).parent.parent
LOCK = Path(__file__).parent / "stage_sources.json"
# They say how a stage is called and how faults are worded; neither reaches a result.
WITHOUT_RESULTS = {"stc", "stc.errors", "stc.stage", "stc.machine"}


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("stc.") and _file(name)}


def digest(stage: str) -> str:
    """Of the stage's module and every module of stc it reaches, without comment lines and blank lines."""
    modules = {f"stc.stages.{stage}"}
    queue = list(modules)
    while queue:
        file = _file(queue.pop())
        assert file is not None
        new = _imports(file) - modules - WITHOUT_RESULTS
        modules |= new
        queue += new
    sha = hashlib.sha256()
    for module in sorted(modules):
        file = _file(module)
        assert file is not None
        lines = (line.rstrip() for line in file.read_text("utf-8").splitlines())
        sha.update("\n".join(line for line in lines if line and not line.lstrip().startswith("#")).encode())
    return sha.hexdigest()[:16]


@pytest.mark.parametrize("stage", stage_names())
def test_a_changed_source_raises_the_version_or_is_known_to_give_the_same_results(stage: str) -> None:
    version = str(stage_class(stage).VERSION)
    known = json.loads(LOCK.read_text()).get(stage, {})
    assert digest(stage) in known.get(version, []), (
        f"the source that {stage!r} rests on changed: raise its VERSION if results change; "
        "then, or if they do not, run: python tests/test_stage_sources.py --same-results"
    )


def _same_results() -> None:
    lock = json.loads(LOCK.read_text()) if LOCK.exists() else {}
    for stage in stage_names():
        known = lock.setdefault(stage, {}).setdefault(str(stage_class(stage).VERSION), [])
        if digest(stage) not in known:
            known.append(digest(stage))
    LOCK.write_text(json.dumps(lock, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__" and sys.argv[1:] == ["--same-results"]:
    _same_results()
