"""What no conversion can undercut: copies, and reading, rounding and writing the weights."""

import shutil
import time

import numpy

WINDOW = 1 << 22


def copy(source, goal):
    """Seconds that `cp -r` takes, if there is space; what it makes is removed again."""
    size = sum(file.stat().st_size for file in [source, *source.rglob("*")] if file.is_file())
    if shutil.disk_usage(goal.parent).free < 1.5 * size:
        return None
    start = time.perf_counter()
    if source.is_dir():
        shutil.copytree(source, goal)
    else:
        shutil.copyfile(source, goal)
    seconds = time.perf_counter() - start
    remove(goal)
    return seconds


def round_weights(source, goal):
    """Seconds to read all bytes of `source` as singles and to write them to `goal` as halves, if there is
    space."""
    if shutil.disk_usage(goal.parent).free < source.stat().st_size:
        return None
    start = time.perf_counter()
    with open(source, "rb") as reader, open(goal, "wb") as writer:
        while window := reader.read(4 * WINDOW):
            singles = numpy.frombuffer(window[: len(window) // 4 * 4], dtype="<f4")
            with numpy.errstate(all="ignore"):
                writer.write(singles.astype("<f2").tobytes())
    seconds = time.perf_counter() - start
    remove(goal)
    return seconds


def warm(path):
    """Reads a file, so that every tool finds it in memory."""
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
