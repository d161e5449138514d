"""HTTP load from a process of its own: kept-alive connections and one event loop, so that it costs little of the cores.

A request is a template of bytes with at most one `%(number)010d`, which gets a number of its own each time.
"""

import multiprocessing
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle


@dataclass(slots=True)
class Load:
    """What came of it: answers by status, the time they took together, and each one's latency; seconds."""

    seconds: float
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    server_times: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return self.statuses[200] / self.seconds

    @property
    def answers(self) -> int:
        return sum(self.statuses.values())

    def ensure_all_ok(self) -> None:
        """Raise when any answer was not a 200: a rate of refusals is no rate."""
        if set(self.statuses) != {200}:
            raise RuntimeError(f"not every request was answered with 200: {dict(self.statuses)}")


def request(method: str, path: str, key: str, body: bytes = b"", numbers: int = 0) -> bytes:
    """One HTTP request; with `numbers`, the body's `%(number)010d` is kept for the load to fill in."""
    length = len(body) - numbers * (len(b"%(number)010d") - 10)
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n" if body else "\r\n"
    return head.encode() + body


def drive(
    port: int, requests: Sequence[bytes], *, concurrency: int, seconds: float = 0.0, number_from: int = 0
) -> Load:
    """Send the requests in turn over `concurrency` connections: for `seconds`, or each once when that is zero."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    arguments = (theirs, port, list(requests), concurrency, seconds, number_from)
    process = context.Process(target=_drive, args=arguments)
    process.start()
    theirs.close()
    try:
        load = ours.recv()
    except EOFError:
        raise RuntimeError("the load generator died") from None
    process.join()
    load.ensure_all_ok()
    return load


def _drive(pipe, port: int, requests: list[bytes], concurrency: int, seconds: float, number_from: int) -> None:  # type: ignore[no-untyped-def]
    numbers = count(number_from)
    source: Iterator[bytes] = cycle(requests) if seconds else iter(requests)
    numbered = b"%(number)010d" in requests[0]
    messages = (each % {b"number": next(numbers)} if numbered else each for each in source)
    selector = selectors.EpollSelector()
    load, idle = Load(0.0), deque(_connect(port) for _ in range(concurrency))
    started = time.perf_counter()
    deadline = started + seconds if seconds else float("inf")
    under_way = 0
    while True:
        while idle and time.perf_counter() < deadline and (message := next(messages, None)) is not None:
            connection = idle.popleft()
            connection.setblocking(True)
            connection.sendall(message)
            connection.setblocking(False)
            selector.register(connection, selectors.EVENT_READ, [time.perf_counter(), b""])
            under_way += 1
        if not under_way:
            break
        for key, _ in selector.select():
            key.data[1] += key.fileobj.recv(1 << 20)
            status = _complete(key.data[1], load)
            if status:
                load.latencies.append(time.perf_counter() - key.data[0])
                load.statuses[status] += 1
                selector.unregister(key.fileobj)
                idle.append(key.fileobj)
                under_way -= 1
    load.seconds = time.perf_counter() - started
    pipe.send(load)


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _complete(answer: bytes, load: Load) -> int:
    """The status of an answer that has arrived whole, else 0."""
    head, found, body = answer.partition(b"\r\n\r\n")
    if not answer:
        raise RuntimeError("the server closed a connection")
    if not found:
        return 0
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    if len(body) < length:
        return 0
    mark = head.lower().partition(b"server-timing: app;dur=")[2]
    if mark:
        load.server_times.append(float(mark.split(b"\r\n", 1)[0]) / 1000)
    return int(head[9:12])
