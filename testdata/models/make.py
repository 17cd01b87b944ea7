"""Makes squeezenet1_1.pt2: SqueezeNet 1.1 of torchvision with seeded weights, as a user exports it.

Needs torch 2.7.1 and torchvision 0.22.1. Run it in this folder.
"""

import torch
import torchvision

torch.manual_seed(0)
model = torchvision.models.squeezenet1_1(weights=None).eval()
program = torch.export.export(model, (torch.randn(1, 3, 224, 224),))
torch.export.save(program, "squeezenet1_1.pt2")
