"""Activations against torch; what torch has not, in numpy doubles from the definition."""

import numpy as np
import torch
import torch.nn.functional as F

from common import Family

torch.manual_seed(1)
f = Family("activation")
x = torch.cat([torch.tensor([0.0, -0.0, 1.0, -1.0, 20.0, -20.0, 100.0, -100.0, 6.0, 7.5]),
               torch.randn(14) * 3]).reshape(2, 3, 4)
extreme = torch.tensor([float("inf"), float("nan"), 3e38, -3e38, 1e-40])
half = x.half()
wide = x.double()

for op, g in [("relu", F.relu), ("relu6", F.relu6), ("sigmoid", torch.sigmoid), ("silu", F.silu),
              ("softplus", lambda t: torch.log1p(torch.exp(-t.abs())) + t.clamp(min=0)),
              ("softsign", lambda t: t / (1 + t.abs()))]:
    f.case(op, {"x": x}, g(wide).float())
    f.case(op, {"x": half}, g(half.double()).half())
    f.case(op, {"x": wide}, g(wide))
f.case("relu", {"x": extreme}, F.relu(extreme))
f.case("relu6", {"x": extreme}, F.relu6(extreme))
f.case("sigmoid", {"x": extreme}, torch.sigmoid(extreme))
f.case("softplus", {"x": extreme}, torch.logaddexp(extreme, torch.tensor(0.0)))
f.case("silu", {"x": extreme[:3]}, F.silu(extreme[:3]))
f.case("relu", {"x": torch.zeros(0, 3)}, torch.zeros(0, 3))
f.case("sigmoid", {"x": x.bfloat16()}, torch.sigmoid(x.bfloat16().double()).bfloat16())

f.case("leaky_relu", {"x": x}, F.leaky_relu(x, 0.1), {"alpha": 0.1})
f.case("leaky_relu", {"x": x}, F.leaky_relu(x, -2.0), {"alpha": -2.0})
f.case("leaky_relu", {"x": half}, F.leaky_relu(half.double(), 0.25).half(), {"alpha": 0.25})
f.case("elu", {"x": x}, F.elu(wide, 1.0).float(), {"alpha": 1.0})
f.case("elu", {"x": x}, F.elu(wide, 0.7).float(), {"alpha": 0.7})
f.case("elu", {"x": extreme}, F.elu(extreme, 2.0), {"alpha": 2.0})
n = wide.numpy()


def near(values):
    return values.astype(np.float32)


for alpha, beta in [(0.1, 6.0), (2.0, 1.5), (0.5, -1.0)]:
    f.case("clamped_relu", {"x": x}, near(np.minimum(beta, np.where(n >= 0, n, alpha * n))),
           {"alpha": alpha, "beta": beta})
    f.case("linear_activation", {"x": x}, near(alpha * n + beta), {"alpha": alpha, "beta": beta})
    f.case("sigmoid_hard", {"x": x}, near(np.clip(alpha * n + beta, 0, 1)),
           {"alpha": alpha, "beta": beta})
    f.case("scaled_tanh", {"x": x}, near(alpha * np.tanh(beta * n)), {"alpha": alpha, "beta": beta})
for alpha in [1.0, 0.0, -1.0]:
    f.case("thresholded_relu", {"x": x}, near(np.where(n >= alpha, n, 0)), {"alpha": alpha})

alpha, beta = torch.tensor([0.25, -1.5, 0.0]), torch.tensor([1.0, -2.0, 0.5])
for shape in [(2, 3, 4), (2, 3, 2, 2), (2, 3, 1, 2, 2)]:
    f.case("prelu", {"x": x.reshape(shape), "alpha": alpha}, F.prelu(x.reshape(shape), alpha))
f.case("prelu", {"x": half, "alpha": alpha}, F.prelu(half.double(), alpha.double()).half())
f.case("prelu", {"x": x, "alpha": alpha[:2]}, error="`alpha` is tensor<2xf32>", static=True)
a, b = alpha.double().reshape(1, 3, 1), beta.double().reshape(1, 3, 1)
f.case("softplus_parametric", {"x": x, "alpha": alpha, "beta": beta},
       (a * torch.logaddexp(b * wide, torch.zeros_like(wide))).float())
f.case("softplus_parametric", {"x": x.reshape(2, 3, 2, 1, 2), "alpha": alpha, "beta": beta},
       (a * torch.logaddexp(b * wide, torch.zeros_like(wide))).float().reshape(2, 3, 2, 1, 2))
f.case("softplus_parametric", {"x": x[0], "alpha": alpha, "beta": beta}, error="rank 3")

f.case("gelu", {"x": x}, F.gelu(wide).float())
f.case("gelu", {"x": x}, F.gelu(wide).float(), {"mode": "EXACT"})
f.case("gelu", {"x": wide}, F.gelu(wide), {"mode": "EXACT"}, tol=(1e-9, 1e-12))
f.case("gelu", {"x": half}, F.gelu(half.double()).half())
f.case("gelu", {"x": x}, F.gelu(wide, approximate="tanh").float(), {"mode": "TANH_APPROXIMATION"})
f.case("gelu", {"x": x}, (wide * torch.sigmoid(1.702 * wide)).float(),
       {"mode": "SIGMOID_APPROXIMATION"})

for axis in [-1, 0, 1, 2, -2]:
    f.case("softmax", {"x": x}, torch.softmax(wide, axis).float(), {"axis": axis})
f.case("softmax", {"x": half}, torch.softmax(half.double(), -1).half())
inf = torch.tensor([[float("-inf"), 0.0, 1.0], [float("-inf")] * 3, [1e30, 1e30, -1e30],
                    [0.0, float("nan"), 1.0]])
f.case("softmax", {"x": inf}, torch.softmax(inf, -1))
f.case("softmax", {"x": torch.zeros(2, 0)}, torch.zeros(2, 0))
f.case("softmax", {"x": x}, error="axis 3", attrs={"axis": 3})
f.case("relu", {"x": torch.tensor([1, 2])}, error="a float is needed")
f.save()
