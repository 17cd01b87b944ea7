"""Turns the program back into coremltools' own form, which infers every type anew."""

import logging

import mil
from coremltools.converters.mil.frontend.milproto import load as milproto
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.types.symbolic import is_symbolic


class Refused(Exception):
    """coremltools does not take an operation; what follows it cannot be loaded."""


def check(model, weights, result):
    loader = Loader(result)
    original = milproto._load_operation
    milproto._load_operation = lambda context, operation: loader.load(original, context, operation)
    logging.disable(logging.ERROR)
    try:
        program = milproto.load(model, model.specificationVersion, weights)
        program.validate()
    except Refused as refused:
        result["problems"].append(str(refused))
    except Exception as error:
        result["problems"].append(f"coremltools cannot load the program: {describe(error)}")
    finally:
        milproto._load_operation = original
        logging.disable(logging.WARNING)


class Loader:
    """Loads one operation after the other and compares the types of their results."""

    def __init__(self, result):
        self.result = result

    def load(self, original, context, operation):
        before = {id(context.name_to_var.get(output.name)) for output in operation.outputs}
        try:
            original(context, operation)
        except Refused:
            raise
        except Exception as error:
            registered = [context.name_to_var.get(output.name) for output in operation.outputs]
            if not registered or any(var is None or id(var) in before for var in registered):
                raise Refused(f"{mil.label(operation)}: {describe(error)}") from error
            self.set_outer_operation(context, operation)
        for output in operation.outputs:
            self.compare(operation, output, context.get_var_from_name(output.name))

    def set_outer_operation(self, context, operation):
        """What the loader does last, and a mismatch of types kept it from."""
        outer = context.get_var_from_name(operation.outputs[0].name).op
        milproto._set_outer_op_for_nested_blocks(outer.blocks, outer)

    def compare(self, operation, output, var):
        self.result["types"] += 1
        declared = mil.declared(output.type)
        found = inferred(var.sym_type)
        if not mil.agree(declared, found):
            self.result["problems"].append(
                f"{mil.label(operation)}: `{output.name}` is declared {mil.show(declared)}, "
                f"coremltools infers {mil.show(found)}"
            )


def describe(error):
    text = str(error).strip() or type(error).__name__
    return f"{type(error).__name__}: {text}" if isinstance(error, KeyError) else text


def inferred(kind):
    """A type of coremltools in the form of `mil.declared`."""
    if types.is_state(kind):
        return ("state", inferred(kind.wrapped_type()))
    if types.is_list(kind):
        return ("list", inferred(kind.T[0]))
    if types.is_dict(kind):
        return ("dict", inferred(kind.T[0]), inferred(kind.T[1]))
    if types.is_tensor(kind):
        sizes = [None if is_symbolic(size) else int(size) for size in kind.get_shape()]
        return ("tensor", dtype(kind.get_primitive()), sizes)
    return ("tensor", dtype(kind), [])


def dtype(kind):
    return mil.dtype_name(types.BUILTIN_TO_PROTO_TYPES[kind])
