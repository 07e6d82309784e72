"""``python -m stc.tracking``: serves MLflow with the view of the runs, and prints the view's address."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence

from stc.errors import InputError
from stc.system.console import run_command
from stc.tracking import Tracking, prepare_experiment
from stc.tracking.view import view_path

_DESCRIPTION = """\
Serve the runs in MLflow at this machine, and print the addresses of their table and of their charts. With the address
of a server as --uri, print only where they are there."""
_HOST = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted. Return 1 if that cannot begin."""
    parser = argparse.ArgumentParser(prog="python -m stc.tracking", description=_DESCRIPTION)
    parser.add_argument("--uri", default=Tracking().uri, help="tracking.uri of the runs (default: %(default)s)")
    parser.add_argument("--experiment", default=Tracking().experiment, help="tracking.experiment of the runs")
    parser.add_argument("--port", type=int, default=5000, help="of this machine (default: %(default)s)")
    return run_command(lambda: _serve(parser.parse_args(arguments)))


def _serve(options: argparse.Namespace) -> int:
    remote = options.uri.startswith(("http://", "https://"))
    if not remote:
        _check_free(options.port)
    uri, experiment = prepare_experiment(Tracking(uri=options.uri, experiment=options.experiment))
    server = uri.rstrip("/") if remote else f"http://{_HOST}:{options.port}"
    print(f"The runs: {server}/{view_path(experiment)}")
    print(f"Retention against size: {server}/{view_path(experiment, charts=True)}", flush=True)
    if remote:
        return 0
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    os.execv(sys.executable, [*command, "--host", _HOST, "--port", str(options.port)])


def _check_free(port: int) -> None:
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
    except (OSError, OverflowError) as error:
        raise InputError(f"--port={port} cannot be used ({error}); name another one, such as --port=5001") from None


if __name__ == "__main__":
    sys.exit(main())
