"""prune: remove the layers of a ranking from a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stc.models import describe_depth
from stc.models.compute_options import Compute
from stc.models.layer_ranking import Removal, by_stack
from stc.models.layout import Layout
from stc.pipeline.stage import Context, Inputs, Stage, StageInput
from stc.store.artifact import Kind


class Prune(Compute, Stage):
    """Removes the layers that ``ranking`` names.

    If the model has fewer layers than the ranking was made for, it has already lost the first of the removed ones. The
    facts name all removed layers, numbered as in the ranking. ``dtype`` and ``attention`` are used for checks; the
    remaining weights are not changed.
    """

    VERSION = 2
    TAKES: ClassVar[Mapping[str, StageInput]] = {
        "model": StageInput(Kind.MODEL),
        "ranking": StageInput(Kind.RANKING, by=("layers_removed", "encoder_layers_removed")),
    }
    GIVES = Kind.MODEL

    def forecast(self, inputs: Mapping[str, Any]) -> Layout | None:
        model, removals = inputs["model"], inputs["ranking"]
        return model.pruned(removals) if model and removals else None

    @classmethod
    def describe(cls, config: Mapping[str, Any], facts: Mapping[str, Any], data: Mapping[str, Any]) -> str:
        parts = []
        for stack, key in (("decoder", "layers_removed"), ("encoder", "encoder_layers_removed")):
            if removed := facts[key]:
                total = len(removed) + facts[f"{stack}_layers"]
                numbers = ", ".join(map(str, removed))
                parts.append(f"{len(removed)} of {total} {stack} layers removed (counted from 0: {numbers})")
        return f"Pruned: {'; '.join(parts)}."

    def activity(self, inputs: Inputs) -> str:
        model, ranking = inputs["model"], inputs["ranking"].facts
        keys = ("layers_removed", "encoder_layers_removed")
        count = sum(len(ranking[key]) - len(model.facts.get(key, [])) for key in keys)
        return f"removing {count} layer{'s' * (count != 1)} of the {describe_depth(model.path)}"

    def run(self, inputs: Inputs, out_dir: Path, ctx: Context) -> Mapping[str, Any]:
        from stc.models import architecture, read_config
        from stc.models.folder import count_parameters
        from stc.models.layer_removal import check_cache, check_reload, drop_layers
        from stc.models.load_and_save import save

        folder = inputs["model"].path
        config = read_config(folder)
        family = architecture(config["model_type"])
        facts = inputs["ranking"].facts
        removal = Removal.from_facts(facts)
        places = removal.places(family.layers(config), folder)
        removed = by_stack((layer[0], places[layer]) for layer in removal.order if layer in places)

        translator = self.load_model(folder, ctx.device)
        for stack, layers in removed.items():
            if layers:
                drop_layers(translator, stack, layers)
        check_cache(translator)
        save(translator, out_dir)
        check_reload(translator, out_dir)
        left = family.layers(read_config(out_dir))
        return {
            **{f"{stack}_layers": left.get(stack, 0) for stack in ("decoder", "encoder")},
            "layers_removed": facts["layers_removed"],
            "encoder_layers_removed": facts["encoder_layers_removed"],
            "parameters": count_parameters(out_dir).parameters,
        }
