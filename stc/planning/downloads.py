"""The files that the jobs of a command read of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from stc.errors import InputError
from stc.models.hub import HubModel
from stc.system.hub_files import HubFiles

if TYPE_CHECKING:
    from stc.config.plan import Plan


def needed_of_hub(plans: Iterable[Plan]) -> tuple[list[HubFiles], list[InputError]]:
    """Return the files of models, data and metrics, and why others are not known; each once.

    The hub may have to be asked for what a pattern of the settings means.
    """
    found: dict[tuple[str | None, ...], HubFiles] = {}
    faults: dict[str, InputError] = {}
    for plan in plans:
        for node in map(plan.pipeline.nodes.__getitem__, plan.pipeline.required_nodes()):
            if isinstance(node.source, HubModel):
                files = [node.source.files]
            else:
                try:
                    files = [] if node.stage is None else list(node.stage.downloads())
                except InputError as error:
                    faults.setdefault(str(error), error)
                    continue
            found.update({(one.id, one.repo_type, one.revision, one.detail): one for one in files})
    return list(found.values()), list(faults.values())
