"""What the parent and the media child say to each other, and the child's side of it.

Two lines: over a socket the child asks for bytes of the source and the parent answers; over a pipe the child sends
frames (a chunk of a derivative, progress, one last report). The parent trusts neither: see `bwc.ingest.sandbox`.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

REQUEST: Final = struct.Struct(">QI")
"""Child to parent on the socket: offset and length in bytes."""

ANSWER: Final = struct.Struct(">I")
"""Parent to child on the socket: length of the bytes that follow; short only at the end of the source."""

FRAME: Final = struct.Struct(">cI")
"""Child to parent on the pipe: kind and length of the payload that follows."""

CHUNK: Final = b"C"
PROGRESS: Final = b"P"
REPORT: Final = b"R"

MAX_REQUEST: Final = 1 << 20
MAX_FRAME: Final = 4 << 20
"""Bytes; a longer request or frame is a breach and ends the child."""

EXIT_MEMORY: Final = 70
EXIT_REFUSED: Final = 71
EXIT_CRASHED: Final = 72
"""Exit codes of the child: memory limit met, a forbidden act was tried, an unforeseen error."""

_BLOCK: Final = 128 * 1024
_BLOCKS: Final = 24


class RemoteSource(io.RawIOBase):
    """The source as the child sees it: a seekable read-only file served by the parent, with a 3 MiB block cache."""

    def __init__(self, line: socket.socket, size: int) -> None:
        super().__init__()
        self._line = line
        self._size = size
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def tell(self) -> int:
        """Position in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move as `io.RawIOBase.seek`; a position before the start raises ValueError."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer` from the position; fewer bytes only at the end."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            index, start = divmod(self._position, _BLOCK)
            piece = self._block(index)[start : start + len(view) - done] if self._position < self._size else b""
            if not piece:
                break
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        return done

    def _block(self, index: int) -> bytes:
        block = self._blocks.get(index)
        if block is None:
            self._line.sendall(REQUEST.pack(index * _BLOCK, min(_BLOCK, self._size - index * _BLOCK)))
            (length,) = ANSWER.unpack(self._receive(ANSWER.size))
            block = self._receive(length)
            self._blocks[index] = block
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(index)
        return block

    def _receive(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            part = self._line.recv(length - len(parts))
            if not part:
                raise EOFError("the parent is gone")
            parts += part
        return bytes(parts)


class Reporter:
    """The child's mouth: frames on the result pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._permille = -1

    def chunk(self, data: bytes | memoryview) -> None:
        """Send the next bytes of a derivative, in order; at most `MAX_FRAME` of them."""
        self._send(CHUNK, bytes(data))

    def progress(self, permille: int) -> None:
        """Send progress, 0 to 1000; repeated values are not sent."""
        permille = max(0, min(1000, permille))
        if permille > self._permille:
            self._permille = permille
            self._send(PROGRESS, str(permille).encode())

    def report(self, facts: Mapping[str, Any]) -> None:
        """Send the last frame: the task's result as JSON."""
        self._send(REPORT, json.dumps(facts).encode())

    def _send(self, kind: bytes, payload: bytes) -> None:
        data = FRAME.pack(kind, len(payload)) + payload
        sent = 0
        while sent < len(data):
            sent += os.write(self._descriptor, data[sent:])
