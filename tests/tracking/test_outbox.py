"""The items that wait for MLflow: a server fault loses none of them, and leftovers do not stop a run."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE, REQUEST_LIMIT_EXCEEDED

from stc.tracking import Tracking, outbox, track
from stc.tracking.destination import Destination, RequestFailed
from stc.tracking.outbox import Outbox


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.02)
    monkeypatch.setattr(outbox, "LAST_WAIT", 0.7)


@pytest.fixture
def tracking(migrated: Path, tmp_path: Path) -> Tracking:
    shutil.copyfile(migrated, tmp_path / "mlflow.db")
    return Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}", unsent=tmp_path / "unsent")


class Recorded(Destination):
    """A destination that notes what it takes, and takes nothing of the kinds in ``failing``."""

    def __init__(self, *failing: str) -> None:
        super().__init__("http://nowhere", "run")
        self.failing = set(failing)
        self.taken: list[str] = []
        self.asked, self.held = threading.Event(), threading.Event()
        self.held.set()

    def deliver(self, items: Any) -> str | None:
        self.asked.set()
        self.held.wait(10)
        if items[0][0] in self.failing:
            raise RequestFailed("500")
        self.taken += [what for what, _ in items]
        return None


def unsent(tmp_path: Path) -> str:
    return "".join(file.read_text() for file in (tmp_path / "unsent").glob("*.jsonl"))


def test_item_added_while_another_is_sent_is_sent_before_the_end(tmp_path: Path) -> None:
    destination = Recorded()
    destination.held.clear()
    box = Outbox(destination, tmp_path / "unsent")
    box.put(("metric", ["a", 1.0, 1, 1]))
    assert destination.asked.wait(10)
    box.put(("set_terminated", ["FINISHED", 1]))
    threading.Timer(0.1, destination.held.set).start()
    box.close()
    assert destination.taken == ["metric", "set_terminated"]
    assert unsent(tmp_path) == ""


def test_artifact_whose_request_fails_is_skipped_and_saved(tmp_path: Path) -> None:
    destination = Recorded("log_text")
    box = Outbox(destination, tmp_path / "unsent")
    for what in ("metric", "log_text", "param", "set_terminated"):
        box.put((what, ["x"]))  # type: ignore[arg-type]
    box.close()
    assert destination.taken == ["metric", "param", "set_terminated"]
    assert [json.loads(line)[0] for line in unsent(tmp_path).splitlines()[1:]] == ["log_text"]


def test_metrics_whose_request_fails_are_saved_in_their_order(tmp_path: Path) -> None:
    box = Outbox(Recorded("metric"), tmp_path / "unsent")
    for number in range(3):
        box.put(("metric", ["a", number, 1, number]))
    box.put(("set_terminated", ["FINISHED", 1]))
    box.close()
    kept = [json.loads(line) for line in unsent(tmp_path).splitlines()[1:]]
    assert [arguments[1] for what, arguments in kept if what == "metric"] == [0, 1, 2]
    assert kept[-1][0] == "set_terminated"


@pytest.mark.parametrize(
    ("code", "kept"), [(INTERNAL_ERROR, True), (REQUEST_LIMIT_EXCEEDED, True), (INVALID_PARAMETER_VALUE, False)]
)
def test_next_run_sends_what_a_server_fault_left_but_nothing_that_was_refused(
    code: int, kept: bool, tracking: Tracking, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise MlflowException("no", error_code=code)

    with pytest.MonkeyPatch.context() as away:
        away.setattr(MlflowClient, "log_batch", refuse)
        with track(tracking, run_name="first", config={}, params={"lang": "zh"}) as run:
            pass
    assert ("lang" in unsent(tmp_path)) == kept
    with track(tracking, run_name="next", config={}):
        pass
    first = MlflowClient(tracking_uri=tracking.uri).get_run(str(run.id))
    assert first.info.status == "FINISHED"
    assert first.data.params == ({"lang": "zh"} if kept else {})
    assert unsent(tmp_path) == ""


HEAD = {"destination": {"uri": "sqlite:///x", "run_id": "1", "creation": None}, "owner": None}


@pytest.mark.parametrize(
    "content",
    [
        b"", b'{"destination": {"uri": "sqlite:', b"[]\n", b"\xff\xfe\n", b"[" * 100_000,
        json.dumps({**HEAD, "owner": {"host": "x", "pid": "many", "started": 0}}).encode(),
        json.dumps(HEAD).encode() + b'\n["metric", ["a", 1.0',
        json.dumps(HEAD).encode() + b'\n["delete_run", []]\n',
        json.dumps({**HEAD, "destination": {"uri": "sqlite:///x", "run_id": None, "creation": None}}).encode(),
    ],
)  # fmt: skip
def test_leftover_that_cannot_be_read_is_named_and_renamed(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "torn.jsonl").write_bytes(content)
    outbox.send_leftovers(tmp_path, "sqlite:///x")
    assert (tmp_path / "torn.damaged").read_bytes() == content
    (said,) = [record.getMessage() for record in caplog.records if record.name == "stc.tracking"]
    assert "torn.jsonl" in said


def test_leftover_does_not_stop_a_run_and_the_others_are_sent(
    tracking: Tracking, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with track(tracking, run_name="first", config={}) as run:
        pass
    folder = tmp_path / "unsent"
    folder.mkdir(exist_ok=True)
    (folder / "a.jsonl").write_text("")
    whole = {"destination": {"uri": tracking.uri, "run_id": run.id, "creation": None}, "owner": None}
    text = "a\u2028b"  # what str.splitlines takes for two lines
    lines = [whole, ["tag", ["note", text]], ["metric", ["loss", float("nan"), 1, 1]]]
    (folder / "b.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    with track(tracking, run_name="next", config={}):
        pass
    assert MlflowClient(tracking_uri=tracking.uri).get_run(str(run.id)).data.tags["note"] == text
    assert sorted(file.name for file in folder.iterdir()) == [".lock", "a.damaged"]
