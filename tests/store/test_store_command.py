"""``python -m stc.store``: what is there, and where it comes from."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from filled_store import ids, ran

from stc.store import Store
from stc.store.__main__ import build_parser, main, parse_size
from stc.store.artifact import Kind
from stc.store.inventory import Inventory
from stc.store.verify import artifact_fault
from stc.system.paths import ROOT


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
        "made from",
        f"  model: {known['teacher']} model teacher",
        f"    train: {known['train']} manifest train",
        f"  ranking: any with layers_removed [3]: {known['search']} ranking search",
        f"    model: {known['teacher']} model teacher, as above",
        "used for",
        f"  {known['packed']} model packed, as model",
    ]


def test_origin_is_traced_as_deep_as_asked_for(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    known = {name: identity[:8] for name, identity in ids(store).items()}
    ran(store, "why", known["packed"])
    assert f"      train: {known['train']} manifest train" in capsys.readouterr().out.splitlines()  # the third level
    ran(store, "why", known["packed"], "--depth", "1")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")][:-1]
    assert line.startswith(f"  model: {known['cut']} model cut")
    assert "--depth 2" in line


def test_file_that_stc_did_not_write_is_told_by_verify_and_stays(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    file = store.path(Kind.MODEL, ids(store)["cut"]) / "model.gguf"
    file.write_text("somebody's")
    assert ran(store, "verify") == 1
    assert str(file) in capsys.readouterr().out
    assert file.exists()


def test_store_that_is_whole_is_verified(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(store, "verify") == 0
    assert "7 results are intact, 0 damaged" in capsys.readouterr().out


def test_damage_that_left_size_and_time_alone_is_found_and_set_aside(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = ids(store)["cut"]
    file = store.path(Kind.MODEL, identity) / "file"
    before = file.stat()
    file.write_bytes(os.urandom(before.st_size))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ran(store, "verify") == 1
    assert "checksum than what was written; set aside as" in capsys.readouterr().out
    assert Store(store.root).get(Kind.MODEL, identity) == (None, "not in the store")


def test_damage_that_was_mended_since_it_was_read_is_not_set_aside(store: Store) -> None:
    identity = ids(store)["cut"]
    assert store.set_aside(Kind.MODEL, identity, artifact_fault) is None
    assert store.inspect(Kind.MODEL, identity)[0] is not None


def test_store_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", str(tmp_path / "none"), "ls"]) == 1
    assert "--store FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "size"), [("20GB", 20 * 10**9), ("1.5 MB", 1_500_000), ("2GiB", 2**31), ("7", 7)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


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
        build_parser().parse_args(arguments)
