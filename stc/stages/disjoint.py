"""disjoint: the splits of a run share nothing, or the run stops before anything is selected or scored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

from stc.data.manifest import Manifest, shared_content
from stc.errors import InputError
from stc.stage import Context, Inputs, Kind, Stage, Takes


class Disjoint(Stage):
    """Compares every two splits by content: equal audio, or equal source text up to case and punctuation.

    Writes disjoint.json, the number of utterances of each split; these are the facts too.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, Takes]] = {"splits": Takes(Kind.MANIFEST, many=True)}
    GIVES: ClassVar[Kind] = Kind.CHECK

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        manifests = {label: Manifest.load(artifact.path) for label, artifact in inputs["splits"].items()}
        for first, second in combinations(manifests, 2):
            shared = shared_content(manifests[first], manifests[second])
            if shared:
                raise InputError(
                    f"splits {first!r} and {second!r} share {len(shared)} utterances by audio or text: in {second!r}, "
                    f"{', '.join(shared[:5])}{' …' if len(shared) > 5 else ''}; take them out of one of the two"
                )
        sizes = {label: len(manifest) for label, manifest in manifests.items()}
        (out_dir / "disjoint.json").write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
        return sizes
