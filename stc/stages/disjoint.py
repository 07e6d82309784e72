"""disjoint: check that the splits of a run share no utterance, before anything is selected or scored."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from itertools import combinations, starmap
from pathlib import Path
from typing import Any, ClassVar

from stc.data.manifest import Manifest, OverlapIndex, Utterance
from stc.errors import InputError
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Artifact, Kind

log = logging.getLogger(__name__)

LISTED = 5  # shared utterances that a message names, for two splits
HELD_OUT = {"dev", "selection", "test"}  # all others are trained on, and may share
DROP_HINT = ", or leave them out of train: data.on_overlap=drop (of a mixture, data.mix.NAME.on_overlap=drop)"
LONGEST = 60  # characters of a text that a message shows


class Disjoint(Stage):
    """Compares every two splits by content: equal audio, or equal source text up to case and punctuation.

    Data that are trained on may share utterances with each other, but not with ``dev``, ``selection`` or ``test``.
    ``dev`` may be the very split that ``selection`` is: neither is the test.

    Writes disjoint.json, the number of utterances of each split. These are the facts too.

    Attributes:
        allow_leak: splits that share utterances pass. The fact ``shared`` says which they are and how many utterances,
            and the comparison of the run says it beside its figures.
    """

    VERSION: ClassVar[int] = 1
    TAKES: ClassVar[Mapping[str, StageInput]] = {"splits": StageInput(Kind.MANIFEST, many=True)}
    GIVES: ClassVar[Kind] = Kind.CHECK
    NEWER_FIELDS: ClassVar[frozenset[str]] = frozenset({"allow_leak"})

    allow_leak: bool = False

    def activity(self, inputs: Inputs) -> str:
        return "checking that the splits share no utterance"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        manifests = {label: Manifest.load(artifact.path) for label, artifact in inputs["splits"].items()}
        contents = {label: OverlapIndex(manifest.rows) for label, manifest in manifests.items()}
        shared = {
            (first, second): [
                (other, row) for row in manifests[second].rows if (other := contents[first].match(row)) is not None
            ]
            for first, second in combinations(manifests, 2)
            if {first, second} & HELD_OUT and not _said_to_be_one(first, second, inputs["splits"])
        }
        found = {splits: pairs for splits, pairs in shared.items() if pairs}
        if found and not self.allow_leak:
            only_training = all(set(splits) - HELD_OUT for splits in found)
            described = "; ".join(starmap(_describe, found.items()))
            drop = DROP_HINT if only_training else ""
            raise InputError(
                f"splits share utterances, by audio or text: {described}; take them out of one of the two{drop}"
            )
        sizes: dict[str, Any] = {label: len(manifest) for label, manifest in manifests.items()}
        if found:
            sizes["shared"] = {
                # Of an utterance that was cut into parts, all parts are one.
                " and ".join(splits): len({row.part_of or row.id for _, row in pairs})
                for splits, pairs in found.items()
            }
            log.warning("splits share utterances (data.allow_leak=true): %s", sizes["shared"])
        (out_dir / "disjoint.json").write_text(json.dumps(sizes, indent=1) + "\n", encoding="utf-8")
        return sizes


def _said_to_be_one(first: str, second: str, splits: Mapping[str, Artifact]) -> bool:
    """Return whether these are ``dev`` and ``selection``, and one manifest."""
    return {first, second} == {"dev", "selection"} and splits[first].identity == splits[second].identity


def _describe(splits: tuple[str, str], pairs: list[tuple[Utterance, Utterance]]) -> str:
    """Return a text about what two splits share: the ids and texts of both."""
    rows = [" is ".join(f"{row.id} {_short(row.source)}" for row in pair) for pair in pairs[:LISTED]]
    more = f" and {len(pairs) - LISTED} more" if len(pairs) > LISTED else ""
    return f"{len(pairs)} of {splits[1]!r} in {splits[0]!r} ({', '.join(rows)}{more})"


def _short(text: str) -> str:
    return repr(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
