"""Makes the models of this folder: `python gen.py FOLDER` writes FOLDER/<name>.pt2.

FOLDER is `t27` with torch 2.7.1 and `t215` with torch 2.15.0: the two write different archives. The
same torch writes the same bytes again. Each model holds one idea; what it is for stands in its
documentation.
"""

import re
import sys
import zipfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.export import Dim

MODELS = []


def model(*inputs, **options):
    """Adds a class to the models: `inputs` are shapes or tensors, `options` go to the export."""

    def add(cls):
        MODELS.append((cls, inputs, options))
        return cls

    return add


@model((1, 3, 11, 9))
class ConvNet(nn.Module):
    """Convolutions with stride, groups and dilation, batch norm, pooling with ceil_mode."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        x = self.pool(F.silu(self.second(x)) + x)
        return self.head(x.mean((2, 3)))


@model((2, 6))
class TiedWeights(nn.Module):
    """One weight used twice, another as its transpose, a third as a part of a buffer."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(6, 10)
        self.same = nn.Linear(6, 10)
        self.same.weight = self.up.weight
        self.down = nn.Parameter(torch.randn(6, 10).t())
        self.register_buffer("part", torch.randn(4, 10)[1:3])

    def forward(self, x):
        y = F.gelu(self.up(x)) + self.same(x) * self.part
        return F.layer_norm(y @ self.down, (6,))


@model((2, 5, 8))
class Attention(nn.Module):
    """Self-attention with a mask of minus infinity, and softmax over the last axis."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(8, 24)
        self.out = nn.Linear(8, 8)
        self.register_buffer("mask", torch.full((5, 5), float("-inf")).triu(1))

    def forward(self, x):
        q, k, v = self.qkv(x).view(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-1, -2)) * 0.5 + self.mask
        y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(2, 5, 8))


@model((2, 4), dynamic_shapes=({0: Dim("batch", min=1, max=16)},))
class DynamicBatch(nn.Module):
    """A batch of any size within a range."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x):
        return torch.tanh(self.layer(x)), x.amax(-1, keepdim=True)


@model((3, 6), (3, 6))
class InPlace(nn.Module):
    """Writes through views of a tensor, which later reads see."""

    def forward(self, x, y):
        z = x * 2
        z[:, 1:4] += y[:, :3]
        z.view(-1)[4:10].mul_(0.5)
        left, right = z.chunk(2, dim=1)
        left.sub_(1)
        return z.relu_(), right.clone()


@model((4, 6), torch.tensor([[3, 1, 0, 2, 2, 1]]))
class MixedTypes(nn.Module):
    """Integers, truth values and a scalar as outputs, and the promotion of types."""

    def forward(self, x, n):
        over = x > n
        return over, n * 2 + 1, torch.where(over, x, n), x.sum()


@model((2, 3, 5))
class Shapes(nn.Module):
    """Padding, flipping of axes, joining, splitting, expanding."""

    def forward(self, x):
        a = F.pad(x, (1, 2), value=0.25)
        b = torch.cat([a, x.new_ones(()).expand(2, 1, 8) * 3], dim=1)
        c, d = b.transpose(0, 1).split([1, 3])
        return c.squeeze(0), torch.stack([d, d.abs()], dim=-1).flatten(1, 2)


def without_paths(program):
    """Source lines keep their file below `site-packages`, or its name alone."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                trace = node.meta.get("stack_trace")
                if trace:
                    trace = re.sub(r'File "[^"]*/site-packages/', 'File "', trace)
                    node.meta["stack_trace"] = re.sub(r'File "/[^"]*/', 'File "', trace)


def without_dates(path):
    """Archives of torch 2.7 hold the time; the same entries with a fixed one."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    if entries[0][0] == "serialized_exported_program.json":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in entries:
                archive.writestr(zipfile.ZipInfo(name), data)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    for cls, inputs, options in MODELS:
        torch.manual_seed(0)
        module = cls().eval()
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.uniform_(norm.running_mean, -0.5, 0.5)
                nn.init.uniform_(norm.running_var, 0.5, 2.0)
        args = tuple(torch.randn(i) if isinstance(i, tuple) else i for i in inputs)
        program = torch.export.export(module, args, **options)
        without_paths(program)
        name = re.sub(r"(?<!^)([A-Z])", r"_\1", cls.__name__).lower()
        torch.export.save(program, folder / f"{name}.pt2")
        without_dates(folder / f"{name}.pt2")


if __name__ == "__main__":
    main()
