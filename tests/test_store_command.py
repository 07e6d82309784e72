"""``python -m stc.store``: what is there, where it comes from, and that making room loses no result."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from processes import at_once, await_note, note, send, until, working

from stc.errors import InputError, StcError
from stc.overrides import ROOT
from stc.stage import RECORD_FILE, Kind
from stc.store import Elsewhere, Store, identity_of
from stc.store.__main__ import _parser, _size, main
from stc.store.collect import DAY, STALE_DAYS, collect
from stc.store.inventory import Inventory
from stc.store.verify import fault

BEGUN = "ab" * 10
SIZES = {"teacher": 4000, "cut": 3000, "packed": 1000}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A data set, a teacher made of it in 50 s, a ranking, the pruned teacher, and the packed one with its scores."""
    store = Store(tmp_path / "store")
    train = put(store, Kind.MANIFEST, "train", {}, 500)
    teacher = put(store, Kind.MODEL, "teacher", {"train": train}, SIZES["teacher"], seconds=50)
    removed = {"layers_removed": [3]}
    put(store, Kind.RANKING, "search", {"model": teacher}, 10, facts=removed)
    cut = put(store, Kind.MODEL, "cut", {"model": teacher, "ranking": removed}, SIZES["cut"], facts=removed)
    packed = put(store, Kind.MODEL, "packed", {"model": cut}, SIZES["packed"])
    put(store, Kind.LOGITS, "logits", {"model": teacher}, 700)
    put(store, Kind.SCORES, "scores", {"model": packed, "data": train}, 20)
    return store


def put(
    store: Store,
    kind: Kind,
    name: str,
    inputs: Mapping[str, Any],
    size: int,
    *,
    seconds: float = 1.0,
    facts: Mapping[str, Any] | None = None,
) -> str:
    spec = {"stage": name, "version": 1, "config": {"width": 7}, "surroundings": {}, "inputs": dict(inputs)}
    identity = identity_of(spec)
    with store.publish(kind, identity) as (folder, record):
        (folder / "file").write_bytes(os.urandom(size))
        record.update(name=name, kind=kind.value, identity=identity, spec=spec, facts=dict(facts or {}), curves={},
                      seconds=seconds, versions={"stc": "1"}, commit=["abc", False],
                      command=["/x/stc/run.py", "++lang=de"])  # fmt: skip
    return identity


def ids(store: Store) -> dict[str, str]:
    return {entry.name: entry.identity for entry in Inventory(store).entries}


def ran(store: Store, *arguments: str) -> int:
    return main(["--store", str(store.root), *arguments])


def test_list_names_every_result_with_the_command_that_made_it(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(store, "ls") == 0
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["KIND", "ID", "NAME", "MADE", "SIZE", "BY"]
    assert [line.split()[2] for line in lines] == ["train", "teacher", "search", "cut", "packed", "logits", "scores"]
    assert all(line.endswith("python -m stc.run lang=de") for line in lines)
    assert last.startswith("7 results; ")


def test_list_is_of_one_kind_if_asked(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    ran(store, "ls", "--kind", "model")
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3 + 1


def test_result_is_shown_by_the_first_digits_of_its_identity(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    identity = ids(store)["teacher"]
    assert ran(store, "show", identity[:6]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"model {identity}\n")
    for part in ("made by   teacher version 1", "in 50 s", "width: 7", f"train: {ids(store)['train']}"):
        assert part in said


def test_unknown_identity_is_answered_without_a_traceback(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(store, "show", "zzz") == 1
    assert "zzz: nothing in" in capsys.readouterr().err


def test_origin_is_traced_through_facts_to_the_data_and_what_is_made_of_it_is_named(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    known = {name: identity[:8] for name, identity in ids(store).items()}
    ran(store, "why", known["cut"])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{known['cut']} model cut",
        "made of",
        f"  model: {known['teacher']} model teacher",
        f"    train: {known['train']} manifest train",
        f"  ranking: any with layers_removed [3]: {known['search']} ranking search",
        f"    model: {known['teacher']} model teacher, as above",
        "of it is made",
        f"  {known['packed']} model packed, as model",
    ]


def test_store_that_is_whole_is_verified(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(store, "verify") == 0
    assert "7 results are what was written, 0 damaged" in capsys.readouterr().out


def test_damage_that_left_size_and_time_alone_is_found_and_set_aside(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = ids(store)["cut"]
    file = store.path(Kind.MODEL, identity) / "file"
    before = file.stat()
    file.write_bytes(os.urandom(before.st_size))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ran(store, "verify") == 1
    assert "file is not what was written (checksum); set aside as" in capsys.readouterr().out
    assert Store(store.root).get(Kind.MODEL, identity) == (None, "not in the store")


def evicted(store: Store, *keep: str, limit: int | None = None) -> list[str]:
    return [one.entry.name for one in collect(Inventory(store), keep, limit).evictions]


def test_what_is_missed_least_goes_first_and_scores_and_rankings_never(store: Store) -> None:
    assert evicted(store, limit=0) == ["logits", "cut", "teacher", "packed", "train"]


def test_no_more_goes_than_is_needed(store: Store) -> None:
    total = collect(Inventory(store), [], None).before
    assert evicted(store, limit=total) == []
    assert evicted(store, limit=total - 600) == ["logits"]
    assert evicted(store, limit=total - 3000) == ["logits", "cut"]


def test_what_is_kept_stays_by_kind_identity_and_run(store: Store, tmp_path: Path) -> None:
    known = ids(store)
    run = tmp_path / "outputs" / "seed1"
    run.mkdir(parents=True)
    (run / "result.json").write_text(json.dumps({"stages": [{"identity": known["cut"]}]}))
    assert evicted(store, "model", "manifest") == ["logits"]
    assert evicted(store, str(tmp_path / "outputs"), known["teacher"][:8]) == ["logits", "packed", "train"]


@pytest.mark.parametrize("item", ["modle", "/tmp"])
def test_thing_to_keep_that_is_nothing_is_refused(item: str, store: Store, tmp_path: Path) -> None:
    given = str(tmp_path) if item == "/tmp" else item
    with pytest.raises(InputError, match="did you mean 'model'" if item == "modle" else "there is no result.json"):
        evicted(store, given)


def test_collecting_without_a_limit_or_anything_to_keep_takes_left_overs_only(store: Store) -> None:
    identity = ids(store)["cut"]
    parked(store, identity, days=0)
    (store.root / ".damaged" / "x.1").mkdir(parents=True)
    found = collect(Inventory(store), [], None)
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
    assert store.look(Kind.MODEL, identity)[1].startswith("evicted on ")
    record = store.record(Kind.MODEL, identity)
    assert record is not None
    assert (record["name"], record["seconds"]) == ("teacher", 50)
    assert store.look(Kind.SCORES, ids(store)["scores"])[0] is not None
    capsys.readouterr()
    ran(store, "ls")
    assert sum("evicted" in line for line in capsys.readouterr().out.splitlines()) == 3
    put(store, Kind.MODEL, "teacher", {"train": ids(store)["train"]}, 4000)
    assert store.look(Kind.MODEL, identity)[0] is not None
    assert [entry.evicted for entry in Inventory(store).entries if entry.name == "teacher"] == [""]


def test_limit_that_cannot_be_kept_to_is_told_with_code_1(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(store, "gc", "--max-size", "1B") == 1
    assert "cannot be kept to" in capsys.readouterr().err


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
        assert f":{process.pid} makes {BEGUN[:8]}), and may be using" in capsys.readouterr().err
        assert ran(store, "gc") == 0
        assert sorted((store.root / ".building").rglob("*")) == before
    assert not any(entry.evicted for entry in Inventory(store).entries)


def test_what_a_killed_process_was_writing_goes_and_its_checkpoints_stay_for_a_week(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with making(store, tmp_path) as process:
        send(process, signal.SIGKILL)
        process.join()
    found = collect(Inventory(store), [], None)
    assert [one.what for one in found.leftovers] == ["left by a process that was killed"]
    assert found.leftovers[0].bytes >= 5000
    assert [(one.name, one.bytes) for one in found.staying] == [(BEGUN, 300)]
    assert found.before - found.after == found.leftovers[0].bytes
    assert ran(store, "gc") == 0
    assert "stays: scratch written to 0 h ago" in capsys.readouterr().out
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


def test_checkpoints_that_stay_count_towards_the_size(store: Store) -> None:
    total = collect(Inventory(store), [], None).before
    parked(store, BEGUN, days=1)
    (store.root / ".scratch" / BEGUN / "weights").write_bytes(bytes(600))
    assert evicted(store, limit=total) == ["logits"]


def test_holder_of_a_lease_elsewhere_is_watched_until_it_is_known_to_be_dead(store: Store, tmp_path: Path) -> None:
    lease = store.root / ".building" / f"{BEGUN}.1" / "lease.json"
    lease.parent.mkdir(parents=True)
    machine = ["node7", "b", "pid:[1]"]
    lease.write_text(json.dumps({"token": "a", "host": "node7", "pid": 1, "started": "1", "machine": machine}))
    watcher = Store(store.root, lease_seconds=0.6)
    assert watcher.makers() == {}
    assert [one.name for one in collect(Inventory(watcher), [], None).leftovers] == [BEGUN]

    def beat() -> None:
        for step in range(100):
            os.utime(lease, (step, step))
            time.sleep(0.1)

    with working(beat):
        assert list(Store(store.root, lease_seconds=0.6).makers()) == [BEGUN]


def test_result_that_another_process_is_at_is_passed_over(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = ids(store)["cut"]
    evict = Store.evict

    def late(self: Store, kind: Kind, identity: str) -> None:
        if identity == taken:
            raise Elsewhere(f"{identity} is made by node7:1")
        evict(self, kind, identity)

    monkeypatch.setattr(Store, "evict", late)
    assert ran(store, "gc", "--max-size", "3500B") == 1
    assert f"stays: {taken} is made by node7:1" in capsys.readouterr().out
    assert store.look(Kind.MODEL, taken)[0] is not None


def test_of_many_that_evict_at_once_one_does_and_no_file_is_left(store: Store) -> None:
    identity = ids(store)["teacher"]

    def attempt() -> None:
        with suppress(StcError):  # Elsewhere, or gone by now
            Store(store.root).evict(Kind.MODEL, identity)

    at_once(4, attempt)
    assert Store(store.root).look(Kind.MODEL, identity)[1].startswith("evicted on ")
    assert not list((store.root / ".going").iterdir()) + list((store.root / ".building").iterdir())


def test_damage_that_was_mended_since_it_was_read_is_not_set_aside(store: Store) -> None:
    identity = ids(store)["cut"]
    assert store.set_aside(Kind.MODEL, identity, fault) is None
    assert store.look(Kind.MODEL, identity)[0] is not None


def test_file_with_a_name_elsewhere_frees_nothing(store: Store, tmp_path: Path) -> None:
    os.link(store.path(Kind.LOGITS, ids(store)["logits"]) / "file", tmp_path / "elsewhere")
    found = collect(Inventory(store), [], 0)
    logits = next(one for one in found.evictions if one.entry.name == "logits")
    assert logits.bytes == (store.path(Kind.LOGITS, ids(store)["logits"]) / RECORD_FILE).stat().st_size


def test_damaged_record_is_listed_and_is_not_evicted(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    folder = store.path(Kind.LOGITS, ids(store)["logits"])
    (folder / RECORD_FILE).write_text("{}")
    assert "logits" not in evicted(store, limit=0)
    ran(store, "ls")
    assert "damaged" in capsys.readouterr().out
    with pytest.raises(StcError, match="cannot be evicted"):
        store.evict(Kind.LOGITS, folder.name)


def test_store_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", str(tmp_path / "none"), "ls"]) == 1
    assert "--store FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "size"), [("20GB", 20 * 10**9), ("1.5 MB", 1_500_000), ("2GiB", 2**31), ("7", 7)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert _size(text) == size


def test_moved_store_is_read_all_the_same(store: Store, tmp_path: Path) -> None:
    shutil.copytree(store.root, tmp_path / "copy")
    assert len(Inventory(Store(tmp_path / "copy")).entries) == 7


def test_listing_comes_without_the_heavy_libraries(store: Store) -> None:
    code = (
        f"import sys; sys.argv = ['x', '--store', {str(store.root)!r}, 'ls']\n"
        "from stc.store.__main__ import main\n"
        "assert main() == 0\n"
        "assert not {'torch', 'transformers', 'mlflow', 'sacrebleu'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_documented_commands_are_taken() -> None:
    lines = (ROOT / "docs" / "store.md").read_text(encoding="utf-8").splitlines()
    commands = [
        shlex.split(line.removeprefix("python -m stc.store "))
        for line in lines
        if line.startswith("python -m stc.store ")
    ]
    assert {arguments[0] for arguments in commands} == {"ls", "show", "why", "verify", "gc"}
    for arguments in commands:
        _parser().parse_args(arguments)
