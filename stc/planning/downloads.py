"""What the jobs of a command read of the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from stc.models.hub import HubModel
from stc.system.hub_files import HubFiles

if TYPE_CHECKING:
    from stc.config.plan import Plan


def needed_of_hub(plans: Iterable[Plan]) -> list[HubFiles]:
    """Return the files of models, data and metrics, each once.

    Raises:
        HubUnreachable: the hub has to be asked for that, and does not answer.
        InputError: something cannot be had, or not be read without network.
    """
    found = {(one.id, one.repo_type, one.revision, one.detail): one for one in _needed(plans)}
    return list(found.values())


def _needed(plans: Iterable[Plan]) -> Iterator[HubFiles]:
    for plan in plans:
        for node in map(plan.pipeline.nodes.__getitem__, plan.pipeline.required_nodes()):
            if isinstance(node.source, HubModel):
                yield node.source.files
            elif node.stage is not None:
                yield from node.stage.downloads()
