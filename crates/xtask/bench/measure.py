"""Runs a program and says what it took."""

import os
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass


@dataclass
class Run:
    """Seconds and megabytes of a process that has ended."""

    wall: float
    cpu: float
    """Most memory it held, whatever backs it: `VmHWM`, looked at as `own` is. (`ru_maxrss` is no use: it has
    the memory of the process that started it.)"""
    peak: float
    """Most memory that no file backs, as `RssAnon` of `/proc/PID/status` shows it every two milliseconds:
    mapped pages of the input are not in it."""
    own: float
    code: int
    out: str
    err: str


def watch(pid, done, seen):
    path = f"/proc/{pid}/status"
    while not done.is_set():
        try:
            with open(path) as file:
                for line in file:
                    if line.startswith("RssAnon:"):
                        seen[0] = max(seen[0], int(line.split()[1]))
                        break
                    if line.startswith("VmHWM:"):
                        seen[1] = max(seen[1], int(line.split()[1]))
        except OSError:
            return
        done.wait(0.002)


class Group:
    """A memory cgroup of the system, of either version, that holds at most `limit` bytes."""

    PLACES = (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max"))

    def __init__(self, limit):
        for root, file in self.PLACES:
            self.path = f"{root}/mlc-bench-{os.getpid()}"
            try:
                os.mkdir(self.path)
                with open(f"{self.path}/{file}", "w") as out:
                    out.write(str(limit))
                return
            except OSError:
                self.close()
        self.path = None

    def enter(self):
        with open(f"{self.path}/cgroup.procs", "w") as out:
            out.write(str(os.getpid()))

    def close(self):
        try:
            os.rmdir(self.path)
        except OSError:
            pass


def run(command, environment=None, limit=None, group=None):
    """Runs `command` to its end, or ends it after `limit` seconds; in a memory cgroup if one is given."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=out, stderr=err, env=environment,
            preexec_fn=group.enter if group else None,
        )
        done, seen = threading.Event(), [0, 0]
        watcher = threading.Thread(target=watch, args=(process.pid, done, seen))
        watcher.start()
        clock = threading.Timer(limit or threading.TIMEOUT_MAX, process.kill)
        clock.daemon = True
        clock.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        clock.cancel()
        done.set()
        watcher.join()
        out.seek(0)
        err.seek(0)
        return Run(
            wall=wall,
            cpu=usage.ru_utime + usage.ru_stime,
            peak=seen[1] / 1e3,
            own=seen[0] / 1e3,
            code=process.returncode,
            out=out.read().decode(errors="replace"),
            err=err.read().decode(errors="replace"),
        )
