"""Prints the seconds in which coremltools reads a package, compresses its weights and writes the result.

    python compress_time.py SCHEME PACKAGE
"""

import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import coremltools as ct  # noqa: E402
import coremltools.optimize.coreml as cto  # noqa: E402

logging.getLogger("coremltools").setLevel(logging.CRITICAL)


def linear(**options):
    config = cto.OpLinearQuantizerConfig(mode="linear_symmetric", **options)
    return cto.linear_quantize_weights, config


def palette(**options):
    return cto.palettize_weights, cto.OpPalettizerConfig(mode="kmeans", nbits=4, **options)


SCHEMES = {
    "w8": linear(dtype="int8"),
    "w4-block32": linear(dtype="int4", granularity="per_block", block_size=32),
    "lut4": palette(),
    "lut4-g16": palette(granularity="per_grouped_channel", group_size=16),
    "lut4-v2": palette(cluster_dim=2),
    "prune-50": (cto.prune_weights, cto.OpMagnitudePrunerConfig(target_sparsity=0.5)),
}


def main():
    scheme, package = sys.argv[1:]
    compress, config = SCHEMES[scheme]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        model = ct.models.MLModel(package, skip_model_load=True)
        model = compress(model, cto.OptimizationConfig(global_config=config))
        model.save(str(Path(folder) / "small.mlpackage"))
        print(time.perf_counter() - start)


if __name__ == "__main__":
    main()
