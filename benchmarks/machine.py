"""What a figure depends on: cores, processor, kernel, file system, load, versions."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import ssl
import subprocess
from pathlib import Path

import cryptography
from cryptography.hazmat.backends.openssl import backend


def facts(folder: Path) -> dict[str, str]:
    """Facts of this machine and of the file system that holds `folder`."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    huge = _read(Path("/sys/kernel/mm/transparent_hugepage/enabled"))
    return {
        "processor": f"{os.cpu_count()} x {_processor()}",
        "memory": f"{memory / 2**30:.1f} GiB, huge pages {huge or 'unknown'}",
        "kernel": platform.release(),
        "file system": _file_system(folder),
        "python": f"{platform.python_version()}, hashes by {ssl.OPENSSL_VERSION}",
        "cryptography": f"{cryptography.__version__}, {backend.openssl_version_text()}",
        "sqlite": sqlite3.sqlite_version,
    }


def load() -> str:
    """Load averages over 1, 5 and 15 minutes."""
    return " ".join(f"{each:.2f}" for each in os.getloadavg())


def program(name: str) -> str | None:
    """Where a program is, those of the administrator too."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def version(*command: str) -> str:
    """First version number a program gives of itself; empty when it gives none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except OSError:
        return ""
    found = re.search(r"\d+\.\d+[.\w]*", done.stdout + done.stderr)
    return found[0] if found else ""


def _processor() -> str:
    info = _read(Path("/proc/cpuinfo"))
    model = re.search(r"model name\s*:\s*(.+)", info)
    flags = set(re.findall(r"\b(sha_ni|vaes|avx512f)\b", info))
    return f"{model[1] if model else platform.machine()} ({' '.join(sorted(flags)) or 'no hash instructions'})"


def _file_system(folder: Path) -> str:
    best, kind = "", "unknown"
    for line in _read(Path("/proc/mounts")).splitlines():
        device, point, name = line.split(" ")[:3]
        if folder.resolve().is_relative_to(point) and len(point) >= len(best):
            best, kind = point, f"{name} on {device}"
    return kind


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
