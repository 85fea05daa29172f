"""The web role's gunicorn worker: gthread's, with a deadline for the headers of a request.

Without one as many connections as there are threads, each with half a header, stop all answers.
"""

from __future__ import annotations

import threading
from typing import Any

from gunicorn.util import write_error  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from gateway.http.deadline import watch

HEADERS_S = 5.0


class Worker(ThreadWorker):  # type: ignore[misc]
    """`handle` parses the headers, `handle_request` begins when they are whole."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reading = threading.local()

    def handle(self, conn: Any) -> Any:
        self._reading.entry = entry = watch.add(conn.sock, HEADERS_S)
        try:
            return super().handle(conn)
        finally:
            watch.remove(entry)
            if entry.passed:
                write_error(conn.sock, 408, "Request Timeout", "")

    def handle_request(self, req: Any, conn: Any) -> Any:
        watch.remove(self._reading.entry)
        return super().handle_request(req, conn)
