"""Feature descriptions against the inputs, outputs and states of the functions."""

import mil
from coremltools import proto

FEATURES = proto.FeatureTypes_pb2
ARRAY_DTYPES = {"FLOAT32": "FLOAT32", "FLOAT16": "FLOAT16", "INT32": "INT32", "INT8": "INT8"}
CHANNELS = {"RGB": 3, "BGR": 3, "GRAYSCALE": 1, "GRAYSCALE_FLOAT16": 1}


def check(model, result):
    described = describe(model)
    program = model.mlProgram
    for name in sorted(set(described) | set(program.functions)):
        if name not in described or name not in program.functions:
            missing = "description" if name in program.functions else "program"
            result["problems"].append(f"{name}: the {missing} has no such function")
            continue
        function = program.functions[name]
        block = function.block_specializations.get(function.opset)
        if block is not None:
            problems = check_function(described[name], function, block)
            result["problems"].extend(f"{name}: {problem}" for problem in problems)


def describe(model):
    """Function name to its description."""
    description = model.description
    if not description.functions:
        return {"main": description}
    return {function.name: function for function in description.functions}


def check_function(description, function, block):
    types = {value.name: mil.declared(value.type) for value in function.inputs}
    states = [name for name, kind in types.items() if kind[0] == "state"]
    inputs = [name for name in types if name not in states]
    yield from same_names("inputs", description.input, inputs)
    yield from same_names("states", description.state, states)
    yield from same_names("outputs", description.output, list(block.outputs))
    for feature in description.input:
        if feature.name in inputs:
            for problem in check_feature(feature.type, types[feature.name], True):
                yield f"input `{feature.name}`: {problem}"
    for feature in description.state:
        if feature.name in states:
            array = feature.type.stateType.arrayType
            for problem in check_array(array, types[feature.name][1], True):
                yield f"state `{feature.name}`: {problem}"
    produced = {}
    for operation in block.operations:
        produced.update((value.name, mil.declared(value.type)) for value in operation.outputs)
    for feature in description.output:
        if feature.name in produced:
            for problem in check_feature(feature.type, produced[feature.name], False):
                yield f"output `{feature.name}`: {problem}"


def same_names(what, features, names):
    described = [feature.name for feature in features]
    if described != names:
        yield f"{what} {described} described, {names} in the program"


def check_feature(feature, kind, is_input):
    member = feature.WhichOneof("Type")
    if member == "multiArrayType":
        yield from check_array(feature.multiArrayType, kind, is_input)
    elif member == "imageType":
        yield from check_image(feature.imageType, kind)
    elif member in ("dictionaryType", "sequenceType"):
        if kind[0] not in ("dict", "list"):
            yield f"described as {member}, {mil.show(kind)} in the program"
    elif member in ("stringType", "int64Type"):
        dtype = {"stringType": "STRING", "int64Type": "INT64"}[member]
        if kind != ("tensor", dtype, []):
            yield f"described as {member}, {mil.show(kind)} in the program"
    else:
        yield f"described as {member}"


def check_array(array, kind, is_input):
    dtype = FEATURES.ArrayFeatureType.ArrayDataType.Name(array.dataType)
    if kind[0] != "tensor" or ARRAY_DTYPES.get(kind[1]) != dtype:
        yield f"described as array of {dtype}, {mil.show(kind)} in the program"
        return
    shape = list(array.shape)
    sizes = kind[2] or [1]
    if not is_input and (not shape or not kind[2]):
        return
    if len(shape) != len(sizes):
        yield f"shape {shape} described, {mil.show(kind)} in the program"
        return
    for axis, (size, actual) in enumerate(zip(shape, sizes)):
        if actual is not None and size != actual:
            yield f"axis {axis}: size {size} described, {mil.show(kind)} in the program"
    if is_input:
        yield from check_flexibility(array, shape, sizes)


def check_flexibility(array, shape, sizes):
    flexible = {axis for axis, size in enumerate(sizes) if size is None}
    form = array.WhichOneof("ShapeFlexibility")
    if form == "enumeratedShapes":
        shapes = [list(entry.shape) for entry in array.enumeratedShapes.shapes]
        if shape not in shapes:
            yield f"default shape {shape} is not among the enumerated"
        if any(len(entry) != len(sizes) for entry in shapes):
            yield "an enumerated shape has another rank"
            return
        allowed = {axis for axis in range(len(sizes)) if len({entry[axis] for entry in shapes}) > 1}
    elif form == "shapeRange":
        ranges = array.shapeRange.sizeRanges
        if len(ranges) != len(sizes):
            yield f"{len(ranges)} size ranges for rank {len(sizes)}"
            return
        for axis, (bounds, size) in enumerate(zip(ranges, shape)):
            above = bounds.upperBound >= 0 and size > bounds.upperBound
            if size < bounds.lowerBound or above:
                yield f"axis {axis}: default {size} is outside its range"
        allowed = {a for a, bounds in enumerate(ranges) if bounds.lowerBound != bounds.upperBound}
    else:
        allowed = set()
    if allowed != flexible:
        described, actual = sorted(allowed), sorted(flexible)
        yield f"axes {described} are described as flexible, {actual} are in the program"


def check_image(image, kind):
    space = FEATURES.ImageFeatureType.ColorSpace.Name(image.colorSpace)
    dtype = "FLOAT16" if space == "GRAYSCALE_FLOAT16" else "FLOAT32"
    if kind[0] != "tensor" or kind[1] not in (dtype, "FLOAT16") or len(kind[2]) != 4:
        yield f"described as {space} image, {mil.show(kind)} in the program"
        return
    expected = [1, CHANNELS.get(space), image.height, image.width]
    for size, actual in zip(expected, kind[2]):
        if actual is not None and size != actual:
            yield f"image {expected} described, {mil.show(kind)} in the program"
            return
