"""A result is found by its path and by the first digits of its identity."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from stc.errors import ConfigError, InputError
from stc.models.hub import model_source
from stc.store import Store, identity_of
from stc.store.artifact import Kind
from stc.store.lineage import language_mismatch, target_languages
from stc.store.lookup import resolve_artifact


def spec(config: dict[str, object], **inputs: str) -> dict[str, object]:
    return {"stage": "finetune", "version": 1, "config": config, "surroundings": {}, "inputs": inputs}


DATA_SPEC = spec({"task": {"target_lang": "zh"}})
DATA = identity_of(DATA_SPEC)
DISTILLED_SPEC = spec({"repeat": 1}, data=DATA)
DISTILLED = identity_of(DISTILLED_SPEC)


def alike() -> tuple[dict[str, object], dict[str, object]]:
    """The specs of a model and of one that was made of it, whose identities begin with the same four digits."""
    for epochs in count(1):
        model = spec({"epochs": epochs}, model="f" * 20, train=DISTILLED)
        other = spec({"layers": 3}, model=identity_of(model))
        if identity_of(model)[:4] == identity_of(other)[:4]:
            return model, other
    raise AssertionError


MODEL_SPEC, OTHER_SPEC = alike()
MODEL, OTHER = identity_of(MODEL_SPEC), identity_of(OTHER_SPEC)
ABSENT = next(digits * 8 for digits in "0123456789abcdef" if not MODEL.startswith(digits * 4))


def publish(store: Store, kind: Kind, spec: dict[str, object]) -> None:
    with store.publish(kind, identity_of(spec)) as (_, record):
        record.update(name="teacher", spec=spec, facts={}, curves={}, seconds=1.0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A model that was pruned from one that was trained on distilled Chinese data."""
    monkeypatch.chdir(tmp_path)
    made = Store(tmp_path / "store")
    publish(made, Kind.MANIFEST, DATA_SPEC)
    publish(made, Kind.MANIFEST, DISTILLED_SPEC)
    publish(made, Kind.MODEL, MODEL_SPEC)
    publish(made, Kind.MODEL, OTHER_SPEC)
    return made


@pytest.mark.parametrize(
    "given", [MODEL[:8], f"{MODEL[:8].upper()}…", MODEL, f"store/{MODEL[:10]}", f"store/model/{MODEL[:8]}"]
)
def test_first_digits_of_an_identity_name_its_folder(store: Store, given: str) -> None:
    assert resolve_artifact(Path(given), Kind.MODEL) == store.path(Kind.MODEL, MODEL)


@pytest.mark.parametrize(
    ("given", "named"), [(MODEL[:4], "2 identities"), (ABSENT, "nothing in"), (DATA[:8], "no model: it is")]
)
def test_digits_that_name_no_model_or_several_are_refused(store: Store, given: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        resolve_artifact(Path(given), Kind.MODEL)


def test_evicted_result_is_told_as_such(store: Store) -> None:
    store.evict(Kind.MODEL, MODEL)
    with pytest.raises(InputError, match="was evicted on"):
        resolve_artifact(Path(MODEL[:8]), Kind.MODEL)


@pytest.mark.parametrize("given", ["nope", "a/b", f"elsewhere/{MODEL[:8]}"])
def test_path_that_is_no_identity_or_in_no_store_stays_what_it_is(store: Store, given: str) -> None:
    assert resolve_artifact(Path(given), Kind.MODEL) == Path(given)


def test_folder_that_is_called_like_an_identity_is_the_folder(store: Store, tmp_path: Path) -> None:
    (tmp_path / MODEL[:8]).mkdir()
    assert resolve_artifact(Path(MODEL[:8]), Kind.MODEL) == Path(MODEL[:8])


def test_language_of_a_model_is_that_of_the_data_it_was_last_trained_on(store: Store, tmp_path: Path) -> None:
    assert target_languages(store.path(Kind.MODEL, OTHER)) == {"zh": "zh"}  # their record has no name
    assert target_languages(tmp_path) == {}


def test_model_fits_every_variant_of_its_language_in_every_spelling_and_no_other(store: Store, tmp_path: Path) -> None:
    folder = store.path(Kind.MODEL, OTHER)
    assert [language_mismatch(folder, lang) for lang in ("zh", "zh-TW", "cmn")] == ["", "", ""]
    assert "zh, not into de" in language_mismatch(folder, "de")
    assert language_mismatch(tmp_path, "de") == ""


def test_what_an_old_record_says_need_be_no_tag(store: Store) -> None:
    data = spec({"task": {"target_lang": "Chinese (simplified)"}})
    model = spec({"epochs": 0}, train=identity_of(data))
    publish(store, Kind.MANIFEST, data)
    publish(store, Kind.MODEL, model)
    folder = store.path(Kind.MODEL, identity_of(model))
    assert "Chinese (simplified), not into zh" in language_mismatch(folder, "zh")


def test_first_digits_stand_for_a_result_in_the_place_of_a_stage_too(store: Store) -> None:
    assert model_source(MODEL[:8], "stages.teacher.from") == store.path(Kind.MODEL, MODEL)
    assert model_source(DATA[:8], "stages.train.from", Kind.MANIFEST) == store.path(Kind.MANIFEST, DATA)
    for given in (ABSENT, DATA[:8]):
        with pytest.raises(ConfigError, match=r"stages\.teacher\.from"):
            model_source(given, "stages.teacher.from")
