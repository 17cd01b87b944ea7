"""Non-maximum suppression by a loop over the definition, checked against torchvision."""

import numpy as np
import torch
import torchvision

from common import Family

rng = np.random.default_rng(17)
f = Family("detect")


def overlap(a, b):
    wide = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    high = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    both = max(wide, 0) * max(high, 0)
    areas = a[2] * a[3], b[2] * b[3]
    return 0 if min(areas) <= 0 else both / (sum(areas) - both)


def select(boxes, scores, iou, least, most, per_class):
    """Indices for one batch of boxes [B, 4] and scores [B, K]."""
    best, classes = scores.max(1), scores.argmax(1)
    order = sorted(range(len(boxes)), key=lambda i: -best[i])
    kept = []
    for i in order:
        if least is not None and best[i] < least:
            continue
        rivals = [k for k in kept if not per_class or classes[k] == classes[i]]
        if len(kept) < most and all(overlap(boxes[k], boxes[i]) <= iou for k in rivals):
            kept.append(i)
    return kept or order[:1]


def nms(boxes, scores, iou, most, per_class=False, least=None):
    n, count, classes = scores.shape
    out = [np.zeros((n, most, 4), boxes.dtype), np.zeros((n, most, classes), scores.dtype),
           np.full((n, most), -1, np.int32), np.zeros(n, np.int32)]
    for b in range(n):
        kept = select(boxes[b].astype(np.float64), scores[b], iou, least, most, per_class)
        out[0][b, :len(kept)], out[1][b, :len(kept)] = boxes[b][kept], scores[b][kept]
        out[2][b, :len(kept)], out[3][b] = kept, len(kept)
    attrs = {"iou_threshold": iou, "max_boxes": most, "per_class_suppression": per_class}
    turn = lambda a: np.ascontiguousarray(a.transpose(0, 2, 1))
    if least is None:
        boxes, scores = turn(boxes), turn(scores)
        out = [turn(out[0]), turn(out[1]), out[2]]
    else:
        attrs["score_threshold"] = least
    f.case("non_maximum_suppression", {"boxes": boxes, "scores": scores}, out, attrs)
    return out


def draw(n, count, classes):
    boxes = rng.uniform(0, 10, (n, count, 4)).astype(np.float32)
    return boxes, rng.standard_normal((n, count, classes)).astype(np.float32)


for per_class in [False, True]:
    for iou in [0.1, 0.4]:
        b, s = draw(2, 12, 3)
        nms(b, s, iou, 5, per_class)
        nms(b, s, iou, 20, per_class, least=0.3)
        nms(b, s, iou, 3, per_class, least=-50.0)
        nms(b, s, iou, 4, per_class, least=50.0)
b, s = draw(1, 30, 1)
kept = nms(b, s, 0.25, 30)[2][0]
corners = torch.tensor(np.concatenate([b[0, :, :2] - b[0, :, 2:] / 2, b[0, :, :2] + b[0, :, 2:] / 2], 1))
want = torchvision.ops.nms(corners, torch.tensor(s[0, :, 0]), 0.25).numpy()
assert (kept[:len(want)] == want).all() and (kept[len(want):] == -1).all()
nms(b.astype(np.float16), s.astype(np.float16), 0.25, 6)
# Equal scores: the lower index; overlap equal to the threshold: kept; boxes without area.
b = np.array([[[1, 1, 2, 2], [2, 1, 2, 2], [1, 1, 2, 2], [5, 5, 0, 1], [5, 5, 0, 1]]], np.float32)
s = np.ones((1, 5, 1), np.float32)
nms(b, s, float(np.float32(1 / 3)), 5)
nms(b, s, 0.25, 5)
nms(b[:, :2] * np.array([1, 1, 1, 1.5], np.float32), s[:, :2], 0.2, 2, least=1.0)
four = np.repeat(np.arange(4, dtype=np.float32), 4).reshape(1, 4, 4)
nms(four, np.array([-3.5, 9.4, 2.3, 0.7], np.float32).reshape(1, 4, 1), 0.2, 2, True, 0.4)
empty = np.zeros((1, 4, 0), np.float32)
f.case("non_maximum_suppression", {"boxes": empty, "scores": empty[:, :2]},
       [np.zeros((1, 4, 2), np.float32), np.zeros((1, 2, 2), np.float32), np.full((1, 2), -1, np.int32)],
       {"iou_threshold": 0.5, "max_boxes": 2})
e = {"iou_threshold": 0.5, "max_boxes": 2}
f.case("non_maximum_suppression", {"boxes": b, "scores": s}, error="4 on axis 1", attrs=e, static=True)
f.case("non_maximum_suppression", {"boxes": four, "scores": four}, error="`max_boxes`",
       attrs=e | {"max_boxes": 0})
f.save()
