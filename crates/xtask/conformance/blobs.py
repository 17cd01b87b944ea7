"""The weight file: parsed here from its layout, and read again with coremltools."""

import math
import os
import struct

import numpy as np
from coremltools.libmilstoragepython import _BlobStorageReader

import mil

ALIGNMENT = 64
SENTINEL = 0xDEADBEEF
PREFIX = "@model_path/weights/"
# dtype in the program: (code in the file, bits, method of the reader)
DTYPES = {
    "FLOAT16": (1, 16, "read_fp16_data"),
    "FLOAT32": (2, 32, "read_float_data"),
    "UINT8": (3, 8, "read_uint8_data"),
    "INT8": (4, 8, "read_int8_data"),
    "BFLOAT16": (5, 16, None),
    "INT16": (6, 16, "read_int16_data"),
    "UINT16": (7, 16, "read_uint16_data"),
    "INT4": (8, 4, "read_int4_data"),
    "UINT1": (9, 1, "read_uint1_data"),
    "UINT2": (10, 2, "read_uint2_data"),
    "UINT4": (11, 4, "read_uint4_data"),
    "UINT3": (12, 3, "read_uint3_data"),
    "UINT6": (13, 6, "read_uint6_data"),
    "INT32": (14, 32, "read_int32_data"),
    "UINT32": (15, 32, "read_uint32_data"),
    "FLOAT8E4M3FN": (16, 8, None),
    "FLOAT8E5M2": (17, 8, None),
}


class Fault(Exception):
    """What is wrong with a blob or a weight file."""


class WeightFile:
    """A weight file with the records that its header promises."""

    def __init__(self, path):
        if not os.path.isfile(path) or os.path.getsize(path) < ALIGNMENT:
            raise Fault("no weight file of at least 64 bytes")
        self.bytes = np.memmap(path, dtype=np.uint8, mode="r")
        self.count, version = struct.unpack_from("<II", self.bytes)
        if version != 2:
            raise Fault(f"storage version {version}, not 2")
        if self.bytes[8:ALIGNMENT].any():
            raise Fault("reserved bytes of the header are not zero")
        self.records = self.read_records()
        self.reader = _BlobStorageReader(path)

    def read_records(self):
        """Metadata offset to (dtype code, payload offset, size, padding bits)."""
        records, at = {}, ALIGNMENT
        while at < len(self.bytes):
            if len(records) == self.count:
                raise Fault(f"the header counts {self.count} blobs; bytes follow at {at}")
            if at + ALIGNMENT > len(self.bytes):
                raise Fault(f"the record at {at} is cut off")
            sentinel, code, size, payload, padding = struct.unpack_from("<IIQQQ", self.bytes, at)
            if sentinel != SENTINEL:
                raise Fault(f"no record at {at}: {sentinel:#x}")
            if payload != at + ALIGNMENT or payload + size > len(self.bytes):
                raise Fault(f"the record at {at} has payload {payload}..{payload + size}")
            if self.bytes[at + 32 : at + ALIGNMENT].any():
                raise Fault(f"reserved bytes of the record at {at} are not zero")
            records[at] = (code, payload, size, padding)
            end = payload + size
            at = -(-end // ALIGNMENT) * ALIGNMENT
            if self.bytes[end : min(at, len(self.bytes))].any():
                raise Fault(f"the gap after {end} is not zero")
        if len(records) != self.count:
            raise Fault(f"the header counts {self.count} blobs, {len(records)} found")
        return records


def check(model, weights, result):
    files, seen = {}, set()
    for name, _, block in mil.functions(model.mlProgram):
        if block is None:
            continue
        for operation, value in mil.values(block):
            if value.WhichOneof("value") != "blobFileValue":
                continue
            blob = value.blobFileValue
            kind = mil.declared(value.type)
            key = (blob.fileName, blob.offset, mil.show(kind))
            if key in seen:
                continue
            seen.add(key)
            result["blobs"] += 1
            try:
                check_blob(open_file(blob.fileName, weights, files), blob.offset, kind)
            except Fault as fault:
                place = f"{name}: {mil.label(operation)}: {blob.fileName}@{blob.offset}"
                result["problems"].append(f"{place}: {fault}")


def open_file(name, weights, files):
    if not name.startswith(PREFIX) or "/" in name[len(PREFIX) :]:
        raise Fault(f"a file name begins with {PREFIX}")
    if name not in files:
        files[name] = WeightFile(os.path.join(weights, name[len(PREFIX) :]))
    return files[name]


def check_blob(file, offset, kind):
    if kind[0] != "tensor" or kind[1] not in DTYPES or None in kind[2]:
        raise Fault(f"a value of type {mil.show(kind)} cannot stand in a file")
    if offset not in file.records:
        raise Fault("no record begins there")
    code, payload, size, padding = file.records[offset]
    expected_code, bits, read = DTYPES[kind[1]]
    if code != expected_code:
        raise Fault(f"dtype code {code}; {kind[1]} has {expected_code}")
    count = math.prod(kind[2])
    if size != -(-count * bits // 8):
        raise Fault(f"{size} bytes for {mil.show(kind)}")
    if bits < 8 and padding != size * 8 - count * bits:
        raise Fault(f"{padding} bits of padding for {mil.show(kind)}")
    stored = file.bytes[payload : payload + size]
    if read is None:
        return
    theirs = np.asarray(getattr(file.reader, read)(offset))
    if bits >= 8:
        same = np.array_equal(theirs.view(np.uint8).reshape(-1), stored)
    else:
        same = np.array_equal(theirs.astype(np.int64) & (2**bits - 1), unpack(stored, bits, count))
    if not same:
        raise Fault("coremltools reads other values there")


def unpack(stored, bits, count):
    """Elements of `bits` bits, least significant bit first, as unsigned numbers."""
    stream = np.unpackbits(stored, bitorder="little")[: count * bits].reshape(count, bits)
    return stream.astype(np.int64) @ (1 << np.arange(bits))
