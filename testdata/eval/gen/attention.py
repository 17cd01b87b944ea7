"""Attention against torch in doubles."""

import torch
import torch.nn.functional as F

from common import Family

torch.manual_seed(5)
f = Family("attention")
OP = "scaled_dot_product_attention"


def run(q, k, v, mask=None, tol=(1e-5, 1e-6)):
    wide = [t.double() for t in (q, k, v)]
    m = mask if mask is None or mask.dtype == torch.bool else mask.double()
    if m is not None:
        m = m.expand(*q.shape[:-1], k.shape[-2])
    want = F.scaled_dot_product_attention(*wide, attn_mask=m).to(q.dtype)
    f.case(OP, {"query": q, "key": k, "value": v} | ({} if mask is None else {"attn_mask": mask}),
           want, tol=tol)


for batch in [(2,), (1, 3), (2, 1, 2)]:
    q, k, v = torch.randn(*batch, 3, 4), torch.randn(*batch, 5, 4), torch.randn(*batch, 5, 2)
    run(q, k, v)
    run(q, k, v, torch.randn(*batch, 3, 5))
    run(q, k, v, torch.randn(1, 5))
    keep = torch.rand(*batch, 3, 5) > 0.4
    keep[..., 0] = True
    run(q, k, v, keep)
    run(q, k, v, keep[(0,) * len(batch)])
run(q, q, q, torch.ones(3, 3).tril().bool())
run(q, q, q, torch.full((3, 3), float("-inf")).triu(1))
h = [t.half() for t in (q, k, v)]
run(*h, tol=(2e-3, 2e-4))
run(*h, torch.randn(3, 5).half(), tol=(2e-3, 2e-4))
run(q * 100, k * 100, v)
f.case(OP, {"query": q, "key": k, "value": v, "attn_mask": torch.zeros(3, 5).bool()},
       torch.full((2, 1, 2, 3, 2), float("nan")))
f.case(OP, {"query": q[:, :, :, :0], "key": k, "value": v}, torch.zeros(2, 1, 2, 0, 2))
f.case(OP, {"query": q, "key": k[:1], "value": v}, error="must be equal", static=True)
f.case(OP, {"query": q, "key": k, "value": v, "attn_mask": torch.zeros(3, 1)}, error="last axis",
       static=True)
f.case(OP, {"query": q, "key": k, "value": v[..., :4, :]}, error="axis 3", static=True)
f.case(OP, {"query": q[0, 0, 0], "key": k[0, 0, 0], "value": v[0, 0, 0]}, error="rank of 3 or more")
f.case(OP, {"query": q, "key": k, "value": v, "attn_mask": torch.zeros(3, 5).int()},
       error="bool or a float")
f.save()
