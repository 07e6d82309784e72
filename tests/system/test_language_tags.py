"""Every spelling of a language tag is brought to one form, and what depends on a language goes by that."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from stc.models.language_pair import Task
from stc.system.language_tags import nearest_entry, normal_tag, primary_language, script


@pytest.mark.parametrize(
    ("tag", "form"),
    [
        ("ZH", "zh"), ("zho", "zh"), ("chi", "zh"), ("cmn", "zh"), ("zh_Hans", "zh-Hans"), ("zh-tw", "zh-TW"),
        ("cmn-Hant", "zh-Hant"), ("jpn", "ja"), ("deu", "de"), ("ger", "de"), ("de_AT", "de-AT"), ("iw", "he"),
        ("yue", "yue"), ("de", "de"),
    ],
)  # fmt: skip
def test_spellings_of_a_language_are_one_tag(tag: str, form: str) -> None:
    assert normal_tag(tag) == form
    assert normal_tag(form) == form


NAMES_NONE = ["xx", "german", "", " zh", "zh-", "zh--TW", "jp", "und", "mul", "de_DE.UTF-8", "zh-Hanx"]


@pytest.mark.parametrize("tag", NAMES_NONE)
def test_what_names_no_language_is_refused_by_name(tag: str) -> None:
    with pytest.raises(ValidationError, match=rf"target_lang\n.*{tag!r} names no language"):
        Task(target_lang=tag, target_name="x")


def test_task_holds_the_normal_form() -> None:
    assert Task(target_lang="zh_tw", target_name="Chinese") == Task(target_lang="zh-TW", target_name="Chinese")


@pytest.mark.parametrize(("tag", "language"), [("zh-Hant-TW", "zh"), ("cmn_Hans", "zh"), ("ger", "de"), ("yue", "yue")])
def test_language_is_what_a_tag_says_without_script_and_region(tag: str, language: str) -> None:
    assert primary_language(tag) == language


@pytest.mark.parametrize(
    ("tag", "written"), [("zh-TW", "Hant"), ("zh", "Hans"), ("yue", "Hant"), ("zh-Latn", "Latn"), ("ko-KR", "Kore")]
)
def test_script_follows_from_the_tag(tag: str, written: str) -> None:
    assert script(tag) == written


def test_variant_is_looked_up_under_the_nearest_wider_tag() -> None:
    known = {"zh": 1, "zh-Hant": 2}
    assert [nearest_entry(known, tag) for tag in ("zh-CN", "zh-Hant-HK", "zh", "yue")] == [1, 2, 1, None]
