"""Several processes and one store: whoever dies, stops or comes late, an artifact is made by one and published once."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filled_store import spec_of
from processes import at_once, await_note, ended, note, noted, send, until, working

from stc.store import MadeElsewhere, Store, files, identity_of, leases
from stc.store.artifact import RECORD_FILE, Kind
from stc.store.lease_holder import this_process
from stc.store.outside_folders import artifact_of_folder

SPEC = spec_of("toy")
IDENTITY = identity_of(SPEC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", lease_seconds=0.5)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def publish(store: Store, text: str = "weights", meanwhile: Callable[[], None] = lambda: None) -> Path:
    with store.publish(Kind.MODEL, IDENTITY) as (folder, record):
        (folder / "weights.bin").write_text(text)
        meanwhile()
        record.update(facts={}, spec=SPEC)
    return store.path(Kind.MODEL, IDENTITY)


def publish_when_free(store: Store, text: str) -> Path:
    while True:
        try:
            return publish(store, text)
        except MadeElsewhere:
            time.sleep(0.02)


def files_in(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def hold(store: Store, log: Path) -> None:
    """Hold the lease until killed, or until taken over from and woken."""

    def wait() -> None:
        (store.scratch(IDENTITY) / "step").write_text("7")
        note(log, "holding")
        until(lambda: "go" in noted(log), "go")

    try:
        publish(store, "of the first", wait)
        note(log, "published")
    except MadeElsewhere:
        note(log, "elsewhere")


def test_of_many_that_claim_at_once_one_makes_the_artifact(store: Store, log: Path) -> None:
    def attempt() -> None:
        try:
            publish(store, meanwhile=lambda: note(log, "made"))
        except MadeElsewhere:
            note(log, "elsewhere")

    at_once(8, attempt)
    assert sorted(noted(log)) == ["elsewhere"] * 7 + ["made"]


def test_of_many_that_find_a_dead_holder_one_takes_over_with_its_scratch(store: Store, log: Path) -> None:
    with working(lambda: hold(store, log)) as (holder,):
        await_note(log, "holding")
        send(holder, signal.SIGKILL)
        holder.join()

    def attempt() -> None:
        try:
            publish(store, meanwhile=lambda: note(log, (store.scratch(IDENTITY) / "step").read_text()))
        except MadeElsewhere:
            note(log, "elsewhere")

    at_once(8, attempt)
    assert sorted(noted(log)) == ["7"] + ["elsewhere"] * 7 + ["holding"]
    assert not files_in(store.root / ".building")


def test_killed_holder_on_this_machine_is_dead_at_once(tmp_path: Path, log: Path) -> None:
    store = Store(tmp_path / "store")  # with the time that others would be waited for
    with working(lambda: hold(store, log)) as (holder,):
        await_note(log, "holding")
        alive = store.holder(IDENTITY)
        send(holder, signal.SIGKILL)
        until(lambda: not getattr(store.holder(IDENTITY), "alive", True), "death, be it not reaped")
    assert alive is not None
    assert (alive.alive, alive.who.endswith(f":{holder.pid}")) == (True, True)


def test_holder_that_was_stopped_and_wakes_up_publishes_nothing(store: Store, log: Path) -> None:
    with working(lambda: hold(store, log)) as (holder,):
        await_note(log, "holding")
        send(holder, signal.SIGSTOP)
        made = publish_when_free(store, "of the second")
        note(log, "go")
        send(holder, signal.SIGCONT)
        ended(holder)
    assert noted(log)[-1] == "elsewhere"
    assert (made / "weights.bin").read_text() == "of the second"
    assert not files_in(store.root / ".building") + files_in(store.root / ".scratch")


def test_fence_holds_where_the_check_before_publication_came_too_early(
    store: Store, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped_after_the_check() -> None:
        monkeypatch.setattr(Store, "_place", lambda store, lease, target: lease.artifact.rename(target))
        hold(store, log)

    with working(stopped_after_the_check) as (holder,):
        await_note(log, "holding")
        send(holder, signal.SIGSTOP)
        made = publish_when_free(store, "of the second")
        made.rename(made.with_name("elsewhere"))  # so that nothing is in its way but the fence
        note(log, "go")
        send(holder, signal.SIGCONT)
        ended(holder)
    assert (noted(log)[-1], made.exists()) == ("elsewhere", False)


def test_folder_that_a_fenced_holder_makes_again_is_not_published(store: Store, log: Path) -> None:
    def make_again() -> None:
        (building,) = (store.root / ".building").glob("*/*/artifact")
        note(log, "holding")
        until(lambda: "go" in noted(log), "go")
        building.mkdir(parents=True)
        (building / "second_half.bin").write_text("weights")

    def stubborn() -> None:
        with pytest.raises(MadeElsewhere, match="taken over"):
            publish(store, meanwhile=make_again)

    with working(stubborn) as (holder,):
        await_note(log, "holding")
        send(holder, signal.SIGSTOP)
        made = publish_when_free(store, "of the second")
        made.rename(made.with_name("elsewhere"))
        note(log, "go")
        send(holder, signal.SIGCONT)
        ended(holder)
    assert not made.exists()
    publish(store)  # and what is left of it is in nobody's way
    assert not files_in(store.root / ".building")


def test_what_is_left_of_one_that_was_killed_when_it_had_published_goes_with_the_next_look(
    store: Store, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed_at_the_end() -> None:
        monkeypatch.setattr(leases.Lease, "drop", lambda lease: os.kill(os.getpid(), signal.SIGKILL))
        note(log, "go")
        hold(store, log)

    with working(killed_at_the_end) as (holder,):
        holder.join()
    assert files_in(store.root / ".building")
    assert store.get(Kind.MODEL, IDENTITY)[0] is not None
    assert not files_in(store.root / ".building") + files_in(store.root / ".scratch")


def test_artifact_that_is_there_already_is_not_replaced(store: Store) -> None:
    made = publish(store, "of the first")
    with pytest.raises(MadeElsewhere, match="has been made"):
        publish(store, "of the second")
    assert (made / "weights.bin").read_text() == "of the first"


def test_artifact_that_appears_meanwhile_is_not_replaced(store: Store) -> None:
    made = store.path(Kind.MODEL, IDENTITY)

    def appear() -> None:
        made.mkdir(parents=True)
        (made / "weights.bin").write_text("of another")

    with pytest.raises(MadeElsewhere, match="has been made"):
        publish(store, "mine", appear)
    assert (made / "weights.bin").read_text() == "of another"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_lease_of_a_making_that_fails_is_free_at_once(store: Store, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(error):
        publish(store, meanwhile=fail)
    assert store.holder(IDENTITY) is None
    publish(store)


def elsewhere(store: Store, token: str = "a") -> Path:
    """The lease of a process on another machine, as it stands in the store."""
    file = store.root / ".building" / f"{IDENTITY}.1" / "lease.json"
    file.parent.mkdir(parents=True)
    who = {"token": token, "host": "node7", "pid": os.getpid(), "started": "1", "machine": ["node7", "b", "pid:[1]"]}
    file.write_text(json.dumps(who))
    return file


def looks(store: Store, times: int) -> bool:
    """Whether the holder is alive after so many looks, each a second of the watcher's clock after the last."""
    for _ in range(times):
        found = store.holder(IDENTITY)
        assert found is not None
    return found.alive


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock that leases are watched by, and how far each look moves it."""
    step = [0.0, 1.0]

    def now() -> float:
        step[0] += step[1]
        return step[0]

    monkeypatch.setattr(leases.time, "monotonic", now)
    return step


def test_holder_on_another_machine_is_dead_once_its_heart_has_not_beaten_for_long(
    tmp_path: Path, clock: list[float]
) -> None:
    store = Store(tmp_path / "store", lease_seconds=10)
    elsewhere(store)
    assert (looks(store, 10), looks(store, 1)) == (True, False)


def test_holder_whose_heart_beats_is_alive_however_wrong_its_clock_is(tmp_path: Path, clock: list[float]) -> None:
    store = Store(tmp_path / "store", lease_seconds=10)
    file = elsewhere(store)
    for beat in range(10):
        os.utime(file, (beat, beat))  # in 1970
        assert looks(store, 9)


def test_time_in_which_nobody_looked_does_not_make_a_holder_dead(tmp_path: Path, clock: list[float]) -> None:
    store = Store(tmp_path / "store", lease_seconds=10)
    elsewhere(store)
    looks(store, 1)
    clock[1] = 1000.0  # watcher and holder were stopped together
    assert looks(store, 2)


def test_heart_beats_while_the_artifact_is_made(store: Store) -> None:
    watcher = Store(store.root, lease_seconds=0.5)

    def wait() -> None:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            assert getattr(watcher.holder(IDENTITY), "alive", False)
            time.sleep(0.05)

    publish(store, meanwhile=wait)


def test_process_id_that_was_given_out_again_is_not_the_holder(store: Store) -> None:
    file = elsewhere(store)
    who = json.loads(file.read_text()) | this_process()
    file.write_text(json.dumps(who))
    assert looks(store, 1)
    file.write_text(json.dumps(who | {"started": "1"}))
    assert not looks(store, 1)


@pytest.mark.parametrize(
    "torn",
    [
        "",
        '{"token": "a", "ho',
        "[]",
        '{"token": "a", "host": "h", "pid": -1, "started": null, "machine": null}',
        '{"token": 7, "host": "h", "pid": 1, "started": null, "machine": null}',
        '{"token": "a", "host": "h", "pid": 1, "started": null, "machine": "m"}',
    ],
)
def test_lease_that_cannot_be_read_is_in_nobody_s_way(store: Store, torn: str) -> None:
    elsewhere(store).write_text(torn)
    publish(store)
    assert not files_in(store.root / ".building")


def test_lease_that_is_not_the_one_seen_dead_is_left_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    file = elsewhere(store, "dead")
    dead = leases.LeaseHolder(1, "dead", "node7:1", False)
    file.write_text(file.read_text().replace("dead", "alive"))  # released, and claimed by another, in between
    first_look = iter([dead])
    look = leases.Leases.holder
    monkeypatch.setattr(leases.Leases, "holder", lambda self, identity: next(first_look, None) or look(self, identity))
    with pytest.raises(MadeElsewhere, match="node7"):
        publish(store)
    assert "alive" in file.read_text()


def damage(folder: Path) -> None:
    (folder / "weights.bin").write_text("something else, and longer")


def test_of_many_that_find_it_damaged_one_sets_it_aside_and_one_makes_it_anew(store: Store, log: Path) -> None:
    damage(publish(store))

    def mend() -> None:
        mine = Store(store.root)
        while mine.get(Kind.MODEL, IDENTITY)[0] is None:
            try:
                publish(mine, meanwhile=lambda: note(log, "made"))
            except MadeElsewhere:
                time.sleep(0.01)

    at_once(8, mend)
    assert noted(log) == ["made"]
    assert len(list((store.root / ".damaged").iterdir())) == 1


def test_artifact_made_anew_is_not_set_aside_by_a_reader_that_saw_the_damaged_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = publish(store)
    damage(made)
    claim = leases.Leases.claim

    def late(self: leases.Leases, identity: str) -> leases.Lease:
        with monkeypatch.context() as patched:
            patched.setattr(leases.Leases, "claim", claim)
            other = Store(store.root)
            assert other.get(Kind.MODEL, IDENTITY)[0] is None
            publish(other)
        return claim(self, identity)

    monkeypatch.setattr(leases.Leases, "claim", late)
    found, why = store.get(Kind.MODEL, IDENTITY)
    assert found is not None, why
    assert (found.path / RECORD_FILE).exists()


def test_checksums_that_another_process_knows_are_not_computed_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Store(store.root)
    publish(store)

    def refuse(path: Path) -> Any:
        raise AssertionError(f"{path} is read")

    monkeypatch.setattr(files, "file_sha256", refuse)
    assert reader.get(Kind.MODEL, IDENTITY)[0] is not None


def test_checksums_of_processes_that_write_at_once_are_whole_and_right(store: Store, tmp_path: Path, log: Path) -> None:
    def add() -> None:
        for number in range(5):
            folder = tmp_path / f"{os.getpid()}-{number}"
            folder.mkdir()
            (folder / "text").write_text(folder.name)
            artifact_of_folder(store, Kind.MODEL, folder)

    at_once(4, add)
    known = json.loads((store.root / "hashes.json").read_text())
    assert known
    assert {path: files.file_sha256(Path(path)) for path in known} == {path: entry[2] for path, entry in known.items()}


def test_generation_is_not_lowered_by_a_process_that_is_late(store: Store) -> None:
    store.set_generation(IDENTITY, 2)
    store.set_generation(IDENTITY, 1)
    assert store.generation(IDENTITY) == 2
