"""Walking a MIL program, and its types in a form that can be compared."""

from coremltools import proto

DATA_TYPE = proto.MIL_pb2.DataType


def dtype_name(number):
    """`FLOAT16`, `INT32` …; the number itself if the enumeration has no name for it."""
    try:
        return DATA_TYPE.Name(number)
    except ValueError:
        return f"data type {number}"


def dims(tensor_type):
    """Sizes, `None` where a dimension is not known."""
    return [
        dim.constant.size if dim.WhichOneof("dimension") == "constant" else None
        for dim in tensor_type.dimensions
    ]


def declared(value_type):
    """A ValueType as nested tuples: kind, then what it holds."""
    kind = value_type.WhichOneof("type")
    if kind == "tensorType":
        return ("tensor", dtype_name(value_type.tensorType.dataType), dims(value_type.tensorType))
    if kind == "listType":
        return ("list", declared(value_type.listType.type))
    if kind == "dictionaryType":
        types = value_type.dictionaryType
        return ("dict", declared(types.keyType), declared(types.valueType))
    if kind == "stateType":
        return ("state", declared(value_type.stateType.wrappedType))
    return (str(kind),)


def show(kind):
    """A type in the spelling of MIL text."""
    if kind[0] == "tensor":
        shape = ", ".join("?" if size is None else str(size) for size in kind[2])
        return f"{kind[1]}[{shape}]"
    return f"{kind[0]}<{', '.join(show(part) for part in kind[1:])}>"


def agree(one, other):
    """Whether two types are equal as far as both know their sizes."""
    if one[0] != other[0] or len(one) != len(other):
        return False
    if one[0] != "tensor":
        return all(agree(a, b) for a, b in zip(one[1:], other[1:]))
    same_size = (a == b or a is None or b is None for a, b in zip(one[2], other[2]))
    return one[1] == other[1] and len(one[2]) == len(other[2]) and all(same_size)


def functions(program):
    """Name, function and body of each function, by name. The body may be missing."""
    for name in sorted(program.functions):
        function = program.functions[name]
        yield name, function, function.block_specializations.get(function.opset)


def operations(block):
    """All operations of `block` and of the blocks in them, in order."""
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:
            yield from operations(inner)


def values(block):
    """All literal values below `block`, each with the operation that holds it."""
    for operation in operations(block):
        for name in sorted(operation.attributes):
            for value in parts(operation.attributes[name]):
                yield operation, value
        for name in sorted(operation.inputs):
            for binding in operation.inputs[name].arguments:
                if binding.WhichOneof("binding") == "value":
                    for value in parts(binding.value):
                        yield operation, value


def parts(value):
    """`value` and the values inside it."""
    yield value
    if value.WhichOneof("value") != "immediateValue":
        return
    kind = value.immediateValue.WhichOneof("value")
    if kind in ("list", "tuple"):
        for part in getattr(value.immediateValue, kind).values:
            yield from parts(part)
    elif kind == "dictionary":
        for pair in value.immediateValue.dictionary.values:
            yield from parts(pair.key)
            yield from parts(pair.value)


def label(operation):
    """`conv -> y`: how a problem names an operation."""
    outputs = ", ".join(output.name for output in operation.outputs)
    return f"{operation.type} -> {outputs}" if outputs else operation.type
