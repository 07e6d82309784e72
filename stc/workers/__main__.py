"""A worker process, which does a share of a stage's work: ``launch.py`` runs ``torchrun -m stc.workers SOCKET``."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback

from stc.errors import StcError
from stc.system.console import prepare_libraries
from stc.system.gpu import visible_gpus
from stc.system.signals import killable
from stc.workers.protocol import LogForwarder, WorkerConnection


def main(address: str) -> int:
    rank = int(os.environ["RANK"])
    connection = WorkerConnection(address)
    connection.send("process", (rank, os.getpid()))
    prepare_libraries()
    logger = logging.getLogger("stc")
    logger.addHandler(LogForwarder(connection))
    logger.setLevel(logging.INFO)
    try:
        with killable():
            if rank == 0:  # the first worker ends in order; the others are ended after it
                signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            _work(connection, rank)
    except KeyboardInterrupt:
        return 1
    except StcError as error:
        connection.send("error", (type(error).__name__, str(error)))
    except Exception:
        connection.send("fault", traceback.format_exc())
    else:
        connection.send("done")
        return 0
    # If this process ended now, the others would fail too, and would hide the cause.
    threading.Event().wait()
    return 1


def _work(connection: WorkerConnection, rank: int) -> None:
    request = connection.receive_request()
    ctx = connection.context(request.ctx, reports=rank == 0)
    if ctx.device == "cuda":  # before CUDA is used: each process sees its own GPU and no other
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_gpus()[int(os.environ["LOCAL_RANK"])]
    from stc.workers.worker import process_group

    with process_group(ctx.device):
        for result in request.stage.run_share(request.inputs, request.work, ctx):
            connection.send("result", result)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
