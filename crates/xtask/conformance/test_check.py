"""The checker accepts what coremltools writes and finds each fault put into it."""

import os
import shutil
import tempfile
import unittest

import check
import coremltools as ct
import numpy as np
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import get_new_symbol, types

IOS15, IOS18 = ct.target.iOS15, ct.target.iOS18


@mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 8, 8))])
def convolution(x):
    weight = np.arange(4 * 3 * 3 * 3, dtype=np.float32).reshape(4, 3, 3, 3)
    return mb.relu(x=mb.conv(x=x, weight=weight, pad_type="same"), name="y")


@mb.program(input_specs=[mb.TensorSpec(shape=(get_new_symbol(), 4))])
def flexible(x):
    return mb.linear(x=x, weight=np.arange(20, dtype=np.float32).reshape(5, 4))


@mb.program(input_specs=[mb.TensorSpec(shape=(2,)), mb.TensorSpec(shape=(2,))])
def loop(a, b):
    def condition(a, b):
        return mb.less(x=mb.reduce_max(x=a, keep_dims=False), y=mb.reduce_max(x=b, keep_dims=False))

    def body(a, b):
        return mb.add(x=a, y=1.0), b

    return mb.while_loop(_cond=condition, _body=body, loop_vars=(a, b))


@mb.program(input_specs=[mb.TensorSpec(shape=(1,)), mb.TensorSpec(shape=(3,))])
def branch(p, x):
    return mb.cond(
        pred=mb.squeeze(x=mb.cast(x=p, dtype="bool")),
        _true_fn=lambda: mb.add(x=x, y=1.0),
        _false_fn=lambda: mb.mul(x=x, y=2.0),
    )


@mb.program(
    input_specs=[
        mb.TensorSpec(shape=(2, 3), dtype=types.fp16),
        mb.StateTensorSpec(shape=(2, 3), dtype=types.fp16),
    ],
    opset_version=IOS18,
)
def state(x, s):
    total = mb.add(x=mb.read_state(input=s), y=x)
    mb.coreml_update_state(state=s, value=total)
    return mb.mul(x=total, y=np.float16(2))


@mb.program(input_specs=[mb.TensorSpec(shape=(1, 64))], opset_version=IOS18)
def packed(x):
    data = np.arange(64, dtype=np.uint8).reshape(16, 4)
    indices = (data % 8).astype(types.nptype_from_builtin(types.string_to_builtin("uint3")))
    table = np.arange(8, dtype=np.float32).reshape(1, 1, 8, 1)
    weight = mb.constexpr_lut_to_dense(indices=indices, lut=table)
    return mb.matmul(x=mb.reshape(x=x, shape=[4, 16]), y=weight)


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        some = ct.TensorType(name="x", shape=(ct.RangeDim(1, 64, default=2), 4))
        either = ct.TensorType(name="x", shape=ct.EnumeratedShapes(shapes=[[2, 4], [3, 4]]))
        image = ct.ImageType(name="x", shape=(1, 3, 8, 8))
        half = ct.precision.FLOAT16
        cls.save("convolution", convolution, IOS15)
        cls.save("half", convolution, ct.target.iOS16, precision=half)
        cls.save("image", convolution, ct.target.iOS17, inputs=[image])
        cls.save("flexible", flexible, ct.target.iOS17, inputs=[some])
        cls.save("enumerated", flexible, ct.target.iOS17, inputs=[either])
        cls.save("loop", loop, ct.target.iOS16)
        cls.save("branch", branch, IOS15)
        cls.save("state", state, IOS18, precision=half)
        cls.save("packed", packed, IOS18)
        cls.save("newest", convolution, ct.target.iOS26, precision=half)

    @classmethod
    def save(cls, name, program, target, precision=ct.precision.FLOAT32, **options):
        model = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=target,
            compute_precision=precision,
            skip_model_load=True,
            **options,
        )
        model.save(os.path.join(cls.folder, f"{name}.mlpackage"))

    def test_packages_of_coremltools_conform(self):
        paths = check.find_packages([self.folder])
        self.assertEqual(len(paths), 10)
        for result in check.check_all(paths, 2):
            self.assertEqual(result["problems"], [], result["path"])
            self.assertGreater(result["types"], 0)
        self.assertGreater(check.check(self.path("packed"))["blobs"], 0)

    def path(self, name):
        return os.path.join(self.folder, f"{name}.mlpackage")

    def problems(self, name, change):
        """Problems of the package `name` after `change(model, weights)`."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "changed.mlpackage")
            shutil.copytree(self.path(name), path)
            data = os.path.join(path, "Data", "com.apple.CoreML")
            model_path = os.path.join(data, "model.mlmodel")
            model = ct.models.utils.load_spec(path)
            change(model, os.path.join(data, "weights", "weight.bin"))
            with open(model_path, "wb") as file:
                file.write(model.SerializeToString())
            return "\n".join(check.check(path)["problems"])

    def test_wrong_type_of_a_result(self):
        def change(model, _):
            result = operation(model, "relu").outputs[0].type.tensorType
            result.dimensions[3].constant.size = 9

        problems = self.problems("convolution", change)
        self.assertIn("declared FLOAT32[1, 4, 8, 9], coremltools infers FLOAT32[1, 4, 8, 8]", problems)

    def test_wrong_dtype_of_a_result(self):
        def change(model, _):
            operation(model, "conv").outputs[0].type.tensorType.dataType = 12

        self.assertIn("declared FLOAT64", self.problems("convolution", change))

    def test_wrong_type_inside_a_loop_and_after_it(self):
        def change(model, _):
            result = operation(model, "while_loop").outputs[0].type.tensorType
            result.dimensions[0].constant.size = 3

        self.assertIn("while_loop", self.problems("loop", change))

    def test_operation_that_the_opset_does_not_have(self):
        def change(model, _):
            operation(model, "relu").type = "no_such_op"

        self.assertIn("no_such_op", self.problems("convolution", change))

    def test_wrong_opset(self):
        def change(model, _):
            model.specificationVersion = 8

        self.assertIn("opset `CoreML5`", self.problems("convolution", change))

    def test_wrong_features(self):
        def change(model, _):
            model.description.input[0].type.multiArrayType.shape[0] = 2
            model.description.output[0].name = "z"

        problems = self.problems("convolution", change)
        self.assertIn("axis 0: size 2 described", problems)
        self.assertIn("outputs ['z'] described", problems)

    def test_wrong_image_and_wrong_state(self):
        def image(model, _):
            model.description.input[0].type.imageType.width = 9

        def wrong_state(model, _):
            array = model.description.state[0].type.stateType.arrayType
            array.shape[0] = 5

        self.assertIn("image [1, 3, 8, 9] described", self.problems("image", image))
        self.assertIn("state `s`: axis 0", self.problems("state", wrong_state))

    def test_flexibility_that_the_program_does_not_have(self):
        def change(model, _):
            array = model.description.input[0].type.multiArrayType
            array.shapeRange.sizeRanges[1].upperBound = 7

        self.assertIn("axes [0, 1] are described as flexible", self.problems("flexible", change))

        def other_default(model, _):
            model.description.input[0].type.multiArrayType.shape[0] = 9

        self.assertIn("not among the enumerated", self.problems("enumerated", other_default))

    def test_names(self):
        def change(model, _):
            relu = operation(model, "relu")
            relu.inputs["x"].arguments[0].name = "later"

        self.assertIn("uses `later` before it exists", self.problems("convolution", change))

    def test_damaged_blobs(self):
        faults = [
            (0, b"\x09", "the header counts 9 blobs"),
            (4, b"\x01", "storage version 1"),
            (64, b"\x00", "no record at 64"),
            (68, b"\x01", "dtype code 1; FLOAT32 has 2"),
            (72, b"\x04", "the gap after 388 is not zero"),
            (80, b"\x00", "the record at 64 has payload 0..432"),
            (100, b"\x01", "reserved bytes"),
        ]
        for offset, byte, expected in faults:
            with self.subTest(expected):
                problems = self.problems("convolution", lambda _, path: poke(path, offset, byte))
                self.assertIn(expected, problems)

    def test_wrong_padding(self):
        self.assertIn("padding", self.problems("packed", lambda _, path: poke(path, 88, b"\x03")))

    def test_missing_weights(self):
        problems = self.problems("convolution", lambda _, path: os.remove(path))
        self.assertIn("no weight file", problems)

    def test_not_a_package(self):
        with tempfile.TemporaryDirectory(suffix=".mlpackage") as path:
            self.assertIn("cannot read it", check.check(path)["problems"][0])


def operation(model, kind):
    function = model.mlProgram.functions["main"]
    block = function.block_specializations[function.opset]
    return next(operation for operation in block.operations if operation.type == kind)


def poke(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


if __name__ == "__main__":
    unittest.main(verbosity=0, warnings="ignore")
