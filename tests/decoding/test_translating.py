"""Texts lie on disk one a line, whatever is in them."""

from pathlib import Path

from stc.decoding.translating import read_lines, write_lines


def test_texts_are_read_as_written(tmp_path: Path) -> None:
    texts = ["", "Ein Satz.", "一句\u2028话", ""]
    write_lines(tmp_path / "texts", texts)
    assert read_lines(tmp_path / "texts") == texts


def test_newline_inside_a_text_becomes_a_space(tmp_path: Path) -> None:
    write_lines(tmp_path / "texts", ["eins\nzwei", "drei"])
    assert read_lines(tmp_path / "texts") == ["eins zwei", "drei"]
