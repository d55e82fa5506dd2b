"""What a measured process says of itself, on the last line it prints: seconds without its start and imports."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def cpu_s() -> float:
    """CPU seconds so far, of this process and of its children that have ended."""
    usages = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


@contextmanager
def told(**more: Any) -> Iterator[dict[str, Any]]:
    """Print what the body took, with whatever it adds."""
    began, spent = time.perf_counter(), cpu_s()
    yield more
    print(json.dumps({"act_wall_s": time.perf_counter() - began, "act_cpu_s": cpu_s() - spent, **more}))
