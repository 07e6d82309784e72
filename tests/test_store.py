"""Artifacts on disk: one spelling, whole or absent, never used once damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stored import spec_of

from stc.errors import InputError, StcError
from stc.stage import RECORD_FILE, Kind
from stc.store import Store, identity_of
from stc.store.place import MARKER
from stc.store.records import RECORD_SUM, canonical

SHIPPED = Path(__file__).parent.parent / "assets" / "base"
SPEC = spec_of("toy")
IDENTITY = identity_of(SPEC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def publish(store: Store, spec: dict[str, Any] = SPEC, text: str = "weights") -> Path:
    identity = identity_of(spec)
    with store.publish(Kind.MODEL, identity) as (folder, record):
        (folder / "inner").mkdir()
        (folder / "inner" / "weights.bin").write_text(text)
        (folder / "config.json").write_text("{}")
        record.update(facts={"layers": 4}, seconds=1.0, spec=spec)
    return store.path(Kind.MODEL, identity)


def flip(file: Path) -> None:
    """Another byte, the same size; the time of change moves on for certain, however coarse the clock."""
    content = bytearray(file.read_bytes())
    content[0] ^= 0xFF
    file.write_bytes(content)
    changed = file.stat().st_mtime_ns + 1_000_000_000
    os.utime(file, ns=(changed, changed))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def test_canonical_json_does_not_depend_on_key_order() -> None:
    assert canonical({"b": {"y": 1, "x": 2}, "a": (1, 2)}) == canonical({"a": [1, 2], "b": {"x": 2, "y": 1}})


def test_canonical_json_does_depend_on_list_order() -> None:
    assert canonical([1, 2]) != canonical([2, 1])


@pytest.mark.parametrize(
    "value", [Path("/a"), {1, 2}, float("nan"), float("inf"), object(), b"a", {1: "a"}], ids=lambda v: type(v).__name__
)
def test_canonical_json_refuses_what_has_no_stable_form(value: Any) -> None:
    with pytest.raises(TypeError, match="stable form"):
        canonical({"deep": [value]})


def test_published_artifact_is_found_with_its_files_and_facts(store: Store) -> None:
    publish(store)
    found, why = store.get(Kind.MODEL, IDENTITY)
    assert found
    assert ((found.path / "inner" / "weights.bin").read_text(), why) == ("weights", "")
    assert found.facts == {"layers": 4}


class SafetensorError(Exception):
    """By this name and text safetensors says that the disk is full."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_full_disk_is_told_with_what_to_do_and_what_was_finished_stays(store: Store, error: Exception) -> None:
    finished = publish(store)
    with (
        pytest.raises(StcError, match=r"no space left for a model in .*store\.dir"),
        store.publish(Kind.MODEL, "b" * 20),
    ):
        raise error
    assert store.get(Kind.MODEL, finished.name)[0] is not None
    assert not any((store.root / ".building").iterdir())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_artifact_whose_making_raises_is_absent(store: Store, error: type[BaseException]) -> None:
    def fail_half_way() -> None:
        with store.publish(Kind.MODEL, IDENTITY) as (folder, _):
            (folder / "weights.bin").write_text("half")
            raise error

    with pytest.raises(error):
        fail_half_way()
    assert store.get(Kind.MODEL, IDENTITY) == (None, "not in the store")
    assert [file.name for file in store.root.rglob("*") if file.is_file()] == [MARKER]


def test_scratch_survives_a_failed_making_and_goes_with_a_finished_one(store: Store) -> None:
    def fail_after_a_step() -> None:
        with store.publish(Kind.MODEL, IDENTITY):
            (store.scratch(IDENTITY) / "step").write_text("1")
            raise ValueError("crash")

    with pytest.raises(ValueError, match="crash"):
        fail_after_a_step()
    with store.publish(Kind.MODEL, IDENTITY) as (_, record):
        assert (store.scratch(IDENTITY) / "step").read_text() == "1"
        record.update(facts={}, spec=SPEC)
    assert not list(store.root.rglob("step"))


@pytest.mark.parametrize("reopened", [False, True], ids=["same store", "store opened anew"])
@pytest.mark.parametrize("damage", [flip, Path.unlink, truncate], ids=["flipped byte", "missing file", "truncated"])
def test_damaged_artifact_is_set_aside_and_the_file_named(
    store: Store, damage: Callable[[Path], None], reopened: bool
) -> None:
    folder = publish(store)
    damage(folder / "inner" / "weights.bin")
    found, why = (Store(store.root) if reopened else store).get(Kind.MODEL, IDENTITY)
    assert found is None
    assert "inner/weights.bin" in why
    assert not folder.exists()
    aside = Path(why.rpartition("set aside as ")[2])
    assert (aside / "config.json").exists()


@pytest.mark.parametrize("damage", [flip, Path.unlink, truncate], ids=["flipped byte", "missing file", "truncated"])
def test_artifact_without_a_readable_record_is_set_aside(store: Store, damage: Callable[[Path], None]) -> None:
    folder = publish(store)
    record = folder / RECORD_FILE
    record.write_text(record.read_text().rstrip())
    damage(record)
    found, why = store.get(Kind.MODEL, IDENTITY)
    assert found is None
    assert RECORD_FILE in why
    assert not folder.exists()


def edit(record: Path) -> None:
    """Another fact in a record that is JSON as before."""
    record.write_text(record.read_text().replace('"layers": 4', '"layers": 5'))


def test_artifact_whose_record_was_edited_is_set_aside_and_the_record_named(store: Store) -> None:
    folder = publish(store)
    edit(folder / RECORD_FILE)
    assert store.record(Kind.MODEL, IDENTITY) is None
    found, why = store.get(Kind.MODEL, IDENTITY)
    assert (found, why.partition(";")[0]) == (None, f"damaged: {RECORD_FILE} is not what was written (checksum)")
    assert not folder.exists()


@pytest.mark.parametrize("facts", [{"order": (3, 1)}, {2: "b", 10: "a"}, {"loss": float("nan")}, {"text": "ü\u2028"}])
def test_record_is_whole_whatever_its_facts_are(store: Store, facts: dict[Any, Any]) -> None:
    with store.publish(Kind.MODEL, IDENTITY) as (_, record):
        record.update(facts=facts, spec=SPEC)
    assert Store(store.root).get(Kind.MODEL, IDENTITY)[1] == ""


def test_record_without_a_checksum_of_its_own_is_none(store: Store) -> None:
    file = publish(store) / RECORD_FILE
    content = json.loads(file.read_text())
    del content[RECORD_SUM]
    file.write_text(json.dumps(content))
    found, why = store.get(Kind.MODEL, IDENTITY)
    assert found is None
    assert RECORD_SUM in why


def test_record_of_the_shipped_model_is_read(store: Store) -> None:
    assert store.external(Kind.MODEL, SHIPPED).facts == json.loads((SHIPPED / RECORD_FILE).read_text())["facts"]


def test_damaged_artifact_can_be_published_again(store: Store) -> None:
    flip(publish(store) / "config.json")
    assert store.get(Kind.MODEL, IDENTITY)[0] is None
    publish(store)
    assert store.get(Kind.MODEL, IDENTITY)[0] is not None


def outside(folder: Path, text: str = "weights") -> Path:
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "weights.bin").write_text(text)
    return folder


def test_external_folder_is_known_by_content_and_not_by_path(store: Store, tmp_path: Path) -> None:
    one, same = outside(tmp_path / "one"), outside(tmp_path / "elsewhere" / "two")
    other = outside(tmp_path / "three", "others")
    identities = [store.external(Kind.MODEL, folder).identity for folder in (one, same, other)]
    assert identities[0] == identities[1] != identities[2]


def test_external_folder_that_changes_changes_its_identity(store: Store, tmp_path: Path) -> None:
    folder = outside(tmp_path / "one")
    before = store.external(Kind.MODEL, folder).identity
    flip(folder / "inner" / "weights.bin")
    assert store.external(Kind.MODEL, folder).identity != before


def test_external_folder_that_is_missing_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        store.external(Kind.MODEL, tmp_path / "nowhere")


def test_external_folder_with_a_record_keeps_its_facts(store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(publish(store), copy)
    assert store.external(Kind.MODEL, copy).facts == {"layers": 4}


@pytest.mark.parametrize("damage", [flip, Path.unlink, truncate], ids=["flipped byte", "missing file", "truncated"])
def test_external_folder_that_differs_from_its_record_is_refused_by_name(
    store: Store, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(publish(store), copy)
    damage(copy / "inner" / "weights.bin")
    with pytest.raises(InputError, match=r"inner/weights\.bin"):
        store.external(Kind.MODEL, copy)


def test_external_folder_with_an_unreadable_record_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(publish(store), copy)
    flip(copy / RECORD_FILE)
    with pytest.raises(InputError, match=RECORD_FILE):
        store.external(Kind.MODEL, copy)


def test_external_folder_whose_record_was_edited_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(publish(store), copy)
    edit(copy / RECORD_FILE)
    with pytest.raises(InputError, match=rf"{RECORD_FILE} is not what was written \(checksum\)"):
        store.external(Kind.MODEL, copy)


def test_store_can_be_moved_and_its_artifacts_stay_what_they_are(store: Store, tmp_path: Path) -> None:
    record = (publish(store) / RECORD_FILE).read_text()
    assert str(tmp_path) not in record
    moved = Store(store.root.rename(tmp_path / "moved"))
    assert moved.get(Kind.MODEL, IDENTITY)[0] is not None


def test_missing_result_is_explained_by_the_field_that_differs(store: Store) -> None:
    publish(store)
    why = store.why_missing(Kind.MODEL, spec_of("toy", width=2))
    assert why == "differs from the nearest in config.width 7 → 2"


def test_damaged_record_explains_nothing(store: Store) -> None:
    (publish(store) / RECORD_FILE).write_text("{")
    edit(publish(store, spec_of("another")) / RECORD_FILE)
    assert store.why_missing(Kind.MODEL, spec_of("toy", width=2)) == "first of its kind"


def test_generation_is_zero_until_set_and_survives_reopening(store: Store) -> None:
    assert store.generation(IDENTITY) == 0
    store.set_generation(IDENTITY, 2)
    assert Store(store.root).generation(IDENTITY) == 2
