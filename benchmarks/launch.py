"""Runs one command and prints what it took. Small, because a child's peak memory counts from its parent's at the fork.

Run by path with `python -I -S`: standard library only, few modules. Peaks under its own 10 MB or so cannot be told.
"""

import os
import sys
import time


def main() -> int:
    """Last line printed: wall and CPU seconds of the command and its children, peak RSS in MB of the largest."""
    began = time.perf_counter()
    pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ)
    _, status, usage = os.wait4(pid, 0)
    wall = time.perf_counter() - began
    cpu, rss = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f'\n{{"wall_s": {wall}, "cpu_s": {cpu}, "rss_mb": {rss}}}')
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main())
