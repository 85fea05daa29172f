"""gunicorn's configuration for the web role; read as a file, before the application is imported.

The application is imported once and forked: it opens pools, Redis and models at their first use,
so a worker has its own, shares the memory of the code and replaces a dead one at once.

Measured on two cores: threads with three processes answer most requests per second, and no
request is ended by a timeout, so headers and bodies are read with deadlines of our own.
"""

from __future__ import annotations

import atexit
import gc
import os
import time
from typing import Any

import structlog

from gateway import instant
from gateway.http import shares
from gateway.running import webserver
from gateway.settings import load
from gateway.telemetry import figures, metric_files

log = structlog.get_logger(__name__)

_settings = load()
metric_files.reserve()

_host = f"[{_settings.bind}]" if ":" in _settings.bind else _settings.bind
bind = f"{_host}:{_settings.port}"
worker_class = "gateway.http.worker.Worker"
logger_class = "gateway.http.lines.Log"
workers, _ = shares.processes(_settings.web_concurrency)
threads = 4
backlog = 512
keepalive = 5
timeout = 30
graceful_timeout = 10
max_requests = 0
sendfile = False  # it would hold a thread for as long as the reader takes
preload_app = True
# Whom a proxy speaks for is the application's matter (TRUSTED_PROXIES), and no sender's.
forwarded_allow_ips = ""
# gunicorn's control socket is one per user and shared by every gunicorn of that user.
control_socket_disable = True
ENDING_S = 1.0  # a network takes a tenth of a second to load, a query less to encode
worker_tmp_dir = str(_settings.run_dir)
proc_name = "attune-web"
loglevel = _settings.log_level.lower()
accesslog = None


def when_ready(server: Any) -> None:
    """Keep the collector from touching, and so copying, what all workers share."""
    gc.collect()
    gc.freeze()


def post_worker_init(worker: Any) -> None:
    """Load the query encoder beside the first requests, so that no visitor's first search waits,
    and begin what goes on beside them."""
    from gateway.http import rechecking, state, warming
    from gateway.running import processes

    if _settings.tracing:
        from gateway.telemetry import tracing

        atexit.register(tracing.start("web"))
    processes.watch("web", state.of(worker.wsgi).pools)
    warming.begin()
    rechecking.watch(_settings.database_url)
    instant.follow(_settings.database_url)
    webserver.tell_ready()


def worker_exit(server: Any, worker: Any) -> None:
    """Wait for threads that may be in onnxruntime. One that comes back from there to an interpreter
    that is gone is unwound, and its C++ says "terminate called without an active exception" and
    aborts the process: where one does not come back in time, the process leaves without tidying up.
    """
    if worker.pid != os.getpid():  # the arbiter calls it too, for one that is gone already
        return
    from gateway.http import warming

    until = time.monotonic() + ENDING_S
    ended = [warming.end(until), worker.threads_ended(until)]
    if not all(ended):
        log.info("a thread is still at work: leaving without it")
        os._exit(0)


def child_exit(server: Any, worker: Any) -> None:
    """Keep what a dead worker has counted, forget what it was and had. An error here would end all
    of web."""
    worker.left()
    try:
        figures.bury()
    except Exception:
        log.exception("a dead worker's counters are not kept")
