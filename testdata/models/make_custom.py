"""Makes scaled_silu.pt2 (a model with ops of its own), what it computes, and defects.pt2 (ten problems).

Needs torch 2.7.1 and safetensors. Run it in this folder.
"""

import re
import zipfile

import torch
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(0)


@torch.library.custom_op("mylib::scaled_silu", mutates_args=())
def scaled_silu(x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    return x * torch.sigmoid(x) * scale


@scaled_silu.register_fake
def _(x, scale=1.0):
    return torch.empty_like(x)


@torch.library.custom_op("mylib::shift", mutates_args=())
def shift(x: torch.Tensor, dims: list[int], by: int = 1) -> torch.Tensor:
    return torch.roll(x, by, dims[0]).contiguous()


@shift.register_fake
def _(x, dims, by=1):
    return torch.empty_like(x)


class Custom(nn.Module):
    """Two ops of its own, one of them twice with different arguments and ranks."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 8)

    def forward(self, x):
        h = torch.ops.mylib.scaled_silu(self.first(x), 0.5)
        h = torch.ops.mylib.shift(h, [1], 2)
        return torch.ops.mylib.scaled_silu(h.sum(1))


class Defects(nn.Module):
    """Each line of forward has a problem of its own."""

    def forward(self, x, z, text):
        a = torch.linalg.svd(x)[0]
        b = torch.ops.mylib.scaled_silu(x, 2.0)
        c = torch.ops.mylib.shift(x, [0], 3)
        d = torch.geqrf(x)[0]
        e = torch.linalg.eigvalsh(x)
        f = torch.special.bessel_j0(x)
        g = torch.igamma(x.abs(), x.abs())
        h = torch.linalg.qr(x)[0]
        i = torch.bincount(text)
        j = torch.polygamma(2, x)
        k = torch.linalg.matrix_exp(x)
        l = torch.special.airy_ai(x)
        return a, b, c, d, e, f, g, h, i, j, k, l, z


def save(module, args, name, **options):
    program = torch.export.export(module.eval(), args, **options)
    for node in program.graph_module.graph.nodes:
        trace = node.meta.get("stack_trace")
        if trace:
            trace = re.sub(r'File "[^"]*/site-packages/', 'File "', trace)
            node.meta["stack_trace"] = re.sub(r'File "/[^"]*/', 'File "', trace)
    torch.export.save(program, name)
    with zipfile.ZipFile(name) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.namelist()]
    with zipfile.ZipFile(name, "w") as archive:
        for entry, data in entries:
            archive.writestr(zipfile.ZipInfo(entry), data)


x = torch.randn(2, 3, 6)
custom = Custom().eval()
batch = torch.export.Dim("batch", min=1, max=8)
save(custom, (x,), "scaled_silu.pt2", dynamic_shapes={"x": {0: batch}})
save_file({"x": x, "y": custom(x).detach()}, "scaled_silu.safetensors")
square = torch.randn(4, 4)
complex_numbers = torch.randn(2, dtype=torch.complex64)
save(Defects(), (square, complex_numbers, torch.arange(4)), "defects.pt2")
