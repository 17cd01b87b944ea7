"""What no conversion can undercut: copies, and reading, rounding and writing the weights."""

import os
import shutil
import struct
import time
import zipfile

import torch

WINDOW = 1 << 24


def free(folder):
    return shutil.disk_usage(folder).free


def copy(source, goal):
    """Seconds that `cp -r` takes, the faster of two times, if there is space; what it makes is removed again."""
    size = sum(file.stat().st_size for file in [source, *source.rglob("*")] if file.is_file())
    if free(goal.parent) < 1.2 * size:
        return None
    times = []
    for _ in range(2 if size < 5e9 else 1):
        start = time.perf_counter()
        if source.is_dir():
            shutil.copytree(source, goal)
        else:
            shutil.copyfile(source, goal)
        times.append(time.perf_counter() - start)
        remove(goal)
    return min(times)


def weights_begin(source):
    """Where the bytes of the largest entry of an archive begin: its tensors stand at multiples of 64 from there."""
    with zipfile.ZipFile(source) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    with open(source, "rb") as file:
        file.seek(largest.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return largest.header_offset + 30 + name + extra


def round_weights(source, goal):
    """Seconds to read all bytes of `source` as singles and to write them to `goal` as halves, a window at a
    time with PyTorch's vector loops on all cores, if there is space."""
    if free(goal.parent) < source.stat().st_size:
        return None
    buffer = bytearray(WINDOW)
    singles = torch.frombuffer(buffer, dtype=torch.float32)
    halves = torch.empty(len(singles), dtype=torch.float16)
    start = time.perf_counter()
    with open(source, "rb", buffering=0) as reader, open(goal, "wb", buffering=0) as writer:
        reader.seek(weights_begin(source) % 64)
        while size := reader.readinto(buffer):
            count = size // 4
            halves[:count].copy_(singles[:count])
            writer.write(memoryview(halves.numpy())[:count])
    seconds = time.perf_counter() - start
    remove(goal)
    return seconds


def warm(path):
    """Reads a file, so that every tool finds it in memory, if it fits there."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if path.stat().st_size > memory / 2:
        return
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
