"""A result is found by its path and by the first digits of its identity."""

from __future__ import annotations

from pathlib import Path

import pytest

from stc.errors import InputError
from stc.lineage import target_languages
from stc.stage import Kind
from stc.store import Store
from stc.store.stored import stored

MODEL, OTHER, DATA, DISTILLED = (f"{digits}{'0' * 12}" for digits in ("0a1b2c3d", "0a1bffff", "9e8d7c6b", "5d4c3b2a"))


def publish(store: Store, kind: Kind, identity: str, config: dict[str, object], **inputs: str) -> None:
    with store.publish(kind, identity) as (_, record):
        spec = {"stage": "finetune", "version": 1, "config": config, "inputs": inputs}
        record.update(identity=identity, name="teacher", spec=spec, facts={})


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A model that was pruned from one that was trained on distilled Chinese data."""
    monkeypatch.chdir(tmp_path)
    made = Store(tmp_path / "store")
    publish(made, Kind.MANIFEST, DATA, {"task": {"target_lang": "zh"}})
    publish(made, Kind.MANIFEST, DISTILLED, {"repeat": 1}, data=DATA)
    publish(made, Kind.MODEL, MODEL, {"epochs": 1}, model="f" * 20, train=DISTILLED)
    publish(made, Kind.MODEL, OTHER, {}, model=MODEL)
    return made


@pytest.mark.parametrize("given", [MODEL[:8], MODEL, f"store/{MODEL[:5]}", f"store/model/{MODEL[:8]}"])
def test_first_digits_of_an_identity_name_its_folder(store: Store, given: str) -> None:
    assert stored(Path(given), Kind.MODEL) == store.path(Kind.MODEL, MODEL)


@pytest.mark.parametrize(
    ("given", "named"), [(MODEL[:4], "2 identities"), ("dddddddd", "nothing in"), (DATA[:8], "no model: it is")]
)
def test_digits_that_name_no_model_or_several_are_refused(store: Store, given: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        stored(Path(given), Kind.MODEL)


def test_evicted_result_is_told_as_such(store: Store) -> None:
    store.evict(Kind.MODEL, MODEL)
    with pytest.raises(InputError, match="was evicted on"):
        stored(Path(MODEL[:8]), Kind.MODEL)


@pytest.mark.parametrize("given", ["nope", "a/b", "elsewhere/0a1b2c3d"])
def test_path_that_is_no_identity_or_in_no_store_stays_what_it_is(store: Store, given: str) -> None:
    assert stored(Path(given), Kind.MODEL) == Path(given)


def test_folder_that_is_called_like_an_identity_is_the_folder(store: Store, tmp_path: Path) -> None:
    (tmp_path / MODEL[:8]).mkdir()
    assert stored(Path(MODEL[:8]), Kind.MODEL) == Path(MODEL[:8])


def test_language_of_a_model_is_that_of_the_data_it_was_last_trained_on(store: Store, tmp_path: Path) -> None:
    assert target_languages(store.path(Kind.MODEL, OTHER)) == {"zh"}
    assert target_languages(tmp_path) == set()
