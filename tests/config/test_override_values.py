"""What a value of the command line is: Hydra's meaning where it has one, else the text as it was typed."""

from __future__ import annotations

import pytest

from stc.config.override_values import parse_leniently, parse_override, quote

NAMES = [
    "数据", "größe", "a=b", "p(1)", "p[1", "{x", "#1", "it's", 'say "a"', "🙂", "a b", "~tilde", "a\nb", "back\\",
    "\\'", "a;b", "`x`", "a&b", "x(1", "<>", "né", "a,b é",
]  # fmt: skip


@pytest.mark.parametrize("text", [*NAMES, "", "  ", "null", "true", "${x}", "a,b", "[a]"])
def test_quoted_text_is_read_as_it_is(text: str) -> None:
    assert parse_override(f"key={quote(text)}").value() == text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["data.path", "store.dir", "model.path", "stages.teacher.from", "hydra.run.dir"])
def test_path_may_have_any_letters(key: str, name: str) -> None:
    override = parse_leniently(f"{key}=/x/{name}", sweep=False)
    assert override.value() == f"/x/{name}"
    assert parse_override(override.input_line or "").value() == f"/x/{name}"


@pytest.mark.parametrize("text", ["2024", "1_0", "1e3", "007", "1.10", "true", "no", "0x1F", "inf"])
@pytest.mark.parametrize("key", ["data.path", "data.name", "data.splits.test", "lang.code", "stages.train.split"])
def test_number_where_text_is_wanted_is_the_text(key: str, text: str) -> None:
    assert parse_leniently(f"{key}={text}", sweep=False).value() == text


@pytest.mark.parametrize(
    ("key", "value"), [("prune.ratio", 0.5), ("seed", 3), ("finetune.lora.r", 8), ("data.limit", 1)]
)
def test_number_where_a_number_is_wanted_is_one(key: str, value: float) -> None:
    assert parse_leniently(f"{key}={value}", sweep=False).value() == value


@pytest.mark.parametrize(
    ("text", "value"), [("null", None), ("'null'", "null"), ('"a, b"', "a, b"), ("a\\ b", "a b"), ("${x}", "${x}")]
)
def test_what_hydra_can_read_keeps_its_meaning(text: str, value: str | None) -> None:
    assert parse_leniently(f"data.path={text}", sweep=False).value() == value


def test_comma_in_a_folder_separates_two_in_a_sweep_only() -> None:
    assert parse_leniently("data.path=/a,/b", sweep=False).value() == "/a,/b"
    for values in ("/a,größe", "2024,1_0", "'a,b',p(1)"):
        override = parse_leniently(f"data.path={values}", sweep=True)
        assert override.is_choice_sweep()
        assert len(list(override.sweep_iterator())) == 2
    assert parse_leniently("lang=de,zh", sweep=False).is_sweep_override()
    assert list(parse_leniently("data.splits.test=1_0,x", sweep=True).sweep_string_iterator()) == ["'1_0'", "x"]


def test_folder_of_a_run_begins_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_leniently("hydra.run.dir=~/out", sweep=False).value() == "/home/me/out"
