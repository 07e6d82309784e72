"""Languages are those of conf/lang, and those of YAML files of one's own."""

from pathlib import Path

import pytest

from stc.config.hydra_arguments import config_groups
from stc.config.languages import language_codes, load_language, retention_metric
from stc.errors import InputError


def test_every_member_of_the_group_is_a_language() -> None:
    assert language_codes() == config_groups()["lang"]
    assert {load_language(code).code for code in language_codes()} == set(language_codes())


def test_language_says_what_its_prompt_needs() -> None:
    assert load_language("zh").task.target_name == "Chinese"


def test_unknown_language_is_refused_with_those_known() -> None:
    with pytest.raises(InputError, match=r"language 'dee': one of .*did you mean 'de'"):
        load_language("dee")


@pytest.mark.parametrize(
    ("tag", "metric"), [("zh-TW", "chrf"), ("de-AT", "chrf_pp"), ("ja", "chrf"), ("th", "chrf"), ("fr", "chrf_pp")]
)
def test_language_that_is_not_in_the_group_has_a_metric_that_fits_how_it_is_written(tag: str, metric: str) -> None:
    assert retention_metric(tag) == metric


def test_language_of_a_file_of_one_s_own_has_its_code_name_and_metric(tmp_path: Path) -> None:
    file = tmp_path / "fr.yaml"
    file.write_text("code: fr\nname: French\nmetric: chrf\n")
    language = load_language(str(file))
    assert (str(language), language.task.target_name, language.metric) == ("fr", "French", "chrf")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("code: fr\nname: French\n", "metric"),
        ("code: klingonese\nname: K\nmetric: chrf\n", "klingonese"),
        ("code: fr\nname: French\nmetric: chrff\n", "chrff"),
        ("- fr", "mapping"),
    ],
)
def test_faulty_file_of_a_language_is_told_by_name_and_key(content: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / "fr.yaml"
    file.write_text(content)
    with pytest.raises(InputError) as error:
        load_language(str(file))
    assert "fr.yaml" in str(error.value)
    assert named in str(error.value)


def test_missing_file_of_a_language_is_told() -> None:
    with pytest.raises(InputError, match=r"fr\.yaml"):
        load_language("nowhere/fr.yaml")
