"""Makes the scripted and traced modules of this folder: `python gen.py` writes NAME/model.pt and NAME/io.safetensors.

Run it with torch 2.7.1. The same torch writes the same bytes again. Each module holds one idea, which its
documentation names; the references are what PyTorch computes, one call for each way through the code.
"""

import json
import re
import zipfile
from enum import Enum
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

MODULES = []


def module(*calls, **options):
    """Adds a class: `calls` are tuples of the arguments of each call of its references."""

    def add(cls):
        MODULES.append((cls, calls, options))
        return cls

    return add


def ramp(*shape):
    """Numbers around zero, all different."""
    count = 1
    for n in shape:
        count *= n
    return (torch.arange(count, dtype=torch.float32).reshape(shape) * 0.37).sin()


@module((ramp(2, 6),), (-ramp(2, 6).abs(),))
class EarlyReturn(nn.Module):
    """A function that returns in the middle, by a condition on values."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(6, 4)

    def forward(self, x):
        if bool(x.sum() > 0):
            return self.a(x).relu()
        y = self.b(x)
        if bool(y.amax() > 1000.0):
            return y * 0
        return y - 1


@module((ramp(3, 4), torch.tensor(0)), (ramp(3, 4), torch.tensor(5)))
class CountedLoop(nn.Module):
    """A loop whose number of trips is an input, with a float and an integer that change in it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x, n):
        scale, last = 1.0, 0
        for i in range(int(n)):
            x = torch.tanh(self.layer(x)) * scale
            scale = scale * 0.75
            last = i + 10
        return x, torch.tensor(last), x.sum() * scale


@module((ramp(4, 3),))
class ListsOfTensors(nn.Module):
    """Lists that grow in loops over sizes, comprehensions, slices of lists, sorting and unpacking."""

    def forward(self, x):
        rows: List[torch.Tensor] = []
        for i in range(x.size(0)):
            if i % 2 == 0:
                rows.append(x[i] * i)
            else:
                rows.insert(0, x[i])
        sizes = [int(r.numel()) + k for k, r in enumerate(rows)]
        sizes.sort(reverse=True)
        first, second = rows[0], rows[-1]
        rows.pop()
        both = torch.stack(rows[1:] + [first])
        return torch.cat([both, second.unsqueeze(0)]), torch.tensor(sizes)


class Mode(Enum):
    SUM = 1
    MEAN = 2


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


def pool(x: torch.Tensor, mode: Mode, name: str) -> torch.Tensor:
    if name not in ["rows", "columns"]:
        raise ValueError(f"no such axis: {name}")
    axis = {"rows": 0, "columns": 1}[name]
    return x.sum(axis) if mode == Mode.SUM else x.mean(axis)


@module((ramp(3, 5),))
class PythonValues(nn.Module):
    """Enumerations, named tuples, dicts, texts, optional arguments, exceptions, classes of modules."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"wide": nn.Linear(5, 7), "narrow": nn.Linear(7, 2)})
        self.tail = nn.ModuleList([nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 3)])
        self.mode = "columns"

    def pair(self, x: torch.Tensor, scale: Optional[float] = None) -> Pair:
        if scale is None:
            scale = 0.5
        return Pair(x * scale, x + 1)

    def forward(self, x, bias: Optional[torch.Tensor] = None):
        assert x.dim() == 2, "a matrix is needed"
        y = x
        for name, layer in self.layers.items():
            y = layer(y)
            if name == "wide":
                y = F.relu(y)
        for layer in self.tail:
            y = layer(y)
        if bias is not None:
            y = y + bias
        pair = self.pair(y)
        result: Dict[str, torch.Tensor] = {"left": pair.left}
        result["sum"] = pool(pair.right, Mode.SUM, "rows")
        result["mean"] = pool(pair.right, Mode.MEAN, self.mode)
        return result


@module((ramp(4, 6), torch.tensor([1, 3])), (-ramp(4, 6), torch.tensor([2, 0])))
class WritesInRegions(nn.Module):
    """In-place writes to tensors from outside of a branch and of a loop, through views of them."""

    def forward(self, x, at):
        y = torch.zeros_like(x)
        row = y[1]
        if bool(x.mean() > 0):
            y[0] += x[0]
            row.copy_(x[2])
        else:
            y[:, 1:3] = 2.0
        i = 0
        while i < int(at[0]):
            y[3, 1:] -= x[i, 1:]
            row.mul_(2.0)
            i += 1
        y[at] = x[at] * 3
        y.index_put_([at, at], torch.tensor(7.0))
        return y, row


@module((ramp(3, 4),))
class CopiesByLayout(nn.Module):
    """Reshapes that are copies since the axes lie in another order, and those that are views; writes to both."""

    def forward(self, x):
        a = x + 1
        copy = a.t().reshape(-1)
        copy[0] = 100.0
        view = a.reshape(2, 6)
        view[1, 2:4] = -7.0
        turned = a.t().contiguous()
        turned.mul_(2.0)
        cut = a[:, 1:3].reshape(-1)
        cut.zero_()
        nhwc = a.reshape(1, 3, 2, 2).contiguous(memory_format=torch.channels_last)
        flat = nhwc.permute(0, 2, 3, 1).reshape(-1)
        flat[3] = 55.0
        rows = a.unfold(1, 2, 2)
        return a, copy, view, turned, cut, nhwc, flat, rows.select(2, 1)


@module((ramp(1, 3, 8, 8),))
class StandardLayers(nn.Module):
    """Layers of torch.nn, which call the free functions of `torch.nn.functional` by variables."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.5)
        )
        self.norm = nn.LayerNorm(4)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Hardswish(), nn.Linear(4, 3), nn.Softmax(-1))
        with torch.no_grad():
            for n, p in enumerate(self.parameters()):
                p.copy_((torch.arange(p.numel(), dtype=torch.float32).reshape(p.shape) + n).cos() * 0.5)

    def forward(self, x):
        y = self.features(x)
        y = y + self.norm(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.head(y)


class Order(Enum):
    RISING = 1
    FALLING = 2


@module((ramp(3, 4),))
class StoredMembers(nn.Module):
    """A member of an enumeration as an attribute, tensors compared by identity, a call at the side."""

    def __init__(self):
        super().__init__()
        self.order = Order.FALLING
        self.side = nn.PReLU(4, 0.3)

    def forward(self, x):
        other = torch.jit.fork(self.side, x)
        y = x if self.order == Order.RISING else -x
        z = y * 2 if y is x else y * 3
        named = torch.jit.annotate(Dict[str, torch.Tensor], {})
        named["z"] = z if not z.is_nested else x
        return torch.jit.wait(other) + named["z"].sort(1)[0]


@module(
    (ramp(2, 3),),
    (ramp(2, 3) + 1,),
    steps=True,
)
class States(nn.Module):
    """Buffers that are written in place, in a branch, and by assignment."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(2, 3))
        self.register_buffer("last", torch.zeros(2, 3))
        self.register_buffer("peak", torch.zeros(3))

    def forward(self, x):
        self.total.add_(x)
        if bool(self.total.sum() > 4):
            self.total.mul_(0.5)
        y = self.total * 2 + self.last
        self.last = x - 1
        self.peak.copy_(torch.maximum(self.peak, x.amax(0)))
        return y + self.peak


@module((ramp(2, 5, 3),), (ramp(4, 5, 3),), dynamic={0: {0: ("batch", 1, 8)}})
class CellLoop(nn.Module):
    """A recurrent cell over the steps of a sequence, for a batch of any size."""

    def __init__(self):
        super().__init__()
        self.cell = nn.GRUCell(3, 4)

    def forward(self, x):
        state = torch.zeros(x.size(0), 4)
        outs: List[torch.Tensor] = []
        for t in range(x.size(1)):
            state = self.cell(x[:, t], state)
            outs.append(state)
        half = x.size(0) // 2 * 2
        return torch.stack(outs, 1), state.reshape(-1, 2)[:half]


@torch.jit.interface
class Scorer(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pass


class Dot(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(ramp(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


@module(((ramp(2, 4), ramp(4)), [ramp(2, 4), ramp(2, 4) * 2]))
class Structures(nn.Module):
    """Tuples and lists of tensors as inputs, an interface, results within results."""

    scorer: Scorer

    def __init__(self):
        super().__init__()
        self.scorer = Dot()

    def forward(self, both: Tuple[torch.Tensor, torch.Tensor], more: List[torch.Tensor]):
        x, y = both
        total = x
        for m in more:
            total = total + m
        return (total * y, [self.scorer(m) for m in more]), {"x": x - 1}


@module((ramp(1, 3, 8, 8),), traced=True)
class Traced(nn.Module):
    """A trace: it holds the shapes of the inputs that it was made with, and none of their elements."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


def flat(values):
    """The tensors in arguments or results, in order."""
    if isinstance(values, torch.Tensor):
        return [values]
    if isinstance(values, dict):
        values = values.values()
    return [tensor for value in values for tensor in flat(value)]


def write(cls, calls, options, folder):
    """One module and its references."""
    torch.manual_seed(0)
    model = cls().eval()
    traced = options.get("traced")
    scripted = torch.jit.trace(model, calls[0]) if traced else torch.jit.script(model)
    folder.mkdir(exist_ok=True)
    path = folder / "model.pt"
    scripted.save(str(path))
    scripted = torch.jit.load(str(path))
    tensors = {}
    for i, args in enumerate(calls):
        prefix = f"step{i}." if options.get("steps") else f"alt{i}." if i else ""
        for j, tensor in enumerate(flat(args)):
            tensors[f"{prefix}input.{j}"] = tensor.clone().contiguous()
        for j, tensor in enumerate(flat(scripted(*args))):
            tensors[f"{prefix}output.{j}"] = tensor.detach().clone().contiguous()
    save_file(tensors, str(folder / "io.safetensors"))
    if dynamic := options.get("dynamic"):
        names = [f"input{j}" for j in range(len(flat(calls[0])))]
        about = {"inputs": [{"name": name} for name in names]}
        about["dynamic"] = {names[j]: axes for j, axes in dynamic.items()}
        (folder / "case.json").write_text(json.dumps(about, indent=1) + "\n")
    strip(path)


def strip(path):
    """Writes the archive anew without a clock and with the least padding."""
    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            if name.endswith("serialization_id"):
                continue
            stored = "/data/" in name or "/constants/" in name
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
            archive.writestr(info, data)


def main():
    here = Path(__file__).parent
    for cls, calls, options in MODULES:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        write(cls, calls, options, here / name)


if __name__ == "__main__":
    main()
