"""How far an offload is, and how fast it goes, for the board."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Progress:
    """Bytes safe in this session, and how fast they come, for the board."""

    done: int = 0
    before: int = 0
    started: float = 0.0
    reported: float = 0.0

    def rate(self) -> int:
        """Bytes per second since the first one of this session."""
        elapsed = time.monotonic() - self.started
        return int((self.done - self.before) / elapsed) if elapsed > 0.2 else 0
