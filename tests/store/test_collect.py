"""Making room in a store loses no result, and disturbs nobody who is at work in it."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from filled_store import ids, put, ran
from processes import at_once, await_note, note, send, until, working

from stc.errors import InputError, StcError
from stc.store import MadeElsewhere, Store
from stc.store.artifact import RECORD_FILE, Kind
from stc.store.garbage_collection import DAY, STALE_DAYS, plan_collection
from stc.store.inventory import Inventory
from stc.store.needs import live_run

BEGUN = "ab" * 10


def evicted(store: Store, *keep: str, limit: int | None = None) -> list[str]:
    return [entry.name for entry, _ in plan_collection(Inventory(store), keep, limit).evictions]


def test_what_is_missed_least_goes_first_and_scores_and_rankings_never(store: Store) -> None:
    assert evicted(store, limit=0) == ["logits", "cut", "teacher", "packed", "train"]


def test_no_more_goes_than_is_needed(store: Store) -> None:
    total = plan_collection(Inventory(store), [], None).before
    assert evicted(store, limit=total) == []
    assert evicted(store, limit=total - 600) == ["logits"]
    assert evicted(store, limit=total - 3000) == ["logits", "cut"]


def test_what_is_kept_stays_by_kind_identity_and_run(store: Store, tmp_path: Path) -> None:
    known = ids(store)
    run = tmp_path / "outputs" / "seed1"
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps({"systems": [], "stages": [{"name": "cut", "identity": known["cut"]}]}))
    assert evicted(store, "model", "manifest") == ["logits"]
    assert evicted(store, str(tmp_path / "outputs"), known["teacher"][:8]) == ["logits", "packed", "train"]


@pytest.mark.parametrize("item", ["modle", "/tmp"])
def test_thing_to_keep_that_is_nothing_is_refused(item: str, store: Store, tmp_path: Path) -> None:
    given = str(tmp_path) if item == "/tmp" else item
    with pytest.raises(InputError, match="did you mean 'model'" if item == "modle" else "there is no result.json"):
        evicted(store, given)


@pytest.mark.parametrize("text", ["[]", '{"systems": [], "stages": [1]}', '{"stages": 3}', "{"])
def test_damaged_result_of_a_run_to_keep_is_named(text: str, store: Store, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(InputError, match=r"result\.json"):
        evicted(store, str(tmp_path))


def test_collecting_without_a_limit_or_anything_to_keep_takes_left_overs_only(store: Store) -> None:
    identity = ids(store)["cut"]
    parked(store, identity, days=0)
    (store.root / ".damaged" / f"{identity}.1").mkdir(parents=True)
    found = plan_collection(Inventory(store), [], None)
    assert [leftover.what for leftover in found.leftovers] == ["damaged", "scratch of a finished result"]
    assert found.evictions == []
    assert ran(store, "gc") == 0
    assert [list((store.root / name).iterdir()) for name in (".scratch", ".damaged")] == [[], []]
    assert len(Inventory(store).entries) == 7


def test_dry_run_changes_nothing_and_says_what_would_go(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(store.root.rglob("*"))
    assert ran(store, "gc", "--max-size", "5kB", "--dry-run") == 0
    said = capsys.readouterr().out
    assert re.search(r"^evict logits .* logits +700 B|^evict logits", said, flags=re.MULTILINE)
    assert "it would take" in said
    assert sorted(store.root.rglob("*")) == before


def test_evicted_result_is_remembered_and_missing_until_it_is_made_again(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = ids(store)["teacher"]
    assert ran(store, "gc", "--keep", "manifest", "logits") == 0
    assert store.inspect(Kind.MODEL, identity)[1].startswith("evicted on ")
    record = store.record(Kind.MODEL, identity)
    assert record is not None
    assert (record["name"], record["seconds"]) == ("teacher", 50)
    assert store.inspect(Kind.SCORES, ids(store)["scores"])[0] is not None
    capsys.readouterr()
    ran(store, "ls")
    assert sum("evicted" in line for line in capsys.readouterr().out.splitlines()) == 3
    put(store, Kind.MODEL, "teacher", {"train": ids(store)["train"]}, 4000)
    assert store.inspect(Kind.MODEL, identity)[0] is not None
    assert [entry.evicted for entry in Inventory(store).entries if entry.name == "teacher"] == [""]


def test_limit_that_cannot_be_kept_to_is_told_with_code_1(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(store, "gc", "--max-size", "1B") == 1
    assert "nothing else" in capsys.readouterr().err


@contextmanager
def making(store: Store, tmp_path: Path) -> Iterator[Any]:
    """A process that makes a model, has some of it and a checkpoint in its scratch, and goes on for ever."""
    log = tmp_path / "log"

    def work() -> None:
        with store.publish(Kind.MODEL, BEGUN) as (folder, _):
            (folder / "weights").write_bytes(bytes(5000))
            checkpoints = store.scratch(BEGUN) / "checkpoints"
            checkpoints.mkdir()
            (checkpoints / "7").write_bytes(bytes(300))
            note(log, "making")
            until(lambda: False, "the end")

    with working(work) as (process,):
        await_note(log, "making")
        yield process


def test_nothing_is_evicted_while_a_run_is_at_work_and_what_it_makes_is_left_alone(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with making(store, tmp_path) as process:
        before = sorted((store.root / ".building").rglob("*"))
        assert ran(store, "gc", "--max-size", "1B") == 1
        assert f":{process.pid} makes {BEGUN[:8]})" in capsys.readouterr().err
        assert ran(store, "gc") == 0
        assert sorted((store.root / ".building").rglob("*")) == before
    assert not any(entry.evicted for entry in Inventory(store).entries)


def test_what_a_killed_process_was_writing_goes_and_its_checkpoints_stay_for_a_week(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with making(store, tmp_path) as process:
        send(process, signal.SIGKILL)
        process.join()
    found = plan_collection(Inventory(store), [], None)
    assert [one.what for one in found.leftovers] == ["left by a process that was killed"]
    assert found.leftovers[0].bytes >= 5000
    assert [(one.name, one.bytes) for one in found.staying] == [(BEGUN, 300)]
    assert found.before - found.after == found.leftovers[0].bytes
    assert ran(store, "gc") == 0
    assert "stays: scratch changed 0 h ago" in capsys.readouterr().out
    assert not list((store.root / ".building").iterdir())
    kept = store.root / ".scratch" / BEGUN
    assert (kept / "checkpoints" / "7").stat().st_size == 300
    parked(store, BEGUN, days=STALE_DAYS + 1)
    assert ran(store, "gc") == 0
    assert not kept.exists()


def parked(store: Store, identity: str, days: float) -> None:
    """Scratch that nobody has gone on with for so long."""
    folder = store.root / ".scratch" / identity
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "step").write_text("7")
    for one in (*folder.rglob("*"), folder):
        os.utime(one, (time.time() - days * DAY,) * 2)


def test_nothing_is_evicted_while_a_run_is_between_two_results(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_run(store):
        assert ran(store, "gc", "--max-size", "1KB") == 1
    assert "a run works in" in capsys.readouterr().err
    assert evicted(store, limit=0) == ["logits", "cut", "teacher", "packed", "train"]
    ran(store, "gc", "--max-size", "1KB")
    assert evicted(store, limit=0) == []


def test_checkpoints_that_stay_count_towards_the_size(store: Store) -> None:
    total = plan_collection(Inventory(store), [], None).before
    parked(store, BEGUN, days=1)
    (store.root / ".scratch" / BEGUN / "weights").write_bytes(bytes(600))
    assert evicted(store, limit=total) == ["logits"]


def test_holder_of_a_lease_elsewhere_is_watched_until_it_is_known_to_be_dead(store: Store, tmp_path: Path) -> None:
    lease = store.root / ".building" / f"{BEGUN}.1" / "lease.json"
    lease.parent.mkdir(parents=True)
    machine = ["node7", "b", "pid:[1]"]
    lease.write_text(json.dumps({"token": "a", "host": "node7", "pid": 1, "started": "1", "machine": machine}))
    watcher = Store(store.root, lease_seconds=0.6)
    assert watcher.active_holders() == {}
    assert [one.name for one in plan_collection(Inventory(watcher), [], None).leftovers] == [BEGUN]

    def beat() -> None:
        for step in range(100):
            os.utime(lease, (step, step))
            time.sleep(0.1)

    with working(beat):
        assert list(Store(store.root, lease_seconds=0.6).active_holders()) == [BEGUN]


def test_result_that_another_process_is_at_is_passed_over(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = ids(store)["cut"]
    evict = Store.evict

    def late(self: Store, kind: Kind, identity: str) -> None:
        if identity == taken:
            raise MadeElsewhere(f"{identity} is made by node7:1")
        evict(self, kind, identity)

    monkeypatch.setattr(Store, "evict", late)
    assert ran(store, "gc", "--max-size", "3500B") == 1
    assert f"stays: {taken} is made by node7:1" in capsys.readouterr().out
    assert store.inspect(Kind.MODEL, taken)[0] is not None


def test_of_many_that_evict_at_once_one_does_and_no_file_is_left(store: Store) -> None:
    identity = ids(store)["teacher"]

    def attempt() -> None:
        with suppress(StcError):  # Elsewhere, or gone by now
            Store(store.root).evict(Kind.MODEL, identity)

    at_once(4, attempt)
    assert Store(store.root).inspect(Kind.MODEL, identity)[1].startswith("evicted on ")
    assert not list((store.root / ".going").iterdir()) + list((store.root / ".building").iterdir())


def test_file_with_a_name_elsewhere_frees_nothing(store: Store, tmp_path: Path) -> None:
    os.link(store.path(Kind.LOGITS, ids(store)["logits"]) / "file", tmp_path / "elsewhere")
    found = plan_collection(Inventory(store), [], 0)
    freed = next(freed for entry, freed in found.evictions if entry.name == "logits")
    assert freed == (store.path(Kind.LOGITS, ids(store)["logits"]) / RECORD_FILE).stat().st_size


def test_result_with_somebody_s_file_in_its_folder_is_not_evicted(store: Store) -> None:
    folder = store.path(Kind.MODEL, ids(store)["cut"])
    (folder / "model.gguf").write_text("somebody's")
    assert evicted(store, limit=0) == ["logits", "teacher", "packed", "train"]
    with pytest.raises(StcError, match=r"model\.gguf"):
        store.evict(Kind.MODEL, folder.name)
    assert (folder / "model.gguf").exists()


def test_damaged_record_is_listed_and_is_not_evicted(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    folder = store.path(Kind.LOGITS, ids(store)["logits"])
    (folder / RECORD_FILE).write_text("{}")
    assert "logits" not in evicted(store, limit=0)
    ran(store, "ls")
    assert "damaged" in capsys.readouterr().out
    with pytest.raises(StcError, match="cannot be evicted"):
        store.evict(Kind.LOGITS, folder.name)
