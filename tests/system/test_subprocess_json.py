"""A fresh process is asked in JSON, and what goes wrong in it is told."""

from __future__ import annotations

import pytest

from stc.errors import StcError
from stc.system.subprocess_json import USER_ERROR, run_json


def run(code: str, **environment: str) -> object:
    return run_json("counting", ["-c", f"import json, os, sys; {code}"], {"number": 3, "text": "ü"}, **environment)


def test_answer_is_what_the_process_makes_of_the_request() -> None:
    assert run("json.dump([json.load(sys.stdin), os.environ['EXTRA']], sys.stdout)", EXTRA="more") == [
        {"number": 3, "text": "ü"},
        "more",
    ]


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("1 / 0", r"^counting: the process exited with 1\n(.*\n)*ZeroDivisionError"),
        ("os.abort()", "^counting: the process was killed by signal 6"),
        (f"print('noise\\nno such file', file=sys.stderr); sys.exit({USER_ERROR})", "^no such file$"),
    ],
    ids=["raises", "is killed", "refuses"],
)
def test_process_that_fails_is_told(code: str, told: str) -> None:
    with pytest.raises(StcError, match=told):
        run(code)
