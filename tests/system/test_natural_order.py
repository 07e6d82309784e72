from pathlib import Path

from stc.system.natural_order import natural_key


def test_files_come_by_their_numbers_folder_by_folder() -> None:
    names = ["b/sent_1.wav", "a/sent_10.wav", "a/sent_2.wav", "a/2.wav", "a/sent_02.wav", "a10/1.wav", "a9/1.wav"]
    assert [str(path) for path in sorted(map(Path, names), key=natural_key)] == [
        *("a/2.wav", "a/sent_02.wav", "a/sent_2.wav", "a/sent_10.wav"),
        *("a9/1.wav", "a10/1.wav", "b/sent_1.wav"),
    ]


def test_digits_of_any_script_and_kind_are_ordered() -> None:
    names = ["x٣.wav", "x2.wav", "x².wav", "7", "7a", ""]
    assert sorted(map(Path, names), key=natural_key)[-3:] == [Path("x2.wav"), Path("x٣.wav"), Path("x².wav")]
