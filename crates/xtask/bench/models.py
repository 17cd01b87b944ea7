"""The models of the benchmark, with seeded random weights: `python models.py FOLDER NAME..`.

Each becomes `FOLDER/NAME.pt2`, a file of `torch.export.save` of the program in core ATen ops, the only
form of it that coremltools reads, or `NAME.pt`, a file of `torch.jit.save`. Nothing is downloaded.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import torch
from torch import nn


class Block(nn.Module):
    """A layer of the depth sweep and of the Llama-like models."""

    def __init__(self, width, heads, kv_heads, hidden):
        super().__init__()
        self.heads, self.kv_heads, self.head = heads, kv_heads, width // heads
        self.attention_norm = nn.RMSNorm(width, eps=1e-5)
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, self.head * kv_heads, bias=False)
        self.v = nn.Linear(width, self.head * kv_heads, bias=False)
        self.o = nn.Linear(width, width, bias=False)
        self.mlp_norm = nn.RMSNorm(width, eps=1e-5)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def split(self, x, heads):
        return x.view(x.shape[0], x.shape[1], heads, self.head).transpose(1, 2)

    def forward(self, x, cos, sin, mask):
        h = self.attention_norm(x)
        q, k = rotate(self.split(self.q(h), self.heads), cos, sin), self.split(self.k(h), self.kv_heads)
        k, v = rotate(k, cos, sin), self.split(self.v(h), self.kv_heads)
        repeat = self.heads // self.kv_heads
        if repeat > 1:
            k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
        scores = q @ k.transpose(2, 3) / self.head**0.5 + mask
        h = (scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
        x = x + self.o(h)
        h = self.mlp_norm(x)
        return x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Llama(nn.Module):
    """A decoder as of Llama: RMS norm, rotary positions, grouped queries, SwiGLU."""

    def __init__(self, vocabulary, layers, width, heads, kv_heads, hidden, length=64):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Block(width, heads, kv_heads, hidden) for _ in range(layers))
        self.norm = nn.RMSNorm(width, eps=1e-5)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.half, self.length = width // heads // 2, length
        self.tables()

    def tables(self, persistent=True):
        """Positions and mask; kept among the weights if `persistent`."""
        angles = 1e4 ** (-torch.arange(self.half) / self.half)
        angles = torch.outer(torch.arange(self.length).float(), angles)
        angles = torch.cat((angles, angles), dim=-1)
        self.register_buffer("cos", angles.cos(), persistent)
        self.register_buffer("sin", angles.sin(), persistent)
        mask = torch.full((self.length, self.length), -1e4).triu(1)
        self.register_buffer("mask", mask, persistent)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin, self.mask)
        return self.head(self.norm(x))


class Last(nn.Module):
    """The first tensor that a model of transformers gives."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *inputs):
        return self.model(*inputs, return_dict=False)[0]


class Gpt2(nn.Module):
    """The mask is given, as the one that transformers makes cannot be exported."""

    def __init__(self, model, length):
        super().__init__()
        self.model = model
        self.register_buffer("mask", causal(length))

    def forward(self, tokens):
        return self.model(
            tokens, attention_mask=self.mask, use_cache=False, return_dict=False
        )[0]


class Whisper(nn.Module):
    """Encoder and decoder of one call."""

    def __init__(self, model, length):
        super().__init__()
        self.model = model
        self.register_buffer("mask", causal(length))

    def forward(self, sound, tokens):
        return self.model(
            input_features=sound, decoder_input_ids=tokens, decoder_attention_mask=self.mask,
            use_cache=False, return_dict=False,
        )[0]


def causal(length):
    return torch.full((1, 1, length, length), -1e4).triu(1)


def image(name):
    import torchvision

    return getattr(torchvision.models, name)(weights=None), (torch.randn(1, 3, 224, 224),)


def tokens(vocabulary, length):
    return torch.randint(0, vocabulary, (1, length), dtype=torch.int32)


def bert():
    from transformers import BertConfig, BertModel

    model = BertModel(BertConfig(attn_implementation="eager"), add_pooling_layer=False)
    return Last(model), (tokens(30522, 128), torch.ones(1, 128, dtype=torch.int32))


def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(attn_implementation="eager"))
    return Gpt2(model, 64), (tokens(50257, 64),)


def whisper():
    from transformers import WhisperConfig, WhisperModel

    config = WhisperConfig(
        d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
        decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536,
        attn_implementation="eager",
    )
    return Whisper(WhisperModel(config), 16), (torch.randn(1, 80, 3000), tokens(51865, 16))


def llama(*sizes):
    return Llama(*sizes), (tokens(sizes[0], 64),)


def hollow_llama(*sizes):
    """One whose weights take no memory, as nobody writes or reads them."""
    with torch.device("meta"):
        model = Llama(*sizes)
    model.to_empty(device="cpu").tables(persistent=False)
    return model, (tokens(sizes[0], 64),)


@dataclass(frozen=True)
class Model:
    """A model and the kind of file it is exported to."""

    make: Callable
    suffix: str = ".pt2"
    """Shape and element type of the inputs, for kinds of files that do not say them."""
    inputs: tuple = ()
    """Whether the weights are holes of the file: it is larger than memory and disk."""
    hollow: bool = False


PICTURE = (((1, 3, 224, 224), "float32"),)
TOKENS = (((1, 64), "int32"),)

# coremltools cannot read batch norms of exported programs, and `torch.export.save` holds the weights three
# times, so that some are traced.
MODELS = {
    "mobilenet-v2": Model(lambda: image("mobilenet_v2"), ".pt", PICTURE),
    "resnet50": Model(lambda: image("resnet50"), ".pt", PICTURE),
    "vit-b-16": Model(lambda: image("vit_b_16")),
    "convnext-tiny": Model(lambda: image("convnext_tiny")),
    "bert-base": Model(bert),
    "gpt2": Model(gpt2),
    "whisper-tiny": Model(whisper),
    # vocabulary, layers, width, heads, heads of keys and values, hidden width
    "llama-300m": Model(lambda: llama(32000, 16, 1024, 16, 4, 4096)),
    "llama-1b": Model(lambda: llama(32000, 22, 2048, 32, 4, 5632), ".pt", TOKENS),
    "llama-8b": Model(lambda: hollow_llama(128256, 32, 4096, 32, 8, 14336), hollow=True),
}
DEPTHS = [4, 8, 16, 32, 64, 128, 256]
MODELS |= {f"depth-{n}": Model(lambda n=n: llama(256, n, 64, 4, 4, 128)) for n in DEPTHS}


def export(kind, path):
    model, inputs = kind.make()
    model.eval()
    with torch.no_grad():
        if path.suffix == ".pt":
            torch.jit.trace(model, inputs).save(path)
            return
        program = torch.export.export(model, inputs, strict=False).run_decompositions({})
    if kind.hollow:
        import sparse

        sparse.save(program, path)
    else:
        torch.export.save(program, path)


def main():
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        torch.manual_seed(0)
        path = folder / f"{name}{MODELS[name].suffix}"
        # A file that is there is a whole one.
        partial = path.with_name(f"partial{path.suffix}")
        export(MODELS[name], partial)
        partial.rename(path)


if __name__ == "__main__":
    main()
