"""The media child: started by `bwc.ingest.sandbox`, one task, one hostile file, then gone.

`python -I -m bwc.ingest.media_child SETTINGS` with the settings as JSON; nobody runs it by hand. It locks itself in
before it asks for the first byte. It never raises to its parent: an exit code says how it ended.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import pkgutil
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from bwc.ingest import media_confine
from bwc.ingest.media_wire import EXIT_CRASHED, EXIT_MEMORY, EXIT_REFUSED, RemoteSource, Reporter

Task = Callable[[RemoteSource, int, Mapping[str, Any], Reporter], dict[str, Any]]
"""A task: source, its size in bytes, options, reporter; gives its report."""


def _drill() -> Task:
    from bwc.ingest.media_drill import drill

    return drill


def _load_av() -> None:
    """Load the whole of PyAV and NumPy now: they import parts of themselves when first used, which is too late."""
    import av
    import numpy

    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name not in ("av.__main__", "av.datasets"):
            importlib.import_module(module.name)
    numpy.dtype("float32")


def _facts() -> Task:
    _load_av()
    from bwc.ingest.media_probe import probe

    return probe


def _poster() -> Task:
    _load_av()
    from bwc.ingest.media_transcode import poster

    return poster


def _proxy() -> Task:
    _load_av()
    from bwc.ingest.media_transcode import proxy

    return proxy


TASKS: Mapping[str, Callable[[], Task]] = {
    "drill": _drill,
    "facts": _facts,
    "poster": _poster,
    "proxy": _proxy,
}
"""Tasks by name; each entry loads its libraries, which must happen before files can no longer be opened."""

_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENETUNREACH}


def main(arguments: list[str]) -> int:
    """Exit code after the one task of `arguments` (JSON settings as `sandbox` writes them)."""
    settings = json.loads(arguments[0])
    network = media_confine.confine(**settings["confine"])
    try:
        task = TASKS[settings["task"]]()
        layers = {"network": network, "calls": media_confine.seal()}
        reporter = Reporter(settings["out"])
        options = dict(settings["options"], spool=settings["spool"], spool_bytes=settings["spool_bytes"])
        with socket.socket(fileno=settings["line"]) as line:
            report = task(RemoteSource(line, settings["size"]), settings["size"], options, reporter)
        reporter.report({**report, "confinement": layers})
    except MemoryError:
        return EXIT_MEMORY
    except OSError as error:
        traceback.print_exc()
        return EXIT_REFUSED if error.errno in _FORBIDDEN else EXIT_CRASHED
    except Exception:
        traceback.print_exc()
        return EXIT_CRASHED
    return 0


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
