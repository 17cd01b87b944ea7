"""Makes the packages of testdata/coreml/packages with coremltools, and what they must compute.

    python make.py ../packages        coremltools 9.0, torch 2.7, numpy, safetensors

Every package stands in a folder of its own name with io.safetensors: `step0.NAME` is an input,
`step0.output.NAME` an output of the first call, and so on for further calls. The outputs come from
torch or numpy, never from Core ML.
"""

import shutil
import sys
from pathlib import Path

import coremltools as ct
import coremltools.optimize as cto
import numpy as np
import torch
from coremltools.converters.mil import Builder as mb
from coremltools.converters.mil.mil import types
from safetensors.numpy import save_file

GOAL = Path(sys.argv[1])
RANDOM = np.random.default_rng(0)
F16, F32 = ct.precision.FLOAT16, ct.precision.FLOAT32


def keep(name, model, *calls):
    """Saves `model` and calls `(inputs, outputs)`, whose names are those of the package."""
    folder = GOAL / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.save(str(folder / f"{name}.mlpackage"))
    weights = folder / f"{name}.mlpackage" / "Data" / "com.apple.CoreML" / "weights"
    if weights.is_dir() and not any(weights.iterdir()):
        # Version control keeps no empty folders, and the manifest names this one.
        (weights / ".gitkeep").touch()
    arrays = {}
    for step, (inputs, outputs) in enumerate(calls):
        for key, value in inputs.items():
            arrays[f"step{step}.{key}"] = np.ascontiguousarray(value)
        for key, value in outputs.items():
            arrays[f"step{step}.output.{key}"] = np.ascontiguousarray(value)
    save_file(arrays, str(folder / "io.safetensors"))


def normal(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


class Net(torch.nn.Module):
    """Convolution, norm, pool and two linear layers."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.hidden = torch.nn.Linear(32, 16)
        self.out = torch.nn.Linear(16, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        x = torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
        return self.out(torch.nn.functional.gelu(self.hidden(x)))


class Scores(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return torch.softmax(self.net(x), -1)


class Pointwise(torch.nn.Module):
    """Works on any number of rows and columns."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x):
        return torch.sigmoid(self.conv(x)) - 0.5


class Counter(torch.nn.Module):
    """Adds to what it was given before."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(2, 3))

    def forward(self, x):
        self.total.add_(x * 0.5)
        return self.total * 2.0


class Image(torch.nn.Module):
    def forward(self, image):
        return torch.clamp(image * 0.5 + 10.0, 0.0, 255.0)


def convert(module, *example, target=ct.target.iOS18, precision=F32, outputs=("y",), **options):
    traced = torch.jit.trace(module.eval(), example)
    options.setdefault("inputs", [ct.TensorType("x", shape=example[0].shape, dtype=np.float32)])
    options.setdefault("outputs", [ct.TensorType(name, dtype=np.float32) for name in outputs])
    return ct.convert(
        traced, minimum_deployment_target=target, compute_precision=precision,
        skip_model_load=True, **options,
    )


def run(module, x):
    with torch.no_grad():
        return module.eval()(torch.from_numpy(x)).numpy()


def network():
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.norm.running_mean.uniform_(-0.5, 0.5)
        net.norm.running_var.uniform_(0.5, 2.0)
    return net


def precisions(net):
    x = normal(2, 3, 8, 8)
    call = ({"x": x}, {"y": run(net, x)})
    keep("fp32_ios15", convert(net, torch.from_numpy(x), target=ct.target.iOS15), call)
    keep("fp16_ios17", convert(net, torch.from_numpy(x), target=ct.target.iOS17, precision=F16), call)


def decoded(model, net, names):
    """`net` with the weights that the compressed package decodes to, as coremltools decodes them."""
    plain = cto.coreml.decompress_weights(model)
    state = net.state_dict()
    shapes = {name: tuple(state[name].shape) for name in names}
    found = {}
    for function in plain._mil_program.functions.values():
        for op in function.operations:
            if op.op_type == "const" and op.outputs[0].shape:
                found.setdefault(tuple(op.outputs[0].shape), []).append(op.outputs[0].val)
    for name, shape in shapes.items():
        (value,) = found[shape]
        state[name] = torch.from_numpy(np.asarray(value, np.float32).copy())
    copy = Net()
    copy.load_state_dict(state)
    return copy


def compressed(net):
    x = normal(2, 3, 8, 8)
    names = ["hidden.weight"]
    coreml = cto.coreml

    def one(name, scheme, options, target=ct.target.iOS18):
        model = convert(net, torch.from_numpy(x), target=target)
        config = coreml.OptimizationConfig(op_type_configs={"linear": options})
        model = scheme(model, config)
        keep(name, model, ({"x": x}, {"y": run(decoded(model, net, names), x)}))

    palette = coreml.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=256)
    one("palettized4_ios18", coreml.palettize_weights, palette)
    one("palettized4_ios16", coreml.palettize_weights, palette, ct.target.iOS16)
    linear = coreml.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=256)
    one("int8_ios16", coreml.linear_quantize_weights, linear, ct.target.iOS16)
    blocks = coreml.OpLinearQuantizerConfig(
        mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=8,
        weight_threshold=256,
    )
    one("int4_blocks_ios18", coreml.linear_quantize_weights, blocks)
    sparse = coreml.OpMagnitudePrunerConfig(target_sparsity=0.6, weight_threshold=256)
    one("sparse_ios18", coreml.prune_weights, sparse)


def shapes():
    torch.manual_seed(1)
    net = Pointwise()
    example = torch.zeros(1, 2, 6, 6)
    xs = [normal(1, 2, *size) for size in [(6, 6), (4, 9), (12, 5)]]
    side = ct.RangeDim(2, 16, default=6)
    ranged = ct.TensorType("x", shape=(1, 2, side, side), dtype=np.float32)
    calls = [({"x": x}, {"y": run(net, x)}) for x in xs]
    keep("ranges", convert(net, example, inputs=[ranged]), *calls)
    given = ct.EnumeratedShapes([[1, 2, 6, 6], [1, 2, 4, 9], [1, 2, 12, 5]], default=[1, 2, 6, 6])
    listed = ct.TensorType("x", shape=given, dtype=np.float32)
    keep("enumerated", convert(net, example, inputs=[listed]), *calls)


def features(net):
    x = normal(1, 3, 8, 8)
    labels = ct.ClassifierConfig(["ant", "bee", "cat", "dog"])
    model = convert(Scores(net), torch.from_numpy(x), classifier_config=labels, outputs=())
    scores = run(Scores(net), x)[0]
    best = np.int32([scores.argmax()])
    keep("classifier", model, ({"x": x}, {"classLabel": best, "classLabel_probs": scores}))
    image = Image()
    pixels = RANDOM.integers(0, 256, (1, 3, 4, 6)).astype(np.float32)
    model = convert(
        image, torch.from_numpy(pixels), outputs=("y",),
        inputs=[ct.ImageType("image", shape=(1, 3, 4, 6), color_layout=ct.colorlayout.RGB)],
    )
    keep("image", model, ({"image": pixels}, {"y": run(image, pixels)}))


def states():
    example = torch.zeros(2, 3)
    traced = torch.jit.trace(Counter().eval(), example)
    model = ct.convert(
        traced, inputs=[ct.TensorType("x", shape=(2, 3), dtype=np.float16)],
        outputs=[ct.TensorType("y", dtype=np.float16)],
        states=[ct.StateType(ct.TensorType(shape=(2, 3), dtype=np.float16), name="total")],
        minimum_deployment_target=ct.target.iOS18, skip_model_load=True,
    )
    total, calls = np.zeros((2, 3), np.float32), []
    for _ in range(3):
        x = (RANDOM.integers(-8, 8, (2, 3)) / 4).astype(np.float16)
        total = total + x * 0.5
        calls.append(({"x": x}, {"y": (total * 2).astype(np.float16)}))
    keep("stateful", model, *calls)


def functions(net):
    x = normal(2, 3, 8, 8)
    folder = GOAL / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"logits": net, "scores": Scores(net)}
    joined = ct.utils.MultiFunctionDescriptor()
    for name, module in parts.items():
        path = str(folder / f"{name}.mlpackage")
        convert(module, torch.from_numpy(x)).save(path)
        joined.add_function(path, "main", name)
    joined.default_function_name = "scores"
    goal = GOAL / "functions"
    shutil.rmtree(goal, ignore_errors=True)
    goal.mkdir()
    ct.utils.save_multifunction(joined, str(goal / "functions.mlpackage"))
    arrays = {"step0.x": x, "step0.output.y": run(parts["scores"], x)}
    save_file(arrays, str(goal / "io.safetensors"))
    shutil.rmtree(folder)


def control():
    @mb.program(input_specs=[mb.TensorSpec((3,))], opset_version=ct.target.iOS17)
    def branches(x):
        positive = mb.greater(x=mb.reduce_sum(x=x, keep_dims=False), y=0.0)
        return mb.cond(
            pred=positive, _true_fn=lambda: mb.mul(x=x, y=2.0), _false_fn=lambda: mb.sub(x=x, y=1.0),
            name="y",
        )

    @mb.program(input_specs=[mb.TensorSpec((3,))], opset_version=ct.target.iOS17)
    def loop(x):
        _, y = mb.while_loop(
            _cond=lambda i, y: mb.less(x=i, y=5.0),
            _body=lambda i, y: (mb.add(x=i, y=1.0), mb.add(x=mb.mul(x=y, y=0.5), y=x)),
            loop_vars=(mb.mul(x=mb.reduce_sum(x=x, keep_dims=False), y=0.0), x), name="y",
        )
        return mb.identity(x=y, name="out")

    def save(name, program, output, meaning, xs):
        model = ct.convert(
            program, minimum_deployment_target=ct.target.iOS17, compute_precision=F32,
            skip_model_load=True,
        )
        keep(name, model, *[({"x": x}, {output: meaning(x)}) for x in xs])

    xs = [np.float32([1, 2, -0.5]), np.float32([-1, -2, 0.5])]
    save("cond", branches, "y", lambda x: x * 2 if x.sum() > 0 else x - 1, xs)

    def halves(x):
        y = x
        for _ in range(5):
            y = y * np.float32(0.5) + x
        return y

    save("while_loop", loop, "out", halves, xs)


net = network()
precisions(net)
compressed(net)
shapes()
features(net)
states()
functions(net)
control()
