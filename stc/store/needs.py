"""Records what a run needs of a store, and which runs are at work in it, so that no run loses what it needs.

    <store>/.runs/.building/<number>.<n>/<token>/artifact/needs.json   what a run needs, under its lease

A run that deletes intermediate models (``store.keep=final``) asks for the needs of all others first. Leases tell which
of these are alive (:mod:`stc.store.leases`). What a run still needs follows from what the store has by then, so a run
says its needs again only when it has found out more of its identities.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from stc.errors import InputError, StcError
from stc.store import Store, identity_of
from stc.store.artifact import WEIGHTS, Kind
from stc.store.leases import Lease, Leases
from stc.store.location import mark_as_store
from stc.system.durable_files import write_atomically
from stc.system.read_files import read_json

_NEEDS_FILE = "needs.json"


class NeededResult(BaseModel):
    """A result on the way to the outputs of a run, with the identities of the inputs whose files its stage reads."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    inputs: tuple[str, ...]


class FactsOf(TypedDict):
    """An input that is identified by facts of a result that was not there when this was written."""

    after: str
    kind: str
    facts: Sequence[str]


class Needs(BaseModel):
    """The results that a run may need.

    Attributes:
        results: by identity. One that is not known yet has a name of its own, which no store has.
        outputs: the identities of what the run is to make.
        kept: the identities of what is to stay afterwards.
        provisional: the spec of each result with a provisional identity, after those of its inputs. An input known by
            facts is a :class:`FactsOf`.
    """

    model_config = ConfigDict(frozen=True)

    results: Mapping[str, NeededResult] = {}
    outputs: tuple[str, ...] = ()
    kept: frozenset[str] = frozenset()
    provisional: Mapping[str, Mapping[str, Any]] = {}

    def identified(self, store: Store) -> Self:
        """Return the same with the identities that follow from what a store has by now."""
        found: dict[str, str] = {}
        for name, spec in self.provisional.items():
            inputs = {key: self._identified_input(value, found, store) for key, value in spec["inputs"].items()}
            if None not in inputs.values():
                found[name] = identity_of({**spec, "inputs": inputs})

        def renamed(names: Iterable[str]) -> tuple[str, ...]:
            return tuple(found.get(name, name) for name in names)

        results = {
            found.get(name, name): one.model_copy(update={"inputs": renamed(one.inputs)})
            for name, one in self.results.items()
        }
        kept = frozenset(renamed(self.kept))
        return self.model_copy(update={"results": results, "outputs": renamed(self.outputs), "kept": kept})

    def _identified_input(self, value: Any, found: Mapping[str, str], store: Store) -> Any:
        """Return what identifies an input, or None if that is not known yet."""
        if isinstance(value, str):
            return found.get(value) if value in self.provisional else value
        if "after" not in value:
            return value
        if "facts" not in value:  # what comes from outside was not there
            return None
        facts = (store.record(Kind(value["kind"]), found.get(value["after"], value["after"])) or {}).get("facts", {})
        return {fact: facts[fact] for fact in value["facts"]} if facts.keys() >= set(value["facts"]) else None

    def still_needed(self, there: Iterable[str]) -> set[str]:
        """Return what must stay: what is kept, and what is read for outputs that are to be made.

        Args:
            there: the identities of the results whose files the store has.
        """
        there = set(there)
        needed = set(self.kept)
        to_make: set[str] = set()
        waiting = list(self.outputs)
        while waiting:
            one = waiting.pop()
            if one not in there and one not in to_make and one in self.results:
                to_make.add(one)
                needed.update(self.results[one].inputs)
                waiting.extend(self.results[one].inputs)
        return needed

    def finished(self) -> Self:
        """Return the needs once all outputs are made."""
        return self.model_copy(update={"outputs": ()})

    def in_store(self, store: Store) -> set[str]:
        """Return which of the results have their files in a store."""
        return {one for one, found in self.results.items() if os.path.lexists(store.path(found.kind, one))}


def joined(several: Sequence[Needs]) -> Needs:
    """Return the needs of several runs as one."""
    return Needs(
        results={identity: result for needs in several for identity, result in needs.results.items()},
        outputs=tuple(output for needs in several for output in needs.outputs),
        kept=frozenset().union(*(needs.kept for needs in several)),
        provisional={name: spec for needs in several for name, spec in needs.provisional.items()},
    )


class LiveRun:
    """A run that is at work in a store. ``lease`` is None if the store cannot be written to."""

    def __init__(self, store: Store, leases: Leases, number: str, lease: Lease | None) -> None:
        self._store = store
        self._leases = leases
        self._number = number
        self._lease = lease
        self._told: Needs | None = None

    def tell(self, needs: Needs) -> None:
        """Say what the run needs. To be called before it looks into the store for any of that."""
        if needs != self._told and self._lease is not None:
            self._told = needs
            with suppress(OSError):  # as of a full disk, on which nothing is made that could be dropped
                self._lease.artifact.mkdir(parents=True, exist_ok=True)
                write_atomically(self._lease.artifact / _NEEDS_FILE, needs.model_dump_json())

    def drop(self, needs: Needs) -> Iterator[str]:
        """Evict the intermediate weights that neither this run nor another one at work still needs. Yield their
        identities.

        Intermediate is what was made to be dropped, which its record says. Everything else stays.
        """
        needs = needs.identified(self._store)
        there = needs.in_store(self._store)
        weights = {one for one in there if needs.results[one].kind in WEIGHTS}
        unneeded = {
            one
            for one in weights - needs.still_needed(there)
            if (self._store.record(needs.results[one].kind, one) or {}).get("intermediate")
        }
        if unneeded and self._lease is not None:
            try:
                unneeded -= self._needed_by_others()
            except InputError:  # nobody knows what another run needs
                return
            for identity in sorted(unneeded):
                with suppress(StcError):  # another process works on it, or its folder has what stc did not write
                    self._store.evict(needs.results[identity].kind, identity)
                    yield identity

    def _needed_by_others(self) -> set[str]:
        needed: set[str] = set()
        for number, holder in self._leases.alive_holders().items():
            if number != self._number and holder.token is not None:
                with suppress(FileNotFoundError):  # it has just begun, or ended
                    needs = read_json(self._leases.artifact_folder(number, holder) / _NEEDS_FILE, Needs)
                    needs = needs.identified(self._store)
                    needed |= needs.still_needed(needs.in_store(self._store))
        return needed


def runs_at_work(store: Store) -> list[str]:
    """Return the processes of the runs that are at work in a store, as ``host:pid``."""
    return sorted({holder.who for holder in _leases(store).alive_holders().values()})


def _leases(store: Store) -> Leases:
    return Leases(store.root / ".runs")


@contextmanager
def live_run(store: Store) -> Iterator[LiveRun]:
    """Be a run that works in a store, as long as the block lasts."""
    leases = _leases(store)
    number = secrets.token_hex(10)
    try:
        mark_as_store(store.root)
        lease = leases.claim(number)
    except OSError:
        yield LiveRun(store, leases, number, None)
        return
    leases.remove_dead_leases()
    with lease:
        yield LiveRun(store, leases, number, lease)
