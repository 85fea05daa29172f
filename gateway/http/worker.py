"""The web role's gunicorn worker: gthread's, with requests gathered before a thread sees them and
answers sent after it is done, so that a slow peer costs a socket and nobody's time.

gthread alone stops all answers for as many silent, dripping or slowly reading connections as it has
threads; closing one whose peer does not close it holds up its loop for two seconds.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import selectors
import socket
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]

from gateway.http import limits, metrics, refusals, shares, state, tenants
from gateway.http.lanes import Lanes
from gateway.http.wire import Connection, Wire
from gateway.running import priority
from gateway.settings import load

HEADERS_S = 5.0
BODY_S = 10.0  # from a request's first byte, for what is gathered
ANSWER_S, ANSWER_BYTES_PER_S = 10.0, 20_000  # as long as a slow phone needs for a large answer
LINGER_S = 2.0
SWEEP_S = 0.25
NOTIFY_S = 1.0
UNREAD_S = 0.5
SLOW_THREADS = 2
# Postgres gives way less: it may hold a lock that somebody waits for.
PROCESS_NICE, BACKEND_NICE = 15, 10
PASSING_S = 0.5  # a stopping process takes what was handed to it before the others stopped too
MOST_WAITED_S = 5.0  # for a thread; whoever asked has given up by then, or soon will
# Of what was gathered in one process; beyond it bodies are read by threads.
MOST_GATHERED_BYTES = 64 * 1024 * 1024
# Answers that wait for their readers; beyond it those that wait longest are dropped.
MOST_WAITING_BYTES = 128 * 1024 * 1024
FILES = 4096

log = structlog.get_logger(__name__)

# Made before the processes are forked, so that they share them.
accounts = shares.Accounts()
seats = shares.Seats(*shares.processes(load().web_concurrency))


class Worker(ThreadWorker):  # type: ignore[misc]
    """Everything but `_serve` and `handle…` runs in the loop's one thread and never blocks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.nr_conns: int
        self.alive: bool
        self.seat = seats.take(self)
        self.is_slow = self.seat in seats.slow
        self._held: dict[Connection, None] = {}  # those that wait for their peer, oldest first
        self._swept_at = self._notified_at = 0.0
        self._stopped_at: float | None = None
        self._empty = False  # nobody hands us anything any more

    def left(self) -> None:
        """Called in the arbiter when this worker's process has ended."""
        seats.leave(self)

    def threads_ended(self, until: float) -> bool:
        """Take no more requests; whether none is in work any more by then (of time.monotonic)."""
        if self.tpool is None:
            return True
        self.tpool.shutdown()
        return bool(self.tpool.join(until))

    def init_process(self) -> None:
        _allow_files()
        accounts.begin(self.seat)
        if self.is_slow:
            priority.yield_processor(PROCESS_NICE)
        super().init_process()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        kept = getattr(self.wsgi, "extensions", {}).get(state.NAME)
        if self.is_slow and kept is not None:
            kept.prepare = partial(priority.yield_backend, nice=BACKEND_NICE)

    def run(self) -> None:
        inbox = seats.inboxes[self.seat]
        self.nr_conns += 1  # that which may be on its way to us: see murder_pending
        self.poller.register(inbox.reader, selectors.EVENT_READ, lambda _: self._take_over(inbox))
        super().run()

    def set_accept_enabled(self, enabled: bool) -> None:
        if self.is_slow:  # what it serves, others hand to it
            self._accepting = enabled
        else:
            super().set_accept_enabled(enabled)

    def get_thread_pool(self) -> Lanes:
        threads = SLOW_THREADS if self.is_slow else self.cfg.threads
        return Lanes(threads, self._serve)

    # a request arrives --------------------------------------------------------------------------

    def accept(self, listener: Any) -> None:
        try:
            accepted, client = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        emptier = seats.emptier(self.nr_conns + 1)
        if emptier is not None and seats.send(emptier, accepted, b""):
            accepted.close()
            return
        self.nr_conns += 1
        self._make_room()
        self._expect(Connection(self.cfg, Wire.of(accepted), client, listener.getsockname()))

    def _take_over(self, inbox: shares.Inbox) -> None:
        """A connection that another process accepted, or began to read."""
        passed = inbox.receive()
        if passed is None:
            return
        accepted, received = passed
        try:
            client, server = accepted.getpeername(), accepted.getsockname()
        except OSError:  # gone meanwhile
            accepted.close()
            return
        self.nr_conns += 1
        conn = Connection(self.cfg, Wire.of(accepted), client, server)
        conn.begin(received)
        conn.was_passed = bool(received)
        self._expect(conn)

    def _pass_on(self, conn: Connection) -> bool:
        """Whether a process of the other lane took it."""
        conn.was_passed = True
        if not self.alive or self.is_slow == self._belongs_into_slow(conn):
            return False
        seat = seats.of_lane(slow=not self.is_slow)
        if not seats.send(seat, conn.sock, bytes(conn.received)):
            return False
        self._drop(conn)
        return True

    def _belongs_into_slow(self, conn: Connection) -> bool:
        tenant = conn.tenant = tenants.of(conn)
        if tenant in tenants.HEALTH:
            return False
        if conn.announced > shares.LARGE_BYTES and accounts.somebody_waits_for_small_answers():
            return True
        return accounts.takes_more_than_others(tenant)

    def _make_room(self) -> None:
        """Who has sent nothing whole for longest makes room for who comes."""
        if self.nr_conns < self.worker_connections:
            return
        for conn in self._held:
            if conn.after in (self._drop, self._too_late):
                metrics.TURNED_AWAY.labels("room").inc()
                self._drop(conn)
                return

    def _expect(self, conn: Connection) -> None:
        """A request of a new connection: it is mostly here already."""
        conn.deadline, conn.after = time.monotonic() + self.cfg.keepalive, self._drop
        if conn.is_idle:
            self._read(conn)
        else:
            self._consider(conn)

    def _expect_another(self, conn: Connection) -> None:
        """The next request, when the loop comes round: somebody who sends without a pause must not
        be answered in one go for ever."""
        conn.deadline, conn.after = time.monotonic() + self.cfg.keepalive, self._drop
        if not self.alive:  # it waits only a moment then
            conn.deadline = time.monotonic() + LINGER_S
        if conn.is_idle:
            self._hold(conn, selectors.EVENT_READ, self._read)
        else:
            self.method_queue.defer(self._consider, conn)

    def _read(self, conn: Connection) -> None:
        try:
            conn.receive()
        except OSError:
            self._drop(conn)
            return
        self._consider(conn)

    def _consider(self, conn: Connection) -> None:
        if conn.find_head() and not conn.was_passed and self._pass_on(conn):
            return
        if conn.is_complete() or self._is_full(conn):
            self._hand_over(conn)
        elif conn.has_bad_chunks:
            self._turn_away(conn, 400, refusals.BAD_CHUNKS)
        elif conn.is_too_long:
            self._turn_away(conn, 431, "the headers of the request are larger than 64 KB")
        elif conn.ended:
            self._drop(conn)
        else:
            self._set_deadline(conn)
            self._hold(conn, selectors.EVENT_READ, self._read)

    def _set_deadline(self, conn: Connection) -> None:
        if conn.is_idle:
            return
        now = time.monotonic()
        if conn.after != self._too_late:
            conn.begun_at, conn.after = now, self._too_late
        conn.deadline = conn.begun_at + (BODY_S if conn.has_head else HEADERS_S)

    def _too_late(self, conn: Connection) -> None:
        what, seconds = ("body", BODY_S) if conn.has_head else ("headers", HEADERS_S)
        self._turn_away(conn, 408, f"the {what} did not arrive within {seconds:g} s")

    def _is_full(self, conn: Connection) -> bool:
        large = conn.has_head and len(conn.received) > 64 * 1024
        return large and sum(len(one.received) for one in self._held) > MOST_GATHERED_BYTES

    # a thread works on it -----------------------------------------------------------------------

    def _hand_over(self, conn: Connection) -> None:
        self._let_go(conn)
        if self._is_limited(conn):
            return
        conn.queued_at = time.monotonic()
        if not self.tpool.put(conn.tenant, conn):
            sentence = "too many requests of yours wait already: send it again in a moment"
            self._turn_away(conn, 503, sentence)

    def _is_limited(self, conn: Connection) -> bool:
        """Whether its key is used up for this second, which is then said at once."""
        conn.tenant = conn.tenant or tenants.of(conn)
        key = tenants.limited_key_of(conn) if conn.whole else None
        allowed = limits.used_up(key) if key is not None else None
        if allowed is None:
            return False
        # What is let in comes in one burst a second, which others need not feel either.
        accounts.keep_slow(conn.tenant)
        headers = limits.headers(allowed, 0, refused=True)
        self._turn_away(conn, 429, limits.sentence(allowed), headers)
        return True

    def _serve(self, conn: Connection) -> None:
        """In a thread: parse, answer, hand back."""
        keep, began, worked = False, time.monotonic(), time.thread_time()
        if began > conn.queued_at + MOST_WAITED_S:
            sentence = "nobody came to your request in time: send it again in a moment"
            self.method_queue.defer(self._turn_away, conn, 503, sentence)
            return
        try:
            keep = bool(self.handle(conn))
        finally:
            self._charge(conn, time.monotonic() - began, time.thread_time() - worked)
            self.method_queue.defer(self._answered, conn, keep)

    def _charge(self, conn: Connection, seconds: float, worked: float) -> None:
        small = conn.announced <= shares.LARGE_BYTES
        accounts.charge(conn.tenant, worked, seconds - worked, small=small)
        if self.is_slow and small and self.tpool.has_waiting(conn.tenant):
            accounts.keep_slow(conn.tenant)

    def handle(self, conn: Connection) -> Any:
        conn.data_ready = True
        conn.init()
        conn.parser.unreader.unread(bytes(conn.received))
        conn.received.clear()
        return super().handle(conn)

    def handle_request(self, req: Any, conn: Connection) -> Any:
        if conn.whole:
            req._expected_100_continue = False  # it has been answered, or came too late to matter
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """What gunicorn's parser does not read is no request of the application's."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status, sentence = refusals.of_unreadable(exc)
        request_id = refusals.new_id()
        log.info("request", status=status, route="unreadable", request=request_id, why=sentence)
        with contextlib.suppress(OSError):
            client.sendall(refusals.answer(status, sentence, close=True, request_id=request_id))

    def _keepalive_after(self, conn: Connection, keepalive: Any) -> bool:
        """What nobody has read of a body is hardly waited for; if all of it is here, not at all."""
        if not keepalive:
            return False
        try:
            return bool(conn.parser.finish_body(deadline=time.monotonic() + UNREAD_S))
        except ParseException:  # it has been answered
            return False

    # its answer leaves --------------------------------------------------------------------------

    def _answered(self, conn: Connection, keep: bool) -> None:
        try:
            conn.sock.setblocking(False)
            left = conn.parser.unreader.take_buffered() if keep else b""
        except (AttributeError, OSError):  # closed already, or never parsed
            self._drop(conn)
            return
        self._leave(conn, left if keep else None)

    def _leave(self, conn: Connection, left: bytes | None) -> None:
        """Send what is left of an answer; then wait for the next request, or close (None)."""
        try:
            done = conn.sock.flush()
        except OSError:
            self._drop(conn)
            return
        if done:
            self._let_go(conn)
            if left is None:
                self._close(conn)
            else:
                conn.begin(left)
                self._expect_another(conn)
        elif conn not in self._held:
            waiting = conn.sock.waiting
            conn.deadline = time.monotonic() + ANSWER_S + waiting / ANSWER_BYTES_PER_S
            conn.after = self._give_up
            self._hold(conn, selectors.EVENT_WRITE, partial(self._leave, left=left))
            self._drop_slowest_readers()

    def _give_up(self, conn: Connection) -> None:
        metrics.TURNED_AWAY.labels("slow reader").inc()
        self._drop(conn)

    def _drop_slowest_readers(self) -> None:
        """Those that hold most first: asking for little is not cut off for asking for much."""
        leaving = [conn for conn in self._held if conn.after == self._give_up]
        leaving.sort(key=lambda conn: conn.sock.waiting, reverse=True)
        excess = sum(conn.sock.waiting for conn in leaving) - MOST_WAITING_BYTES
        for conn in leaving:
            if excess <= 0:
                return
            excess -= conn.sock.waiting
            self._give_up(conn)

    def _turn_away(
        self, conn: Connection, status: int, sentence: str, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Answer without a thread; the connection goes on where the whole request is here."""
        metrics.TURNED_AWAY.labels(str(status)).inc()
        self._let_go(conn)
        left = conn.rest_after_request() if status in refusals.RETRY_AFTER_S else None
        with contextlib.suppress(OSError):
            conn.sock.sendall(
                refusals.answer(
                    status,
                    sentence,
                    close=left is None,
                    path=conn.path,
                    headers=headers,
                    is_head=conn.method == b"HEAD",
                )
            )
        self._leave(conn, left)

    # and the connection ends --------------------------------------------------------------------

    def _close(self, conn: Connection) -> None:
        """Let the peer read to the end: an end with something unread would cut the answer off."""
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(conn)
            return
        conn.deadline, conn.after = time.monotonic() + LINGER_S, self._drop
        self._discard(conn)

    def _discard(self, conn: Connection) -> None:
        try:
            ended = not conn.sock.recv(65536)
        except BlockingIOError:
            ended = False
        except OSError:
            ended = True
        if ended:
            self._drop(conn)
        else:
            self._hold(conn, selectors.EVENT_READ, self._discard)

    def _drop(self, conn: Connection) -> None:
        self._let_go(conn)
        if not conn.dropped:
            conn.dropped = True
            self.nr_conns -= 1
            conn.close()

    # waiting ------------------------------------------------------------------------------------

    def _hold(self, conn: Connection, events: int, then: Any) -> None:
        if conn not in self._held:
            self._held[conn] = None
            self.poller.register(conn.sock, events, lambda _: then(conn))

    def _let_go(self, conn: Connection) -> None:
        if conn in self._held:
            del self._held[conn]
            with contextlib.suppress(OSError, KeyError, ValueError):
                self.poller.unregister(conn.sock)

    def notify(self) -> None:
        """Tell the arbiter that the loop turns: it looks once a second, and each telling is a
        write to a file."""
        now = time.monotonic()
        if now > self._notified_at + NOTIFY_S:
            self._notified_at = now
            super().notify()

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        if self._held or not self.alive:
            timeout = min(timeout, SWEEP_S)
        seats.waits(self.seat, self.nr_conns if self.alive else shares.GONE)
        events = self.poller.select(timeout)
        seats.wakes(self.seat)
        for key, _ in events:
            key.data(key.fileobj)

    def is_parent_alive(self) -> bool:
        """Who has lost the arbiter stops like one who was told to."""
        is_there = bool(super().is_parent_alive())
        self.alive = self.alive and is_there
        return is_there

    def murder_pending(self) -> None:
        """gunicorn's name for ending those whose time is up."""
        now = time.monotonic()
        if now < self._swept_at + SWEEP_S:
            return
        self._swept_at = now
        if not self.alive and self._stopped_at is None:
            self._stopped_at = now
        if self._stopped_at is not None and now > self._stopped_at + PASSING_S and not self._empty:
            self._empty, self.nr_conns = True, self.nr_conns - 1
        for conn in [one for one in self._held if one.deadline <= now]:
            conn.after(conn)

    def murder_keepalived(self, force: bool = False) -> None:
        for conn in list(self._held) if force else ():
            self._drop(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self._held:
            if conn.is_idle and conn.after == self._drop:
                conn.deadline = min(conn.deadline, deadline)


def _allow_files() -> None:
    """A socket is a file, and 1,024 of them are little more than the connections one process may
    have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
