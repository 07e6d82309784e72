"""One round of greedy layer selection (Moslem 2025, arXiv 2505.20237, section 3)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from stc.data.manifest import Manifest
from stc.errors import InputError
from stc.models.options import Compute
from stc.stage import Context, Inputs, Kind, Stage, Takes

RANKING_FILE = "ranking.json"


class Importance(Compute, Stage):
    """Leaves out each remaining layer in turn and removes the one whose absence scores best.

    Layers are numbered as in the model taken, whose weights no round changes; ``previous`` is the round before,
    and says which are gone already. Of equal scores the lowest layer is removed.

    A score is written to scratch as soon as it is known, so that a round which was interrupted repeats at most
    one candidate.
    """

    VERSION: ClassVar[int] = 2
    TAKES: ClassVar[Mapping[str, Takes]] = {
        "model": Takes(Kind.MODEL),
        "data": Takes(Kind.MANIFEST),
        "previous": Takes(Kind.RANKING, optional=True),
    }
    GIVES: ClassVar[Kind] = Kind.RANKING

    metric: Literal["chrf", "chrf_pp"]
    max_new_tokens: int = Field(ge=1, le=1024)

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.metrics.text import signature
        from stc.models import architecture, read_config

        folder = inputs["model"].path
        config = read_config(folder)
        family = architecture(config["model_type"])
        layers = family.decoder_layers(config)
        previous = inputs.get("previous")
        removed = list(previous.facts["order"]) if previous else []
        protected = family.protected_layers(layers)
        candidates = [layer for layer in range(layers) if layer not in protected and layer not in removed]
        if not candidates:
            raise InputError(
                f"no layer of {folder} is left to remove: of {layers}, {len(protected)} are protected and "
                f"{len(removed)} removed"
            )
        manifest = Manifest.load(inputs["data"].path)
        scores = self._scores(folder, manifest, removed, candidates, ctx)
        best = max(candidates, key=lambda layer: (scores[layer], -layer))
        order = [*removed, best]
        ranking = {
            "metric": self.metric,
            "signature": signature(self.metric, manifest.task.target_lang),
            "candidates": [{"layer": layer, "score": scores[layer]} for layer in candidates],
            "order": order,
            "layers_removed": sorted(order),
        }
        (out_dir / RANKING_FILE).write_text(json.dumps(ranking, indent=1) + "\n", encoding="utf-8")
        return {"order": order, "layers_removed": sorted(order), "layer": best, "score": scores[best]}

    def _scores(
        self, folder: Path, manifest: Manifest, removed: list[int], candidates: list[int], ctx: Context
    ) -> dict[int, float]:
        """The score without each candidate: from scratch where a run before this one got that far."""
        from stc.decoding.greedy import encode
        from stc.decoding.search import translate_without_each
        from stc.metrics.text import score
        from stc.models.checkpoint import load

        journal = ctx.scratch / "candidates.jsonl"
        scores = _recover(journal)
        missing = [layer for layer in candidates if layer not in scores]
        if not missing:
            return scores
        translator = load(folder, device=ctx.device, dtype=self.dtype, attention=self.attention)
        encoded = encode(translator, manifest, batch_size=ctx.decode_batch)
        with ctx.progress(f"layer {len(removed) + 1}", total=len(missing), unit="candidate") as bar:
            for layer, texts in translate_without_each(
                translator,
                encoded,
                removed,
                missing,
                batch_size=ctx.decode_batch,
                max_new_tokens=self.max_new_tokens,
            ):
                scores[layer] = score(self.metric, texts, manifest.targets, manifest.task.target_lang)
                with journal.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"layer": layer, "score": scores[layer]}) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                ctx.log({"score_without_layer": scores[layer]}, step=layer)
                bar.update(1)
        return scores


def _recover(journal: Path) -> dict[int, float]:
    """Scores of an interrupted round. Its last line may be torn; it is cut off, so that appending is safe."""
    if not journal.exists():
        return {}
    whole = [line for line in journal.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    journal.write_bytes(b"".join(whole))
    return {entry["layer"]: entry["score"] for entry in map(json.loads, whole)}
