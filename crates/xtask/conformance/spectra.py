"""Writes five models with weights like trained ones, and inputs for them, to try budgets of bytes on.

Random weights are a poor test of compression: all of their elements and layers matter alike. Here a weight
is `U·diag(s)·Vᵀ` with random orthogonal `U` and `V` and singular values `s` that fall by a power of their
rank, as those of trained layers do; its rows get log-normal gains, a few columns are an order of magnitude
larger (the outlier channels of transformers), and one element in two thousand is drawn from a Student t
distribution. Exponents, gains and outliers differ from layer to layer. Images are noise with a 1/f
spectrum, tokens follow Zipf's law.

    python spectra.py FOLDER

makes FOLDER/NAME/model.pt2, FOLDER/NAME/calib/*.safetensors and FOLDER/NAME/held/*.safetensors for
mobilenet_v2, resnet18, vit, bert and llama.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file


def spectral(weight, generator):
    """A weight of the same shape, type and energy, with the spectrum of a trained one."""
    shape = weight.shape
    rows, columns = shape[0], weight.numel() // shape[0]
    uniform = lambda low, high: low + (high - low) * torch.rand((), generator=generator).item()
    normal = lambda *size: torch.randn(*size, generator=generator)
    rank = min(rows, columns)
    left, _ = torch.linalg.qr(normal(rows, rank))
    right, _ = torch.linalg.qr(normal(columns, rank))
    values = torch.arange(1, rank + 1).float().pow(-uniform(0.3, 0.9))
    matrix = left @ torch.diag(values) @ right.T
    matrix *= torch.exp(uniform(0.1, 0.6) * normal(rows, 1))
    outliers = max(1, int(columns * uniform(0.0, 0.01)))
    chosen = torch.randperm(columns, generator=generator)[:outliers]
    matrix[:, chosen] *= uniform(2.0, 8.0)
    spread = matrix.std()
    heavy = torch.rand(matrix.shape, generator=generator) < 1 / 2000
    student = normal(*matrix.shape) / (normal(4, *matrix.shape).pow(2).mean(0).sqrt() + 1e-3)
    matrix = torch.where(heavy, 5 * spread * student, matrix)
    matrix *= weight.float().norm() / matrix.norm()
    return matrix.reshape(shape).to(weight.dtype)


def train_like(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.ndim >= 2 and parameter.numel() > 64:
                    parameter.copy_(spectral(parameter, generator))
                elif name == "weight":
                    noise = torch.randn(parameter.shape, generator=generator)
                    parameter.mul_(torch.exp(0.3 * noise))
    return model.eval()


def images(size, seed):
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    spectrum = 1 / np.maximum(frequency, 1 / size)
    noise = np.fft.fft2(generator.standard_normal((1, 3, size, size)))
    image = np.fft.ifft2(noise * spectrum).real
    return torch.tensor(image / image.std(), dtype=torch.float32)


def tokens(count, vocabulary, seed):
    generator = np.random.default_rng(seed)
    ranks = 1 / np.arange(1, vocabulary + 1)
    return torch.tensor(generator.choice(vocabulary, (1, count), p=ranks / ranks.sum()))


class Logits(torch.nn.Module):
    """A model whose first result is a tensor."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        # Positions and mask are given, so that the export has no code that looks for packed sequences.
        count = input_ids.shape[1]
        positions = torch.arange(count)[None]
        mask = torch.full((count, count), -1e4).triu(1)[None, None]
        model = self.model
        given = {"position_ids": positions, "use_cache": False, "return_dict": False}
        return model(input_ids, attention_mask=mask, **given)[0]


class Hidden(Logits):
    def forward(self, input_ids):
        return self.model(input_ids, return_dict=False)[0]


def mobilenet_v2():
    from torchvision.models import mobilenet_v2 as make

    return make(num_classes=100, width_mult=0.5), "x", lambda seed: images(64, seed)


def resnet18():
    from torchvision.models.resnet import BasicBlock, ResNet

    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=100)
    return model, "x", lambda seed: images(48, seed)


def vit():
    from torchvision.models import VisionTransformer

    model = VisionTransformer(48, 8, 4, 4, 128, 512, num_classes=100)
    torch.nn.init.normal_(model.heads.head.weight, std=0.05)
    return model, "x", lambda seed: images(48, seed)


def bert():
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=2000,
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=768,
        max_position_embeddings=64,
        attn_implementation="eager",
    )
    model = Hidden(BertModel(config, add_pooling_layer=False))
    return model, "input_ids", lambda seed: tokens(32, 2000, seed)


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=2000,
        hidden_size=192,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=512,
        max_position_embeddings=64,
        attn_implementation="eager",
    )
    return Logits(LlamaForCausalLM(config)), "input_ids", lambda seed: tokens(32, 2000, seed)


MODELS = [mobilenet_v2, resnet18, vit, bert, llama]
MODELS = {make.__name__: make for make in MODELS}


def write(goal, name, seed):
    """Makes a model and its inputs below `goal`."""
    torch.manual_seed(seed)
    model, feature, inputs = MODELS[name]()
    model = train_like(model, seed)
    folder = goal / name
    with torch.no_grad():
        # Statistics of a normalization are those of its inputs, as after training.
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
                module.train()
        for sample in range(100, 108):
            model(inputs(sample))
        model.eval()
        scale = model(inputs(0)).float().std().item()
    assert math.isfinite(scale) and scale > 0, name
    for kind, first, count in [("calib", 0, 8), ("held", 50, 4)]:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for sample in range(first, first + count):
            data = inputs(sample)
            data = data.to(torch.int32) if data.dtype == torch.int64 else data
            save_file({feature: data.contiguous()}, folder / kind / f"{sample}.safetensors")
    torch.export.save(torch.export.export(model, (inputs(0),)), folder / "model.pt2")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    for seed, name in enumerate(MODELS):
        write(args.folder, name, seed)
        print(name, flush=True)


if __name__ == "__main__":
    main()
