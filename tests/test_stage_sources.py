"""A source that changed gives other results (then a VERSION says so) or the same (then that is stated).

    python tests/test_stage_sources.py --same-results

states, for every stage, model family, quantizer and metric at its present VERSION, that the source as it is now gives
the same results as before. The lock has one digest of each: what was compared before is in the history of the file.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from stc.metrics import metric as metrics
from stc.models import architecture, families
from stc.pipeline.stage_by_name import stage_class, stage_names
from stc.quantization import methods, quantizer
from stc.system.extension_lookup import module_names

ROOT = Path(__file__).parent.parent
LOCK = Path(__file__).parent / "stage_sources.json"
# They say how a stage is called and how faults are worded; neither reaches a result.
WITHOUT_RESULTS = {"stc", "stc.errors", "stc.system.read_files", "stc.pipeline.stage", "stc.system.machine"}
OURS = ("stc.", "talks.")
TALKS = ("talks.stages.synthesize", "talks.stages.pretrain")
# Packages whose modules are loaded by name and have a VERSION: their own, a data source that of the stage manifest.
BY_NAME = {"stc.data.sources", "stc.stages", "stc.metrics.text", "stc.models", "stc.pruning", "stc.quantization"}


def versions() -> dict[str, tuple[str, int]]:
    """What has a VERSION → the module of it, and the VERSION."""
    return {
        **{f"stage {name}": (stage_class(name).__module__, stage_class(name).VERSION) for name in stage_names()},
        **{
            f"data source {name}": (f"stc.data.sources.{name}", stage_class("manifest").VERSION)
            for name in module_names("stc.data.sources")
        },
        **{f"stage {name.rpartition('.')[2]}": (name, stage_class(name).VERSION) for name in TALKS},
        **{f"family {name}": (f"stc.models.{name}", architecture(name).VERSION) for name in families()},
        **{
            f"quantizer {name}": (f"stc.quantization.{name}", quantizer({"method": name}).VERSION) for name in methods()
        },
        **{
            f"metric {name}": (f"stc.metrics.text.{name}", metrics.metric_named(name).VERSION)
            for name in metrics.metric_names()
        },
    }


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


class _Computed(ast.NodeTransformer):
    """Leaves of a module what is computed: no docstrings, and nothing that only a type checker reads."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        checked = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        return None if checked else self.generic_visit(node)


@cache
def _computed(module: str) -> ast.AST:
    file = _file(module)
    assert file is not None
    return _Computed().visit(ast.parse(file.read_text("utf-8")))  # type: ignore[no-any-return]


def _named(tree: ast.AST) -> Iterator[str]:
    """Whatever names a module: imports, and texts, by which a module is run or loaded."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(OURS):
            yield node.value


def _loaded_by_name(tree: ast.AST) -> Iterator[str]:
    """Yield the package in each ``import_module(f"stc.x.{name}")`` and each ``class_by_name("stc.x", name, …)``."""
    for node in ast.walk(tree):
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if isinstance(node, ast.Call) and called in ("import_module", "class_by_name"):
            start = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
            if isinstance(start, ast.Constant) and isinstance(start.value, str):
                yield start.value.rstrip(".")


def _written(node: object) -> str:
    """A tree as text. As ast.dump, without the fields that are empty: which of those there are, each Python has its
    own idea of."""
    if isinstance(node, list):
        return f"[{', '.join(map(_written, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.JoinedStr):  # Python 3.12 has empty pieces in formatted text
        node = ast.JoinedStr([one for one in node.values if not (isinstance(one, ast.Constant) and one.value == "")])
    fields = (f"{name}={_written(value)}" for name, value in ast.iter_fields(node) if value is not None and value != [])
    return f"{type(node).__name__}({', '.join(fields)})"


def digest(start: str) -> str:
    """Of what is computed in a module and every module of stc it reaches."""
    modules = {start}
    queue = list(modules)
    while queue:
        named = {name for name in _named(_computed(queue.pop())) if name.startswith(OURS) and _file(name)}
        new = named - modules - WITHOUT_RESULTS
        modules |= new
        queue += new
    sha = hashlib.sha256()
    for module in sorted(modules):
        sha.update(f"{module}\n{_written(_computed(module))}\n".encode())
    return sha.hexdigest()[:16]


def current() -> dict[str, dict[str, int | str]]:
    return {name: {"version": version, "digest": digest(module)} for name, (module, version) in versions().items()}


@pytest.mark.parametrize("name", versions())
def test_a_changed_source_raises_the_version_or_is_known_to_give_the_same_results(name: str) -> None:
    module, version = versions()[name]
    assert json.loads(LOCK.read_text()).get(name) == {"version": version, "digest": digest(module)}, (
        f"the source that {name} rests on changed: raise its VERSION if results change; "
        "then, or if they do not, run: python tests/test_stage_sources.py --same-results"
    )


def test_whatever_is_loaded_by_name_has_a_version_of_its_own() -> None:
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in (ROOT / "stc").rglob("*.py")]
    found = {package for module in modules for package in _loaded_by_name(_computed(module.removesuffix(".__init__")))}
    assert found == BY_NAME


def test_comments_docstrings_and_layout_are_no_change_and_code_is() -> None:
    def seen(source: str) -> str:
        return _written(_Computed().visit(ast.parse(source)))

    plain = seen("def one(a: int) -> int:\n    return a + 1\n")
    assert plain == seen(
        '"""Says."""\n\n\ndef one(\n    a: int,\n) -> int:\n    """More."""\n    # why\n    return (a + 1)\n'
    )
    assert plain != seen("def one(a: int) -> int:\n    return a + 2\n")


if __name__ == "__main__" and sys.argv[1:] == ["--same-results"]:
    LOCK.write_text(json.dumps(current(), indent=1, sort_keys=True) + "\n")
