"""Products against torch in doubles."""

import torch
import torch.nn.functional as F

from common import Family

torch.manual_seed(2)
f = Family("linear")


def rand(*shape, dtype=torch.float32):
    return torch.randn(*shape).to(dtype)


def ints(*shape, dtype=torch.int32):
    return torch.randint(-9, 10, shape).to(dtype)


w, b = rand(5, 4), rand(5)
for shape in [(4,), (3, 4), (2, 3, 4), (2, 1, 3, 4), (0, 4)]:
    x = rand(*shape)
    f.case("linear", {"x": x, "weight": w, "bias": b},
           F.linear(x.double(), w.double(), b.double()).float())
x = rand(3, 4)
f.case("linear", {"x": x, "weight": w}, F.linear(x.double(), w.double()).float())
h = x.half()
f.case("linear", {"x": h, "weight": w, "bias": b},
       F.linear(h.double(), w.double(), b.double()).half())
f.case("linear", {"x": x.double(), "weight": w.double()}, F.linear(x.double(), w.double()))
xi, wi, bi = ints(3, 4), ints(5, 4), ints(5)
f.case("linear", {"x": xi, "weight": wi, "bias": bi}, xi @ wi.T + bi)
f.case("linear", {"x": torch.zeros(3, 0), "weight": torch.zeros(2, 0), "bias": b[:2]},
       b[:2].expand(3, 2))
f.case("linear", {"x": rand(3, 5), "weight": w}, error="last axes", static=True)
f.case("linear", {"x": x, "weight": w, "bias": rand(4)}, error="`bias`", static=True)

for a, c in [((3, 4), (4, 5)), ((4,), (4, 5)), ((3, 4), (4,)), ((4,), (4,)), ((2, 3, 4), (4, 5)),
             ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 2)), ((4,), (2, 4, 5)),
             ((2, 3, 4), (4,)), ((3, 0), (0, 2)), ((0, 4), (4, 2)), ((1, 2, 3), (5, 3, 2))]:
    x, y = rand(*a), rand(*c)
    f.case("matmul", {"x": x, "y": y}, torch.matmul(x.double(), y.double()).float())
for tx in [False, True]:
    for ty in [False, True]:
        x = rand(2, 4, 3) if tx else rand(2, 3, 4)
        y = rand(1, 5, 4) if ty else rand(1, 4, 5)
        z = (x.mT if tx else x).double() @ (y.mT if ty else y).double()
        f.case("matmul", {"x": x, "y": y}, z.float(), {"transpose_x": tx, "transpose_y": ty})
        x, y = ints(*x.shape[1:]), ints(*y.shape[1:])
        f.case("matmul", {"x": x, "y": y}, (x.mT if tx else x) @ (y.mT if ty else y),
               {"transpose_x": tx, "transpose_y": ty})
x, y = rand(3, 64, dtype=torch.half), rand(64, 2, dtype=torch.half)
f.case("matmul", {"x": x, "y": y}, (x.double() @ y.double()).half())
f.case("matmul", {"x": x.double(), "y": y.double()}, x.double() @ y.double())
xi, yi = ints(2, 1, 3, 4), ints(3, 4, 2)
f.case("matmul", {"x": xi, "y": yi}, xi @ yi)
big = torch.full((2, 2), 2**30, dtype=torch.int32)
f.case("matmul", {"x": big, "y": big}, big @ big)
f.case("matmul", {"x": rand(3, 4), "y": rand(3, 4)}, error="inner extents", static=True)
f.case("matmul", {"x": rand(4), "y": rand(4, 3)}, error="`transpose_x`", attrs={"transpose_x": True})
f.case("matmul", {"x": rand(3, 4), "y": rand(4, 2, dtype=torch.half)}, error="only a constant")
f.case("matmul", {"x": rand(2, 3, 4), "y": rand(3, 4, 5)}, error="do not broadcast", static=True)

for equation, shapes in [
    ("nchw,nwhu->nchu", [(2, 3, 4, 5), (2, 5, 4, 6)]),
    ("chw,whr->chr", [(3, 4, 5), (5, 4, 2)]),
    ("nchw,nwhu->nchu", [(1, 3, 4, 5), (2, 5, 1, 6)]),
    ("ij,jk->ik", [(2, 3), (3, 4)]), ("ij,kj->ki", [(2, 3), (4, 3)]),
    ("bij,bjk->bik", [(2, 2, 3), (2, 3, 4)]), ("i,j->ij", [(2,), (3,)]), ("i,i->", [(4,), (4,)]),
    ("ij->ji", [(2, 3)]), ("ij->", [(2, 3)]), ("ii->i", [(3, 3)]), ("iji->j", [(3, 2, 3)]),
    ("iij,jk->ki", [(2, 2, 3), (3, 4)]), ("ij,kl->i", [(2, 3), (4, 5)]),
    ("bhld,bhsd->bhls", [(1, 2, 3, 4), (1, 2, 5, 4)]), ("a,ab,b->ab", [(2,), (2, 3), (3,)]),
    ("ab,bc,cd->ad", [(2, 3), (3, 4), (4, 5)]), ("ab,ab->ab", [(2, 3), (2, 3)]),
]:
    values = [rand(*shape) for shape in shapes]
    spread = torch.einsum(equation, *[v.double() for v in values]).float()
    f.case("einsum", {"values": values}, spread, {"equation": equation}, tol=(1e-5, 1e-5))
xi, yi = ints(2, 3), ints(3, 4)
f.case("einsum", {"values": [xi, yi]}, torch.einsum("ij,jk->ik", xi, yi), {"equation": "ij,jk->ik"})
for equation, text in [("ij,jk", "`->`"), ("...j,jk->...k", "ellipsis"), ("ij,jk->il", "`l`"),
                       ("ij,jk->ii", "twice"), ("i1,jk->ik", "no letter"), ("ij->i", "operands"),
                       ("ijk,jk->ik", "axes")]:
    f.case("einsum", {"values": [rand(2, 3), rand(3, 4)]}, error=text, attrs={"equation": equation})
f.case("einsum", {"values": [rand(2, 3), rand(4, 5)]}, error="`j`",
       attrs={"equation": "ij,jk->ik"}, static=True)
f.save()
