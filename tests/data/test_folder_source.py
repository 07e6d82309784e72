"""A folder of tables beside audio is read as one of JSON Lines is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stc.data.sources import Columns
from stc.errors import InputError
from stc.models.language_pair import Task
from stc.stages.manifest import Manifest

ROWS = [
    {"id": "a", "audio": "1.wav", "en": 'He said "yes", then left.', "de": "Er sagte „ja“ und ging."},
    {"id": "b", "audio": "2.wav", "en": "", "de": "Zwei, drei"},
]
TABLES = {
    "jsonl": "".join(json.dumps(row) + "\n" for row in ROWS),
    "csv": 'id,audio,en,de\na,1.wav,"He said ""yes"", then left.",Er sagte „ja“ und ging.\nb,2.wav,,"Zwei, drei"\n',
    "tsv": 'id\taudio\ten\tde\na\t1.wav\tHe said "yes", then left.\tEr sagte „ja“ und ging.\nb\t2.wav\t\tZwei, drei\n',
}


def read(folder: Path, **settings: str) -> Manifest:
    for number in (1, 2):
        soundfile.write(folder / f"{number}.wav", np.full(800 * number, 0.1), 16_000)
    columns = Columns(audio="audio", source="en", target="de")
    task = Task(target_lang="de", target_name="German")
    return Manifest(path=folder, split="test", columns=columns, task=task, source={"name": "folder", **settings})


@pytest.mark.parametrize("form", TABLES)
def test_rows_are_the_same_in_every_format(form: str, tmp_path: Path) -> None:
    (tmp_path / f"test.{form}").write_text(TABLES[form], encoding="utf-8")
    found = read(tmp_path).in_place().rows
    assert [(row.id, row.source, row.target) for row in found] == [(row["id"], row["en"], row["de"]) for row in ROWS]


def test_quotation_marks_of_a_tsv_enclose_values_if_asked(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text('audio\ten\tde\n1.wav\t"Say ""a"""\t"A\tB"\n', encoding="utf-8")
    (row,) = read(tmp_path, quotes="double").in_place().rows
    assert (row.source, row.target) == ('Say "a"', "A\tB")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("test.csv", "audio,en,de\n1.wav,one\n", "line 2: 2 values for 3 columns"),
        ("test.csv", 'audio,en,de\n1.wav,"one,eins\n', "quotes=double"),
        ("test.csv", "audio,en\n1.wav,one\n", "'de'"),
        ("tset.csv", "audio,en,de\n", "did you mean 'tset'"),
    ],
)
def test_fault_of_a_table_is_named(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read(tmp_path).in_place()


def test_split_in_two_formats_is_refused(tmp_path: Path) -> None:
    for form, text in TABLES.items():
        (tmp_path / f"test.{form}").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="one of them"):
        read(tmp_path).in_place()
