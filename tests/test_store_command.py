"""``python -m stc.store``: what is there, where it comes from, and that making room loses no result."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stc.errors import InputError, StcError
from stc.overrides import ROOT
from stc.stage import RECORD_FILE, Kind
from stc.store import Store, identity_of
from stc.store.__main__ import _parser, _size, main
from stc.store.collect import at_work, collect, in_use
from stc.store.inventory import Inventory

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
    (store.root / ".scratch" / identity).mkdir(parents=True)
    old = time.time() - 7200
    os.utime(store.root / ".scratch" / identity, (old, old))
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


def test_nothing_goes_while_a_run_is_at_work(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    building = store.root / ".building" / f"{'ab' * 10}.{os.getpid()}"
    building.mkdir(parents=True)
    assert at_work(store) == ["ab" * 10]
    assert ran(store, "gc", "--max-size", "1B") == 1
    assert "a run is at work" in capsys.readouterr().err
    assert building.exists()
    assert not any(entry.evicted for entry in Inventory(store).entries)


def test_what_a_killed_process_left_is_in_use_for_an_hour_only(store: Store) -> None:
    left = store.root / ".building" / f"{'cd' * 10}.{2**22 + 1}"  # no process has such a number
    left.mkdir(parents=True)
    assert in_use(store, "cd" * 10)
    old = time.time() - 3601
    os.utime(left, (old, old))
    assert not in_use(store, "cd" * 10)
    assert [one.what for one in collect(Inventory(store), [], None).leftovers] == ["left by a process that was killed"]


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
