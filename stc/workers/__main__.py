"""One of the processes that share a stage's work: ``torchrun -m stc.workers SOCKET``, started by ``launch.py``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from stc.errors import StcError
from stc.system.console import prepare_libraries
from stc.system.gpu import visible_gpus
from stc.system.signals import killable
from stc.workers.protocol import Connection, LogForwarder, inputs_from_json


def main(address: str) -> int:
    rank = int(os.environ["RANK"])
    connection = Connection(address)
    connection.send(rank=rank, pid=os.getpid())
    asked = connection.receive_request()
    prepare_libraries()
    logger = logging.getLogger("stc")
    logger.addHandler(LogForwarder(connection))
    logger.setLevel(logging.INFO)
    try:
        with killable():
            if rank == 0:  # which ends in order; the others are ended when it has
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            _work(asked, connection, rank)
    except KeyboardInterrupt:
        return 1
    except StcError as error:
        connection.send(fails=type(error).__name__, message=str(error))
    except Exception:
        connection.send(fails="", message="", trace=traceback.format_exc())
    else:
        connection.send(done=True)
        return 0
    # Without this process the others would fail, too, and it would be for them to say why.
    threading.Event().wait()
    return 1


def _work(asked: Mapping[str, Any], connection: Connection, rank: int) -> None:
    ctx = connection.context(asked["context"], heard=rank == 0)
    if ctx.device == "cuda":  # before CUDA is used: each sees its own GPU and no other
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_gpus()[int(os.environ["LOCAL_RANK"])]
    from stc.workers.worker import process_group

    stage = getattr(import_module(asked["module"]), asked["stage"])(**asked["fields"])
    with process_group(ctx.device):
        for found in stage.run_share(inputs_from_json(asked["inputs"]), asked["work"], ctx):
            connection.send(gives=found)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
