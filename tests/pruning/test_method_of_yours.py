"""A user's pruning method is a module with its settings and its stage, and a member of the group ``prune``."""

from __future__ import annotations

from pathlib import Path

import pytest

from stc.config.composition import compose_jobs
from stc.config.override_checks import check_arguments
from stc.pipeline.runner import Evaluation
from stc.pipeline.stage import Context
from stc.store import Store
from stc.system.paths import ROOT

METHOD = '''
"""Every other layer, from the second on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.models.layer_ranking import LayerCounts, Removal, removable
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.pruning import ByRatio
from stc.store.artifact import Kind


class EveryOther(ByRatio):
    """Remove every other layer."""

    first: int


class EveryOtherLayer(LayerCounts, Stage):
    """``layers`` of the stacks, every other one."""

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {}
    GIVES: ClassVar[Kind] = Kind.RANKING

    layers: int
    first: int

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        order = removable(self.of)[self.first :: 2][: self.layers]
        return Removal(self.of, tuple(order)).save(out_dir, {"method": "every_other"})
'''

MEMBER = """
method: attic.every_other
ratio: 0.5
scope: decoder
first: 0
layers_removed: null
of: null
heal_features: null
dev_features: null
stages:
  importance:
    stage: attic.every_other
    of: ${prune.of}
    layers: ${prune.layers_removed}
    first: ${prune.first}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of configs; the method is in a package beside it."""
    for name, text in (
        ("attic/__init__.py", ""),
        ("attic/every_other.py", METHOD),
        ("conf/prune/every_other.yaml", MEMBER),
    ):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    return tmp_path / "conf"


def test_method_of_a_package_elsewhere_chooses_the_layers_that_are_removed(
    own: Path, tiny_model: Path, tmp_path: Path, ctx: Context
) -> None:
    asked = [f"--config-dir={own}", "prune=every_other", "prune.first=1", f"model.path={tiny_model}", "data=talks"]
    settings = [f"stages.teacher.from={tiny_model}", "pipeline.outputs=[prune]"]
    ((_, _, plan),) = compose_jobs(check_arguments([*asked, *settings]))
    assert plan.pruning.method == "attic.every_other"
    done = Evaluation(plan.pipeline, Store(tmp_path / "store"), lambda name, scratch: ctx).run()
    assert done[-1].artifact.facts["layers_removed"] == [2, 4]  # 3 were asked for, of the layers 1 to 4
