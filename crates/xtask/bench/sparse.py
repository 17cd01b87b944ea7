"""Exported programs of models that are larger than memory and disk.

Their weights are holes of the file but for the first elements, which tell them apart: they are zeros that
take no space, and the graph is that of `torch.export`.
"""

import io
import pickle
import struct
import zlib
from unittest import mock

import torch


class Archive:
    """A zip archive of stored entries, written into `file` from where it stands. Entries may have holes."""

    def __init__(self, file):
        self.file, self.start, self.entries = file, file.tell(), []

    def begin(self, name, align=1):
        """Leaves room for the head of an entry. Its bytes begin where the file stands then."""
        at = self.file.tell()
        pad = -(at - self.start + 30 + len(name) + 24) % align
        self.file.seek(30 + len(name) + 24 + pad, io.SEEK_CUR)
        self.entries.append([name.encode(), at, pad, self.file.tell(), 0, 0])

    def end(self, crc=0):
        """Ends the entry that was begun last where the file stands."""
        entry = self.entries[-1]
        end = self.file.tell()
        name, at, pad, data = entry[:4]
        entry[4:] = [end - data, crc]
        self.file.seek(at)
        big = 0xFFFFFFFF
        fixed = (0x04034B50, 45, 0, 0, 0, 0x21, crc, big, big, len(name), 24 + pad)
        extra = struct.pack("<HHQQHH", 1, 16, end - data, end - data, 0x5A5A, pad)
        self.file.write(struct.pack("<IHHHHHIIIHH", *fixed) + name + extra)
        self.file.seek(end)

    def add(self, name, content):
        self.begin(name)
        self.file.write(content)
        self.end(zlib.crc32(content))

    def close(self):
        directory, big = self.file.tell(), 0xFFFFFFFF
        for name, at, _, _, size, crc in self.entries:
            fixed = (0x02014B50, 45, 45, 0, 0, 0, 0x21, crc, big, big, len(name), 28, 0, 0, 0, 0, big)
            extra = struct.pack("<HHQQQ", 1, 24, size, size, at - self.start)
            self.file.write(struct.pack("<IHHHHHHIIIHHHHHII", *fixed) + name + extra)
        end, count = self.file.tell(), len(self.entries)
        place = (count, count, end - directory, directory - self.start)
        self.file.write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, *place))
        self.file.write(struct.pack("<IIQI", 0x07064B50, 0, end - self.start, 1))
        self.file.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, big, big, 0))


class Pickler(pickle.Pickler):
    """Pickles tensors as `torch.save` does, storages by number."""

    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.sizes = []

    def persistent_id(self, thing):
        if not isinstance(thing, torch.storage.TypedStorage):
            return None
        self.sizes.append(thing._untyped_storage.nbytes())
        return ("storage", torch.FloatStorage, str(len(self.sizes) - 1), "cpu", thing.size())


def weights(file, state):
    """Writes what `torch.save(state)` would, with holes for the numbers. No two tensors share them."""
    inner = Archive(file)
    head = io.BytesIO()
    pickler = Pickler(head)
    pickler.dump({name: tensor.detach() for name, tensor in state.items()})
    inner.add("archive/data.pkl", head.getvalue())
    inner.add("archive/byteorder", b"little")
    for number, size in enumerate(pickler.sizes):
        inner.begin(f"archive/data/{number}", align=64)
        end = file.tell() + size
        file.write(struct.pack("<ff", 0.5 + number / 4096, -number / 4096)[:size])
        file.seek(end)
        inner.end()
    inner.add("archive/version", b"3\n")
    inner.close()


def save(program, path):
    """`torch.export.save` of a program whose weights are singles that nobody has written."""
    from torch._export.serde import serialize as serde

    state, plain = program.state_dict, serde.serialize_torch_artifact
    small = lambda artifact, *rest: b"" if artifact and artifact.keys() == state.keys() else plain(artifact, *rest)
    is_dict = lambda artifact, *rest: (small if isinstance(artifact, dict) else plain)(artifact, *rest)
    with mock.patch.object(serde, "serialize_torch_artifact", is_dict):
        artifact = serde.serialize(program)
    with open(path, "wb") as file:
        outer = Archive(file)
        outer.add("serialized_exported_program.json", artifact.exported_program)
        outer.begin("serialized_state_dict.pt", align=64)
        weights(file, state)
        outer.end()
        outer.add("serialized_constants.pt", artifact.constants)
        outer.add("serialized_example_inputs.pt", artifact.example_inputs)
        outer.add("version", ".".join(map(str, serde.SCHEMA_VERSION)).encode())
        outer.close()
