"""One small HTTP/1.1 client for every server measured: `python -m benchmarks.client CONFIGURATION`.

Several connections, each a thread that asks for the next thing when the last byte of the one before has come. Bodies
are received into one buffer and thrown away. Prints bytes, seconds, latencies and its own CPU as JSON.
"""

from __future__ import annotations

import json
import random
import resource
import socket
import sys
import threading
import time
from dataclasses import dataclass, field

BUFFER = 256 * 1024


@dataclass(frozen=True)
class Asked:
    """What to ask of whom: `range_bytes` 0 asks for the whole. `size` is the resource's, in bytes."""

    port: int
    path: str
    headers: dict[str, str]
    size: int
    range_bytes: int
    clients: int
    seconds: float


@dataclass
class Heard:
    """What a connection received."""

    received: int = 0
    latencies_ms: list[float] = field(default_factory=list)
    fault: str = ""


def run(asked: Asked) -> dict[str, object]:
    """Ask for `seconds`; what was under way then is finished."""
    heard = [Heard() for _ in range(asked.clients)]
    began = time.perf_counter()
    threads = [
        threading.Thread(target=_one, args=(asked, each, number, began + asked.seconds))
        for number, each in enumerate(heard)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faults = [each.fault for each in heard if each.fault]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": time.perf_counter() - began,
        "received": sum(each.received for each in heard),
        "latencies_ms": sorted(value for each in heard for value in each.latencies_ms),
        "client_cpu_s": usage.ru_utime + usage.ru_stime,
        "fault": faults[0] if faults else "",
    }


def _one(asked: Asked, heard: Heard, number: int, until: float) -> None:
    try:
        _ask_until(asked, heard, random.Random(number), until)
    except (OSError, ValueError) as error:
        heard.fault = f"{type(error).__name__}: {error}"


def _ask_until(asked: Asked, heard: Heard, chance: random.Random, until: float) -> None:
    buffer = bytearray(BUFFER)
    fixed = "".join(f"{name}: {value}\r\n" for name, value in asked.headers.items())
    head = f"GET {asked.path} HTTP/1.1\r\nHost: 127.0.0.1:{asked.port}\r\n{fixed}"
    line: socket.socket | None = None
    while time.perf_counter() < until:
        wanted = ""
        if asked.range_bytes:
            start = chance.randrange(asked.size - asked.range_bytes)
            wanted = f"Range: bytes={start}-{start + asked.range_bytes - 1}\r\n"
        began = time.perf_counter()
        line = line or socket.create_connection(("127.0.0.1", asked.port), timeout=60)
        line.sendall(f"{head}{wanted}\r\n".encode())
        count, closes = _answer(line, memoryview(buffer), 206 if wanted else 200)
        heard.received += count
        heard.latencies_ms.append((time.perf_counter() - began) * 1000)
        if closes:
            line.close()
            line = None
    if line is not None:
        line.close()


def _answer(line: socket.socket, buffer: memoryview, status: int) -> tuple[int, bool]:
    """(body bytes, whether the server closes) of one answer; raises ValueError unless it is `status`."""
    got = 0
    while (end := bytes(buffer[:got]).find(b"\r\n\r\n")) < 0:
        count = line.recv_into(buffer[got:])
        if not count:
            raise ValueError("closed before an answer")
        got += count
    head = bytes(buffer[:end]).decode("latin-1").lower()
    if not head.startswith(f"http/1.1 {status}"):
        raise ValueError(head.split("\r\n")[0])
    length = int(head.split("content-length:")[1].split("\r\n")[0])
    left = length - (got - end - 4)
    while left:
        count = line.recv_into(buffer[: min(left, BUFFER)])
        if not count:
            raise ValueError("closed within an answer")
        left -= count
    return length, "connection: close" in head


if __name__ == "__main__":
    print(json.dumps(run(Asked(**json.loads(sys.argv[1])))))
