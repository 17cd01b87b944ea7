"""Operation set, names and scopes of the program."""

import re

import mil

OPSETS = {6: "CoreML5", 7: "CoreML6", 8: "CoreML7", 9: "CoreML8", 10: "CoreML9"}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_@]*\Z")


def check(model, result):
    problems = result["problems"]
    program = model.mlProgram
    version = model.specificationVersion
    if version not in OPSETS:
        problems.append(f"specification version {version}; an ML program has {min(OPSETS)} or later")
    if program.version != 1:
        problems.append(f"program version {program.version}, not 1")
    if not program.functions:
        problems.append("no function")
    for name, function, block in mil.functions(program):
        if function.opset != OPSETS.get(version):
            expected = OPSETS.get(version, "no known opset")
            problems.append(
                f"{name}: opset `{function.opset}` in specification version {version}: {expected}"
            )
        if list(function.block_specializations) != [function.opset]:
            keys = ", ".join(sorted(function.block_specializations))
            problems.append(f"{name}: bodies for `{keys}`, not just for `{function.opset}`")
        if block is None:
            continue
        result["ops"] += sum(1 for _ in mil.operations(block))
        scope = set()
        define(scope, (value.name for value in function.inputs), name, problems)
        check_block(block, scope, name, problems)
        produced = {value.name for operation in block.operations for value in operation.outputs}
        for output in block.outputs:
            if output not in produced:
                problems.append(f"{name}: output `{output}` is not the result of an operation")


def define(scope, names, where, problems):
    for name in names:
        if not NAME.match(name):
            problems.append(f"{where}: `{name}` is not an identifier")
        if name in scope:
            problems.append(f"{where}: `{name}` is defined twice")
        scope.add(name)


def check_block(block, scope, where, problems):
    """Names are defined once in their scope and before their use."""
    scope = set(scope)
    define(scope, (value.name for value in block.inputs), where, problems)
    for operation in block.operations:
        place = f"{where}: {mil.label(operation)}"
        if "name" not in operation.attributes:
            problems.append(f"{place}: no attribute `name`")
        for parameter in sorted(operation.inputs):
            arguments = operation.inputs[parameter].arguments
            if not arguments:
                problems.append(f"{place}: `{parameter}` is bound to nothing")
            for binding in arguments:
                used = binding.WhichOneof("binding") == "name"
                if used and binding.name not in scope:
                    problems.append(f"{place}: `{parameter}` uses `{binding.name}` before it exists")
        for inner in operation.blocks:
            check_block(inner, scope, place, problems)
        define(scope, (value.name for value in operation.outputs), where, problems)
    for output in block.outputs:
        if output not in scope:
            problems.append(f"{where}: block output `{output}` does not exist")
