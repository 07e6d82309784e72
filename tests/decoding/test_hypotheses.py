"""Texts lie on disk one a line, whatever is in them."""

from pathlib import Path

import pytest

from stc.data.manifest import Manifest, Utterance
from stc.decoding.hypotheses import join_parts, lines_with, read_texts, write_texts
from stc.metrics.metric import statistics
from stc.models.language_pair import Task

LINE_ENDS = ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


def test_texts_are_read_as_written(tmp_path: Path) -> None:
    texts = ["", "Ein Satz.", "一句话", "tab\tund \u00a0Leerzeichen", ""]
    write_texts(tmp_path / "texts", texts)
    assert read_texts(tmp_path / "texts") == texts


@pytest.mark.parametrize("end", LINE_ENDS)
def test_text_with_the_end_of_a_line_in_it_is_one_line_to_every_reader(end: str, tmp_path: Path) -> None:
    write_texts(tmp_path / "texts", [f"eins{end}zwei", f"drei{end}", "vier"])
    assert read_texts(tmp_path / "texts") == ["eins zwei", "drei ", "vier"]
    assert len((tmp_path / "texts").read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize("end", sorted(set(LINE_ENDS) - {"\n", "\r\n"}))
def test_file_that_another_program_wrote_has_a_text_for_every_newline(end: str, tmp_path: Path) -> None:
    (tmp_path / "texts").write_bytes(f"eins{end}zwei\ndrei\r\nvier\n".encode())
    assert read_texts(tmp_path / "texts") == [f"eins{end}zwei", "drei", "vier"]


@pytest.mark.parametrize("end", ["-\n", "\r", "\u2028"])
@pytest.mark.parametrize("metric", ["bleu", "chrf", "chrf_pp"])
def test_texts_score_what_their_lines_score(metric: str, end: str, tmp_path: Path) -> None:
    hypotheses, references = ["das rote Haus steht", "ein Hund"], [f"das rote{end}Haus steht", "ein Hund"]
    write_texts(tmp_path / "references", references)
    written = read_texts(tmp_path / "references")
    assert statistics(metric, hypotheses, references, "de") == statistics(metric, hypotheses, written, "de")


def test_parts_of_one_utterance_count_once_among_the_lines() -> None:
    rows = [
        Utterance(id=name, audio="a.wav", sha256="0" * 64, duration=1.0, source="a", target="b", part_of=whole)
        for name, whole in (("a", None), ("b.1", "b"), ("b.2", "b"), ("c", None))
    ]
    manifest = Manifest(Path(), Task(target_lang="de", target_name="German"), rows)
    assert len(join_parts(manifest, ["eins", "zwei", "drei", "vier"])) == 3
    assert lines_with(manifest, {1, 2}) == 1
    assert lines_with(manifest, {0, 2, 3}) == 3
