"""Artifacts on disk: one spelling, whole or absent, never used once damaged."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filled_store import spec_of

from stc.errors import InputError, StcError
from stc.store import Store, identity_of
from stc.store.artifact import RECORD_FILE, Kind
from stc.store.difference import explain_missing
from stc.store.identity import canonical_json
from stc.store.location import MARKER
from stc.store.outside_folders import artifact_of_folder
from stc.store.records import RECORD_SUM, serialize_record

SHIPPED = Path(__file__).parents[2] / "assets" / "base"
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
    assert canonical_json({"b": {"y": 1, "x": 2}, "a": (1, 2)}) == canonical_json({"a": [1, 2], "b": {"x": 2, "y": 1}})


def test_canonical_json_does_depend_on_list_order() -> None:
    assert canonical_json([1, 2]) != canonical_json([2, 1])


@pytest.mark.parametrize(
    "value", [Path("/a"), {1, 2}, float("nan"), float("inf"), object(), b"a", {1: "a"}], ids=lambda v: type(v).__name__
)
def test_canonical_json_refuses_what_has_no_stable_form(value: Any) -> None:
    with pytest.raises(TypeError, match="stable form"):
        canonical_json({"deep": [value]})


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
    assert (
        artifact_of_folder(store, Kind.MODEL, SHIPPED).facts == json.loads((SHIPPED / RECORD_FILE).read_text())["facts"]
    )


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
    identities = [artifact_of_folder(store, Kind.MODEL, folder).identity for folder in (one, same, other)]
    assert identities[0] == identities[1] != identities[2]


def test_external_folder_that_changes_changes_its_identity(store: Store, tmp_path: Path) -> None:
    folder = outside(tmp_path / "one")
    before = artifact_of_folder(store, Kind.MODEL, folder).identity
    flip(folder / "inner" / "weights.bin")
    assert artifact_of_folder(store, Kind.MODEL, folder).identity != before


def test_external_folder_that_is_missing_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere is not a folder"):
        artifact_of_folder(store, Kind.MODEL, tmp_path / "nowhere")


def test_external_folder_with_a_record_keeps_its_facts(store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(publish(store), copy)
    assert artifact_of_folder(store, Kind.MODEL, copy).facts == {"layers": 4}


@pytest.mark.parametrize("damage", [flip, Path.unlink, truncate], ids=["flipped byte", "missing file", "truncated"])
def test_external_folder_that_differs_from_its_record_is_refused_by_name(
    store: Store, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(publish(store), copy)
    damage(copy / "inner" / "weights.bin")
    with pytest.raises(InputError, match=r"inner/weights\.bin"):
        artifact_of_folder(store, Kind.MODEL, copy)


def test_external_folder_with_an_unreadable_record_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(publish(store), copy)
    flip(copy / RECORD_FILE)
    with pytest.raises(InputError, match=RECORD_FILE):
        artifact_of_folder(store, Kind.MODEL, copy)


def test_external_folder_whose_record_was_edited_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(publish(store), copy)
    edit(copy / RECORD_FILE)
    with pytest.raises(InputError, match=rf"{RECORD_FILE} is not what was written \(checksum\)"):
        artifact_of_folder(store, Kind.MODEL, copy)


def test_store_can_be_moved_and_its_artifacts_stay_what_they_are(store: Store, tmp_path: Path) -> None:
    record = (publish(store) / RECORD_FILE).read_text()
    assert str(tmp_path) not in record
    moved = Store(store.root.rename(tmp_path / "moved"))
    assert moved.get(Kind.MODEL, IDENTITY)[0] is not None


def test_missing_result_is_explained_by_the_field_that_differs(store: Store) -> None:
    publish(store)
    why = explain_missing(store, Kind.MODEL, spec_of("toy", width=2))
    assert "config.width 7 → 2" in why


def test_damaged_record_explains_nothing(store: Store) -> None:
    (publish(store) / RECORD_FILE).write_text("{")
    edit(publish(store, spec_of("another")) / RECORD_FILE)
    assert explain_missing(store, Kind.MODEL, spec_of("toy", width=2)) == "first of its kind"


def test_generation_is_zero_until_set_and_survives_reopening(store: Store) -> None:
    assert store.generation(IDENTITY) == 0
    store.set_generation(IDENTITY, 2)
    assert Store(store.root).generation(IDENTITY) == 2


def copied(target: Path, other: Path) -> None:
    shutil.copytree(other, target)


def linked(target: Path, other: Path) -> None:
    target.symlink_to(other)


@pytest.mark.parametrize("put", [copied, linked])
def test_another_artifact_in_the_place_of_one_is_damage(store: Store, put: Callable[[Path, Path], None]) -> None:
    folder, other = publish(store), publish(store, spec_of("another"))
    shutil.rmtree(folder)
    put(folder, other)
    found, why = store.get(Kind.MODEL, IDENTITY)
    assert (found, "of another result" in why) == (None, True)
    assert not os.path.lexists(folder)
    assert store.get(Kind.MODEL, other.name)[0] is not None


def test_artifact_in_the_place_of_another_kind_is_damage(store: Store) -> None:
    folder = publish(store)
    shutil.copytree(folder, store.path(Kind.ADAPTER, IDENTITY))
    assert store.get(Kind.ADAPTER, IDENTITY)[0] is None


def test_record_whose_spec_is_not_that_of_its_identity_is_damage(store: Store) -> None:
    folder = publish(store)
    record = json.loads((folder / RECORD_FILE).read_text())
    del record[RECORD_SUM]
    record["spec"]["config"]["width"] = 8
    (folder / RECORD_FILE).write_text(serialize_record(record))
    assert store.get(Kind.MODEL, IDENTITY)[0] is None


def test_artifact_that_was_moved_to_another_disk_and_linked_is_used(store: Store, tmp_path: Path) -> None:
    folder = publish(store)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert Store(store.root).get(Kind.MODEL, IDENTITY)[0] is not None
    store.evict(Kind.MODEL, IDENTITY)
    assert not os.path.lexists(folder)
    assert (tmp_path / "elsewhere" / "inner" / "weights.bin").exists()


@pytest.mark.parametrize("put", [lambda path: path.symlink_to("/nowhere"), lambda path: path.write_text("a file")])
def test_what_is_no_folder_in_the_place_of_an_artifact_is_set_aside(store: Store, put: Callable[[Path], None]) -> None:
    folder = publish(store)
    shutil.rmtree(folder)
    put(folder)
    assert store.get(Kind.MODEL, IDENTITY)[0] is None
    publish(store)
    assert store.get(Kind.MODEL, IDENTITY)[0] is not None


@pytest.mark.parametrize("name", ["model.gguf", "inner/notes.txt", "linked"])
def test_file_that_stc_did_not_write_is_named_and_left_where_it_is(store: Store, name: str, tmp_path: Path) -> None:
    file = publish(store) / name
    if name == "linked":
        file.symlink_to(tmp_path)
    else:
        file.write_text("somebody's")
    with pytest.raises(InputError, match=re.escape(str(file))):
        store.get(Kind.MODEL, IDENTITY)
    assert os.path.lexists(file)


def test_file_of_a_desktop_or_a_file_system_in_an_artifact_does_not_matter(store: Store) -> None:
    (publish(store) / ".nfs0000001").write_text("")
    assert store.get(Kind.MODEL, IDENTITY)[0] is not None


@pytest.mark.parametrize("target", ["/dev/zero", "/nowhere", "weights.bin", "."])
def test_link_in_the_place_of_a_file_is_never_followed_to_what_is_no_such_file(store: Store, target: str) -> None:
    file = publish(store) / "inner" / "weights.bin"
    file.unlink()
    file.symlink_to(target)
    assert store.get(Kind.MODEL, IDENTITY)[0] is None


SHAPES: list[Any] = [
    {"files": [], "facts": {}},
    {"files": {}, "facts": None},
    {"files": {"config.json": {}}, "facts": {}},
    {"files": {"config.json": {"bytes": "many", "sha256": "0" * 64}}, "facts": {}},
    {"files": {"config.json": {"bytes": 2, "sha256": 7}}, "facts": {}},
    {"files": {}, "facts": {}, "spec": []},
    {"files": {}, "facts": {}, "spec": {"stage": 1, "config": {}, "inputs": {}}},
    {"files": {}, "facts": {}, "curves": {"loss": [1, 2]}},
    {"files": {}, "facts": {}, "seconds": "long"},
]


@pytest.mark.parametrize("record", SHAPES, ids=str)
def test_record_of_a_wrong_shape_is_damage_inside_and_refused_by_name_outside(
    store: Store, record: dict[str, Any], tmp_path: Path
) -> None:
    folder = publish(store)
    (folder / RECORD_FILE).write_text(serialize_record({"kind": "model", "identity": IDENTITY, "spec": SPEC, **record}))
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(InputError, match=f"copy is damaged: {RECORD_FILE}"):
        artifact_of_folder(store, Kind.MODEL, tmp_path / "copy")
    assert store.get(Kind.MODEL, IDENTITY)[0] is None


@pytest.mark.parametrize("text", ["[]", "null", "{", "[" * 100_000, "\x00", '{"a": 1}'], ids=lambda text: text[:9])
def test_record_that_is_no_record_is_damage(store: Store, text: str) -> None:
    (publish(store) / RECORD_FILE).write_text(text)
    assert store.get(Kind.MODEL, IDENTITY)[0] is None


def test_folder_in_the_place_of_a_record_is_refused_by_name(store: Store, tmp_path: Path) -> None:
    (tmp_path / "one" / RECORD_FILE).mkdir(parents=True)
    with pytest.raises(InputError, match=RECORD_FILE):
        artifact_of_folder(store, Kind.MODEL, tmp_path / "one")


def test_external_folder_with_the_record_of_another_kind_or_name_is_refused(store: Store, tmp_path: Path) -> None:
    folder, other = publish(store), publish(store, spec_of("another"))
    with pytest.raises(InputError, match="that of a model"):
        artifact_of_folder(store, Kind.ADAPTER, folder)
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    with pytest.raises(InputError, match="of another result"):
        artifact_of_folder(store, Kind.MODEL, folder)
    assert artifact_of_folder(store, Kind.MODEL, other).facts == {"layers": 4}


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"a": 1}', '{"a": [1, 2]}', '{"a": ["x", "y", "z"]}', "[" * 10**5, "\udcff"]
)
def test_damaged_table_of_checksums_is_as_good_as_none(store: Store, text: str) -> None:
    publish(store)
    (store.root / "hashes.json").write_bytes(text.encode(errors="surrogateescape"))
    assert Store(store.root).get(Kind.MODEL, IDENTITY)[0] is not None
    publish(store, spec_of("another"))
    assert len(json.loads((store.root / "hashes.json").read_text())) >= 2


def test_folder_in_the_place_of_the_table_of_checksums_stops_nothing(store: Store) -> None:
    (store.root / "hashes.json").mkdir(parents=True)
    (store.root / MARKER).touch()
    publish(store)
    assert Store(store.root).get(Kind.MODEL, IDENTITY)[0] is not None


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "[1]", "9" * 10_000], ids=lambda text: text[:5])
def test_damaged_count_of_generations_is_named(store: Store, text: str) -> None:
    store.set_generation(IDENTITY, 1)
    (store.root / "generations" / IDENTITY).write_text(text)
    with pytest.raises(InputError, match=f"generations/{IDENTITY}"):
        store.generation(IDENTITY)
