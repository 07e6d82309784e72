"""Where a store may be, how one is known, and that nothing else is touched."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from filled_store import ids, put, ran, spec_of
from processes import at_once
from pydantic import ValidationError

from stc.config.schema import StoreConfig
from stc.errors import InputError, StcError
from stc.store import Store, identity_of
from stc.store.__main__ import main
from stc.store.artifact import RECORD_FILE, Kind
from stc.store.location import MARKER, is_store
from stc.store.outside_folders import artifact_of_folder
from stc.store.records import read_record, serialize_record
from stc.system.paths import ROOT

NOT_OURS = (
    ".building/project.1/main.c",
    ".building/notes",
    ".scratch/thesis/chapter.tex",
    ".damaged/disk.1/image",
    ".going/x/y",
    "generations/mine",
    "evicted/model/mine.json",
    "model/mine/weights.bin",
    "scores/2024/marks.txt",
    "other/file",
)


def precious(root: Path) -> dict[Path, str]:
    """Somebody's files, under the names of the folders of a store; their content."""
    files = {root / name: f"precious {name}" for name in NOT_OURS}
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        os.utime(file, (0, 0))
        os.utime(file.parent, (0, 0))
    return files


def there(files: dict[Path, str]) -> dict[Path, str]:
    return {file: file.read_text() for file in files if file.exists()}


@pytest.mark.parametrize("command", [["gc"], ["gc", "--max-size", "0"], ["verify"], ["ls"]], ids=" ".join)
def test_folder_that_is_no_store_is_left_as_it_is(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = precious(tmp_path / "home")
    assert main(["--store", str(tmp_path / "home"), *command]) == 1
    assert "no store" in capsys.readouterr().err
    assert there(files) == files
    assert not (tmp_path / "home" / MARKER).exists()


def test_names_that_are_no_identities_are_left_alone_in_a_store(store: Store) -> None:
    files = precious(store.root)
    for command in (["ls"], ["verify"], ["gc", "--max-size", "1B"], ["gc"]):
        ran(store, *command)
    put(store, Kind.MODEL, "another", {}, 10)
    assert there(files) == files


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Folders that can be no store."""
    for name in ("home", "current"):
        (tmp_path / name).mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "letter.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "current")
    return {
        "root": Path("/"),
        "home": tmp_path / "home",
        "link to home": linked(tmp_path / "link", tmp_path / "home"),
        "stc": ROOT,
        "current": Path(),
        "other things": tmp_path / "others",
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "store",
    }


def linked(link: Path, target: Path) -> Path:
    link.symlink_to(target)
    return link


@pytest.mark.parametrize(
    "name",
    ["root", "home", "link to home", "stc", "current", "other things", "file", "below a file"],
)
def test_folder_that_others_use_can_be_no_store(name: str, places: dict[str, Path]) -> None:
    with pytest.raises(InputError, match="a folder of its own"):
        Store(places[name])
    with pytest.raises(ValidationError, match="a folder of its own"):
        StoreConfig(dir=places[name])


@pytest.mark.parametrize("inside", [None, "lost+found"])
def test_new_folder_becomes_a_store_when_it_is_first_written_to(inside: str | None, tmp_path: Path) -> None:
    root = tmp_path / "store"
    if inside:
        (root / inside).mkdir(parents=True)
    store = Store(root)
    assert not is_store(root)
    put(store, Kind.MODEL, "first", {}, 10)
    assert (root / MARKER).is_file()


def test_store_in_the_current_folder_is_looked_into(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.root)
    assert ran(Store(Path()), "verify") == 0


def only_results(root: Path) -> None:
    (root / "hashes.json").unlink()


def only_hashes(root: Path) -> None:
    for kind in Kind:
        shutil.rmtree(root / kind.value, ignore_errors=True)


@pytest.mark.parametrize("left", [only_results, only_hashes])
def test_store_from_before_there_were_markers_is_known_and_marked_when_next_written_to(
    left: Callable[[Path], None], store: Store
) -> None:
    (store.root / MARKER).unlink()
    left(store.root)
    assert is_store(store.root)
    put(Store(store.root), Kind.MODEL, "another", {}, 10)
    assert (store.root / MARKER).is_file()


def test_results_under_other_names_make_no_store(store: Store, tmp_path: Path) -> None:
    (folder,) = (store.root / "scores").iterdir()
    for name in ("mine", "0" * 20):
        shutil.copytree(folder, tmp_path / "others" / "scores" / name)
    assert not is_store(tmp_path / "others")


def test_processes_that_begin_a_store_at_once_do_not_refuse_each_other(tmp_path: Path) -> None:
    def begin() -> None:
        put(Store(tmp_path / "store"), Kind.MODEL, str(os.getpid()), {}, 10)

    at_once(8, begin)
    assert len(Store(tmp_path / "store").identities(Kind.MODEL)) == 8


@pytest.fixture
def read_only(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store on a disk that can only be read."""

    def refusing(name: str) -> None:
        real = getattr(Path, name)

        def refuse(path: Path, *given: Any, **options: Any) -> Any:
            mode = given[0] if given else options.get("mode", "r")
            reads = (name == "open" and mode in ("r", "rb")) or (options.get("exist_ok") and path.is_dir())
            if reads or not path.is_relative_to(store.root):
                return real(path, *given, **options)
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

        monkeypatch.setattr(Path, name, refuse)

    for name in ("mkdir", "rename", "replace", "open", "write_text", "unlink"):
        refusing(name)
    return store


def test_results_of_a_store_that_can_only_be_read_are_used(read_only: Store, tmp_path: Path) -> None:
    known = Store(read_only.root)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "weights").write_text("new to the table of checksums")
    assert artifact_of_folder(known, Kind.MODEL, outside).identity
    assert known.get(Kind.MODEL, ids(read_only)["cut"])[0] is not None


def test_store_that_cannot_be_written_to_is_named(read_only: Store) -> None:
    with pytest.raises(StcError, match=rf"store\.dir={read_only.root}.*Read-only"):
        put(Store(read_only.root), Kind.MODEL, "another", {}, 10)
    with pytest.raises(StcError, match=r"store\.dir"):
        Store(read_only.root).set_generation("a" * 20, 1)


def test_damaged_result_of_a_store_that_can_only_be_read_is_left_where_it_is(
    store: Store, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store.path(Kind.MODEL, ids(store)["cut"])
    (folder / "file").write_bytes(b"")
    request.getfixturevalue("read_only")
    assert ran(store, "verify") == 1
    assert "left where it is" in capsys.readouterr().out
    assert folder.exists()


@pytest.mark.parametrize("name", [".building", "generations", "evicted"])
def test_file_in_the_place_of_a_folder_of_the_store_is_named(name: str, store: Store) -> None:
    shutil.rmtree(store.root / name, ignore_errors=True)
    (store.root / name).write_text("")

    def use() -> None:
        put(store, Kind.MODEL, "another", {}, 10)
        store.set_generation(identity_of(spec_of("another")), 1)
        with suppress(KeyError):
            store.evict(Kind.MODEL, ids(store)["cut"])

    with pytest.raises(StcError, match=name):
        use()


def test_record_names_no_file_outside_its_folder(store: Store, tmp_path: Path) -> None:
    entry = {"bytes": 0, "sha256": "0" * 64}
    for name in ("../x", "/etc/passwd", "a/../../b", "", "a//b"):
        (tmp_path / RECORD_FILE).write_text(serialize_record({"files": {name: entry}, "facts": {}}))
        assert read_record(tmp_path / RECORD_FILE)[0] is None
