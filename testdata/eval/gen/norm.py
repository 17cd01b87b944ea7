"""Normalizations against torch in doubles; l2_norm and instance_norm without affine from their
definitions."""

import torch
import torch.nn.functional as F

from common import Family

torch.manual_seed(4)
f = Family("norm")
x = torch.randn(2, 3, 2, 2) * 2 + 1
g, b = torch.randn(3), torch.randn(3)
m, v = torch.randn(3), torch.rand(3) + 0.1


def d(*ts):
    return [None if t is None else t.double() for t in ts]


for shape in [(2, 3, 4), (2, 3, 2, 2), (2, 3, 1, 2, 2)]:
    y = x.reshape(shape)
    f.case("batch_norm", {"x": y, "mean": m, "variance": v, "gamma": g, "beta": b},
           F.batch_norm(*d(y, m, v, g, b), eps=1e-5).float())
    f.case("batch_norm", {"x": y, "mean": m, "variance": v},
           F.batch_norm(*d(y, m, v), eps=1e-3).float(), {"epsilon": 1e-3})
f.case("batch_norm", {"x": x, "mean": m, "variance": v, "gamma": g},
       F.batch_norm(*d(x, m, v, g, torch.zeros(3)), eps=1e-5).float())
f.case("batch_norm", {"x": x.half(), "mean": m, "variance": v, "gamma": g, "beta": b},
       F.batch_norm(*d(x.half(), m, v, g, b), eps=1e-3).half(), {"epsilon": 1e-3}, tol=(2e-3, 1e-3))
f.case("batch_norm", {"x": x, "mean": m[:2], "variance": v}, error="`mean`", static=True)
f.case("batch_norm", {"x": x[0, 0], "mean": m, "variance": v}, error="rank 3 to 5")

for shape in [(2, 3, 4), (2, 3, 2, 2)]:
    y = x.reshape(shape)
    f.case("instance_norm", {"x": y, "gamma": g, "beta": b},
           F.instance_norm(y.double(), weight=g.double(), bias=b.double(), eps=1e-5).float())
    f.case("instance_norm", {"x": y}, F.instance_norm(y.double(), eps=1e-2).float(),
           {"epsilon": 1e-2})
f.case("instance_norm", {"x": x.half(), "beta": b},
       (F.instance_norm(x.half().double(), eps=1e-2) + b.double().reshape(1, 3, 1, 1)).half(),
       {"epsilon": 1e-2}, tol=(2e-3, 1e-3))
f.case("instance_norm", {"x": x.reshape(2, 3, 1, 2, 2)}, error="rank 3 to 4")
f.case("instance_norm", {"x": torch.full((1, 1, 4), 7.0)}, torch.zeros(1, 1, 4))

for axes, shape in [([-1], (2,)), ([2, 3], (2, 2)), ([1, 2, 3], (3, 2, 2)), ([3, -2], (2, 2))]:
    w, c = torch.randn(*shape), torch.randn(*shape)
    f.case("layer_norm", {"x": x, "gamma": w, "beta": c},
           F.layer_norm(x.double(), shape, w.double(), c.double(), 1e-5).float(), {"axes": axes})
    f.case("layer_norm", {"x": x}, F.layer_norm(x.double(), shape, eps=0.1).float(),
           {"axes": axes, "epsilon": 0.1})
for axes in [[1], [0], [0, 2], [1, 3], [0, 1, 2, 3]]:
    kept = [x.shape[i] if i in axes else 1 for i in range(4)]
    w, c = torch.randn(*[x.shape[i] for i in sorted(axes)]), torch.randn(*kept)
    y = x.double()
    mu = y.mean(axes, keepdim=True)
    var = ((y - mu) ** 2).mean(axes, keepdim=True)
    y = (y - mu) / (var + 1e-5).sqrt()
    f.case("layer_norm", {"x": x, "gamma": w, "beta": c.reshape(w.shape)},
           (y * w.double().reshape(kept) + c.double()).float(), {"axes": axes})
y = x.double()
whole = (y - y.mean()) / (y.var(unbiased=False) + 1e-5).sqrt()
f.case("layer_norm", {"x": x}, whole.float())
f.case("layer_norm", {"x": x.half(), "gamma": torch.ones(2, dtype=torch.half)},
       F.layer_norm(x.half().double(), (2,), eps=1e-3).half(), {"axes": [-1], "epsilon": 1e-3},
       tol=(2e-3, 1e-3))
f.case("layer_norm", {"x": x, "gamma": torch.ones(3)}, error="`gamma`", attrs={"axes": [-1]},
       static=True)

for shape in [(2, 3, 4), (4, 1, 3, 2), (1, 2, 3, 2, 2)]:
    y = x.reshape(shape).double()
    n = (y**2).sum((-3, -2, -1), keepdim=True)
    f.case("l2_norm", {"x": y.float()}, (y / (n + 1e-6).sqrt()).float())
    f.case("l2_norm", {"x": y.float()}, (y / (n + 0.5).sqrt()).float(), {"epsilon": 0.5})
f.case("l2_norm", {"x": torch.zeros(1, 2, 2)}, torch.zeros(1, 2, 2))
f.case("l2_norm", {"x": x[0, 0]}, error="rank 3")

y = torch.randn(2, 7, 2, 3) * 3
for size in [1, 3, 5, 20, 2, 4]:
    f.case("local_response_norm", {"x": y}, F.local_response_norm(y.double(), size).float(),
           {"size": size})
    f.case("local_response_norm", {"x": y[:, :, 0]},
           F.local_response_norm(y[:, :, 0].double(), size, 0.3, 0.6, 2.0).float(),
           {"size": size, "alpha": 0.3, "beta": 0.6, "k": 2.0})
f.case("local_response_norm", {"x": y}, error="`size`", attrs={"size": 0})
f.save()
