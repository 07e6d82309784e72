"""Decides what a run keeps in a store, and what it drops there as soon as nothing needs it.

With ``store.keep=final``, the weights on the way to the final models (``Pipeline.final_nodes``) are intermediate: their
files are deleted as soon as neither this run nor another one at work needs them. Their records stay, so that a later
run neither makes nor misses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Literal

from stc.pipeline.graph import Pipeline
from stc.store import Store
from stc.store.artifact import WEIGHTS, Kind
from stc.store.needs import LiveRun, NeededResult, Needs, live_run

Keep = Literal["all", "final"]
"""The weights that stay in the store: all, or those of the final models."""


def needs_of(
    pipeline: Pipeline,
    identities: Mapping[str, str],
    keep: Keep,
    provisional: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> Needs:
    """Return what a run of a pipeline needs of a store.

    Args:
        identities: by the name of the node, as far as they are known.
        provisional: as in :class:`stc.store.needs.Needs`.
    """
    made = {name: node for name in pipeline.required_nodes() if (node := pipeline.nodes[name]).source is None}

    def identity(name: str) -> str:
        return identities.get(name, f"not known yet: {name}")

    def read_by(name: str) -> tuple[str, ...]:
        node = made[name]
        return tuple(identity(target) for key, target in node.upstream() if node.input(key).read and target in made)

    kept = pipeline.final_nodes() if keep == "final" else made.keys()
    return Needs(
        results={identity(name): NeededResult(kind=made[name].kind, inputs=read_by(name)) for name in made},
        outputs=tuple(identity(name) for name in pipeline.outputs if name in made),
        kept=frozenset(identity(name) for name in kept if name in made),
        provisional=provisional,
    )


class Keeper:
    """The results that one run needs and keeps. Other runs are told of them while it is :meth:`at_work`.

    Args:
        identities: gives those that are known by now, by the name of the node.
        announce: called with a line for each result that is dropped.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        store: Store,
        keep: Keep,
        identities: Callable[[], Mapping[str, str]],
        announce: Callable[[str], None],
    ) -> None:
        self._pipeline = pipeline
        self._store = store
        self._keep: Keep = keep
        self._identities = identities
        self._announce = announce
        self._live: LiveRun | None = None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        try:
            with live_run(self._store) as self._live:
                yield
        finally:
            self._live = None

    def tell_needs(self) -> None:
        """Tell other runs what this one needs. To be called before it looks for a result in the store."""
        if self._live is not None:
            self._live.tell(self._needs())

    def drop_unneeded(self) -> None:
        """Drop the intermediate results that no run needs any more."""
        if self._keep == "final" and self._live is not None:
            names = {identity: name for name, identity in self._identities().items()}
            for identity in self._live.drop(self._needs()):
                self._announce(f"{names[identity]}: dropped, nothing more needs it")

    def is_intermediate(self, kind: Kind, identity: str) -> bool:
        """Return whether a result that this run makes may be dropped later."""
        return kind in WEIGHTS and identity not in self._needs().kept

    def _needs(self) -> Needs:
        return needs_of(self._pipeline, self._identities(), self._keep)
