"""Recurrent layers: torch's modules where they compute the same (weights put in this order), loops
over the definition in numpy doubles for activations, peepholes, clipping and the gate before the
product."""

import numpy as np
import torch

from common import Family

torch.manual_seed(7)
rng = np.random.default_rng(7)
f = Family("recurrent")
S, B, I, H = 4, 2, 3, 2
SIG = lambda v: 1 / (1 + np.exp(-v))
ACT = {
    "tanh": np.tanh, "sigmoid": SIG, "relu": lambda v: np.maximum(v, 0), "linear": lambda v: v,
    "scaled_tanh": lambda v: 1.7159 * np.tanh(2 / 3 * v),
    "hard_sigmoid": lambda v: np.clip(0.2 * v + 0.5, 0, 1),
    "sigmoid_hard": lambda v: np.clip(0.2 * v + 0.5, 0, 1),
}
x = torch.randn(S, B, I)
h0, c0 = torch.randn(1, B, H), torch.randn(1, B, H)


def perm(t, order):
    return torch.cat([t.chunk(len(order))[k] for k in order]).detach()


def weights(m, order, back=False):
    tail = "_l0_reverse" if back else "_l0"
    ih, hh = (perm(getattr(m, f"weight_{k}{tail}"), order) for k in ("ih", "hh"))
    bi, bh = (perm(getattr(m, f"bias_{k}{tail}"), order) for k in ("ih", "hh"))
    return ih, hh, bi, bh


def want(y, last, sequence):
    return [(y if sequence else y[-1:]).float()] + [t.float() for t in last]


for reverse in [False, True]:
    for sequence in [False, True]:
        attrs = {"direction": "reverse" if reverse else "forward", "output_sequence": sequence}
        walked = x.flip(0) if reverse else x
        for kind in ["tanh", "relu"]:
            m = torch.nn.RNN(I, H, nonlinearity=kind)
            ih, hh, bi, bh = weights(m, [0])
            y, h = m.double()(walked.double(), h0.double())
            f.case("rnn", {"x": x, "initial_h": h0[0], "weight_ih": ih, "weight_hh": hh,
                           "bias": bi + bh}, want(y, [h[0]], sequence), attrs | {"activation": kind})
        m = torch.nn.GRU(I, H)
        ih, hh, bi, bh = weights(m, [0, 2, 1])
        y, h = m.double()(walked.double(), h0.double())
        f.case("gru", {"x": x, "initial_h": h0[0], "weight_ih": ih, "weight_hh": hh, "bias": bh,
                       "input_bias": bi}, want(y, [h[0]], sequence), attrs | {"reset_after": True})
        m = torch.nn.LSTM(I, H)
        ih, hh, bi, bh = weights(m, [0, 1, 3, 2])
        y, (h, c) = m.double()(walked.double(), (h0.double(), c0.double()))
        f.case("lstm", {"x": x, "initial_h": h0[0], "initial_c": c0[0], "weight_ih": ih,
                        "weight_hh": hh, "bias": bi + bh}, want(y, [h[0], c[0]], sequence), attrs)

two = torch.nn.LSTM(I, H, bidirectional=True)
ih, hh, bi, bh = weights(two, [0, 1, 3, 2])
ihb, hhb, bib, bhb = weights(two, [0, 1, 3, 2], back=True)
h2, c2 = torch.randn(2, B, H), torch.randn(2, B, H)
y, (h, c) = two.double()(x.double(), (h2.double(), c2.double()))
join = lambda t: torch.cat([t[0], t[1]], -1)
both = {"x": x, "initial_h": join(h2), "initial_c": join(c2), "weight_ih": ih, "weight_hh": hh,
        "bias": bi + bh, "weight_ih_back": ihb, "weight_hh_back": hhb, "bias_back": bib + bhb}
f.case("lstm", both, [y.float(), join(h).float(), join(c).float()],
       {"direction": "bidirectional", "output_sequence": True})
f.case("lstm", both, [join(h).float()[None], join(h).float(), join(c).float()],
       {"direction": "bidirectional"})
f.case("lstm", {k: both[k] for k in list(both)[:6]}, error="weight_ih_back",
       attrs={"direction": "bidirectional"})
f.case("lstm", both, error="is not `bidirectional`")


def n64(t):
    return t.double().numpy()


def rnn(act, sequence):
    ih, hh, h = rng.normal(size=(H, I)), rng.normal(size=(H, H)), n64(h0[0])
    ops = {"x": x, "initial_h": h0[0], "weight_ih": ih.astype(np.float32),
           "weight_hh": hh.astype(np.float32)}
    ih, hh = ops["weight_ih"].astype(np.float64), ops["weight_hh"].astype(np.float64)
    out = []
    for t in n64(x):
        h = ACT[act](t @ ih.T + h @ hh.T)
        out.append(h)
    y = np.stack(out if sequence else out[-1:])
    f.case("rnn", ops, [y.astype(np.float32), h.astype(np.float32)],
           {"activation": act, "output_sequence": sequence})


for act in ["sigmoid", "linear", "scaled_tanh", "hard_sigmoid", "sigmoid_hard"]:
    rnn(act, act != "linear")


def gru(ract, act, biased, sequence=True, dtype=np.float32, tol=None):
    ops = {"weight_ih": rng.normal(size=(3 * H, I)), "weight_hh": rng.normal(size=(3 * H, H)),
           "bias": rng.normal(size=3 * H), "input_bias": rng.normal(size=3 * H),
           "x": n64(x), "initial_h": n64(h0[0])}
    ops = {k: v.astype(dtype) for k, v in ops.items()}
    w = {k: v.astype(np.float64) for k, v in ops.items()}
    if not biased:
        del ops["bias"], ops["input_bias"]
        w["bias"] = w["input_bias"] = np.zeros(3 * H)
    wr, wo, wz = np.split(w["weight_ih"], 3)
    rr, ro, rz = np.split(w["weight_hh"], 3)
    br, bo, bz = np.split(w["bias"] + w["input_bias"], 3)
    h, out = w["initial_h"], []
    for t in w["x"]:
        r = ACT[ract](t @ wr.T + h @ rr.T + br)
        z = ACT[ract](t @ wz.T + h @ rz.T + bz)
        o = ACT[act](t @ wo.T + (r * h) @ ro.T + bo)
        h = (1 - z) * o + z * h
        out.append(h)
    y = np.stack(out if sequence else out[-1:])
    f.case("gru", ops, [y.astype(dtype), h.astype(dtype)],
           {"recurrent_activation": ract, "activation": act, "output_sequence": sequence}, tol=tol)


gru("sigmoid", "tanh", True)
gru("sigmoid", "tanh", False, sequence=False)
gru("hard_sigmoid", "relu", True)
gru("sigmoid_hard", "scaled_tanh", True)
gru("sigmoid", "linear", True)
gru("sigmoid", "tanh", True, dtype=np.float16, tol=(3e-3, 1e-3))


def lstm(ract, cact, act, clip=None, peephole=True, reverse=False):
    ops = {"weight_ih": rng.normal(size=(4 * H, I)), "weight_hh": rng.normal(size=(4 * H, H)),
           "bias": rng.normal(size=4 * H), "peephole": rng.normal(size=3 * H),
           "x": n64(x), "initial_h": n64(h0[0]), "initial_c": n64(c0[0])}
    ops = {k: v.astype(np.float32) for k, v in ops.items()}
    w = {k: v.astype(np.float64) for k, v in ops.items()}
    if not peephole:
        del ops["peephole"]
        w["peephole"] = np.zeros(3 * H)
    pi, pf, po = np.split(w["peephole"], 3)
    h, c, out = w["initial_h"], w["initial_c"], []
    for t in w["x"][::-1] if reverse else w["x"]:
        i, g_f, o, g = np.split(t @ w["weight_ih"].T + h @ w["weight_hh"].T + w["bias"], 4, axis=1)
        c = ACT[ract](g_f + pf * c) * c + ACT[ract](i + pi * c) * ACT[cact](g)
        if clip is not None:
            c = np.clip(c, -clip, clip)
        h = ACT[ract](o + po * c) * ACT[act](c)
        out.append(h)
    attrs = {"recurrent_activation": ract, "cell_activation": cact, "activation": act,
             "output_sequence": True, "direction": "reverse" if reverse else "forward"}
    if clip is not None:
        attrs["clip"] = clip
    f.case("lstm", ops, [np.stack(out).astype(np.float32), h.astype(np.float32),
                         c.astype(np.float32)], attrs)


lstm("sigmoid", "tanh", "tanh")
lstm("sigmoid", "tanh", "relu", clip=0.2)
lstm("hard_sigmoid", "relu", "linear", clip=0.7)
lstm("sigmoid", "tanh", "scaled_tanh", peephole=False, reverse=True)
lstm("sigmoid", "linear", "hard_sigmoid", reverse=True)


def both_ways(ract, cact, act, dtype=np.float32, tol=None):
    """Peepholes in both directions and no bias."""
    draw = lambda *shape: rng.normal(size=shape).astype(dtype)
    side = lambda tail: {f"weight_ih{tail}": draw(4 * H, I), f"weight_hh{tail}": draw(4 * H, H),
                         f"peephole{tail}": draw(3 * H)}
    sides, states = [side(""), side("_back")], [draw(B, H) for _ in range(4)]
    given = n64(x).astype(dtype)
    rows, last = [], []
    for k, one in enumerate(sides):
        wi, wh, peep = (v.astype(np.float64) for v in one.values())
        pi, pf, po = np.split(peep, 3)
        h, c, out = states[k].astype(np.float64), states[2 + k].astype(np.float64), []
        for t in given.astype(np.float64)[::-1] if k else given.astype(np.float64):
            i, g_f, o, g = np.split(t @ wi.T + h @ wh.T, 4, axis=1)
            c = ACT[ract](g_f + pf * c) * c + ACT[ract](i + pi * c) * ACT[cact](g)
            h = ACT[ract](o + po * c) * ACT[act](c)
            out.append(h)
        rows.append(np.stack(out[::-1] if k else out))
        last.append((h, c))
    ops = {"x": given, "initial_h": np.concatenate(states[:2], 1),
           "initial_c": np.concatenate(states[2:], 1)} | sides[0] | sides[1]
    joined = [np.concatenate(rows, 2)] + [np.concatenate([last[0][j], last[1][j]], 1) for j in (0, 1)]
    f.case("lstm", ops, [j.astype(dtype) for j in joined],
           {"direction": "bidirectional", "recurrent_activation": ract, "cell_activation": cact,
            "activation": act, "output_sequence": True}, tol=tol)


both_ways("sigmoid", "tanh", "tanh")
both_ways("sigmoid", "tanh", "tanh", np.float16, (1e-2, 5e-3))
for gate, cell, out in [("tanh", "sigmoid", "sigmoid"), ("relu", "hard_sigmoid", "sigmoid_hard"),
                        ("linear", "scaled_tanh", "tanh"), ("scaled_tanh", "sigmoid_hard", "tanh"),
                        ("sigmoid_hard", "tanh", "tanh")]:
    lstm(gate, cell, out, clip=1.5)
for gate, out in [("linear", "sigmoid"), ("relu", "hard_sigmoid"), ("scaled_tanh", "sigmoid_hard"),
                  ("tanh", "tanh")]:
    gru(gate, out, True)

m = torch.nn.RNN(I, H)
ih, hh, bi, bh = weights(m, [0])
ops = {"x": x, "initial_h": h0[0], "weight_ih": ih, "weight_hh": hh}
f.case("rnn", ops | {"x": torch.zeros(0, B, I)}, [torch.zeros(0, B, H), h0[0]],
       {"output_sequence": True})
f.case("rnn", ops | {"x": torch.zeros(0, B, I)}, error="no last step")
f.case("rnn", ops, error="only `lstm`", attrs={"direction": "bidirectional"})
f.case("rnn", ops | {"weight_ih": torch.zeros(H, I + 1)}, error="the last axis of `x`", static=True)
f.case("rnn", ops | {"bias": torch.zeros(H + 1)}, error="`bias`", static=True)
f.case("rnn", ops | {"x": x[0]}, error="rank 3")
f.case("gru", ops, error="rows are needed", static=True)
f.case("rnn", ops | {"initial_h": torch.zeros(B + 1, H)}, error="`initial_h`", static=True)
f.save()
