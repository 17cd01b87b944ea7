//! Ops that are known and have no lowering: why, and what to do instead.

use crate::lower::registry::Refusal;

const ELSEWHERE: &str =
    "compute it outside of the model, and give the result as an input or keep it as a buffer";
const LOSS: &str = "leave the loss out of the exported model";
const INFERENCE: &str = "export the model for inference, in eval mode and without gradients";
const DENSE: &str = "use dense tensors: call `.to_dense()` or pad the sequences before the export";

pub(super) const REFUSALS: &[Refusal] = &[
    Refusal {
        names: &[
            "aten._linalg_eigh",
            "aten._linalg_eigvals",
            "aten._linalg_svd",
            "aten._lu_with_info",
            "aten.geqrf",
            "aten.linalg_eig",
            "aten.linalg_eigh",
            "aten.linalg_eigvals",
            "aten.linalg_eigvalsh",
            "aten.linalg_householder_product",
            "aten.linalg_ldl_factor",
            "aten.linalg_ldl_factor_ex",
            "aten.linalg_ldl_solve",
            "aten.linalg_lstsq",
            "aten.linalg_lu",
            "aten.linalg_lu_factor",
            "aten.linalg_lu_factor_ex",
            "aten.linalg_lu_solve",
            "aten.linalg_pinv",
            "aten.linalg_qr",
            "aten.linalg_svd",
            "aten.linalg_tensorinv",
            "aten.linalg_tensorsolve",
            "aten.lobpcg",
            "aten.lu_solve",
            "aten.lu_unpack",
            "aten.orgqr",
            "aten.ormqr",
            "aten.pca_lowrank",
            "aten.pinverse",
            "aten.qr",
            "aten.svd",
            "aten.svd_lowrank",
        ],
        why: "Core ML has no factorization of matrices",
        help: ELSEWHERE,
    },
    Refusal {
        names: &["aten.linalg_matrix_exp", "aten.matrix_exp"],
        why: "Core ML has no exponential of matrices",
        help: ELSEWHERE,
    },
    Refusal {
        names: &[
            "aten.igamma",
            "aten.igammac",
            "aten.polygamma",
            "aten.special_airy_ai",
            "aten.special_bessel_j0",
            "aten.special_bessel_j1",
            "aten.special_bessel_y0",
            "aten.special_bessel_y1",
            "aten.special_chebyshev_polynomial_t",
            "aten.special_chebyshev_polynomial_u",
            "aten.special_chebyshev_polynomial_v",
            "aten.special_chebyshev_polynomial_w",
            "aten.special_gammainc",
            "aten.special_gammaincc",
            "aten.special_hermite_polynomial_h",
            "aten.special_hermite_polynomial_he",
            "aten.special_laguerre_polynomial_l",
            "aten.special_legendre_polynomial_p",
            "aten.special_modified_bessel_i0",
            "aten.special_modified_bessel_i1",
            "aten.special_modified_bessel_k0",
            "aten.special_modified_bessel_k1",
            "aten.special_polygamma",
            "aten.special_scaled_modified_bessel_k0",
            "aten.special_scaled_modified_bessel_k1",
            "aten.special_shifted_chebyshev_polynomial_t",
            "aten.special_shifted_chebyshev_polynomial_u",
            "aten.special_shifted_chebyshev_polynomial_v",
            "aten.special_shifted_chebyshev_polynomial_w",
            "aten.special_spherical_bessel_j0",
            "aten.special_zeta",
        ],
        why: "Core ML has no such function, and no approximation by those it has is accurate enough",
        help: ELSEWHERE,
    },
    Refusal {
        names: &["aten.nextafter"],
        why: "the neighbour of a float is told by its bits, which Core ML cannot see",
        help: "add a small multiple of the number instead",
    },
    Refusal {
        names: &["aten.ctc_loss", "aten._ctc_loss"],
        why: "the loss sums over all alignments of two sequences",
        help: LOSS,
    },
    Refusal {
        names: &[
            "aten.bincount",
            "aten.histogram",
            "aten.histogramdd",
            "aten._histogramdd_bin_edges",
            "aten._histogramdd_from_bin_cts",
            "aten._histogramdd_from_bin_tensors",
        ],
        why: "the number of bins depends on the values",
        help: "use `torch.histc` with a known range",
    },
    Refusal {
        names: &["aten.unique_dim", "aten.unique_dim_consecutive"],
        why: "distinct slices have no order that Core ML can sort by",
        help: "compare whole tensors with `torch.unique`, or leave `dim` out",
    },
    Refusal {
        names: &["aten.equal", "aten.allclose"],
        why: "the result is a Python truth value that the graph cannot hold",
        help: "use `torch.eq(x, y).all()` or `torch.isclose(x, y).all()`, which give tensors",
    },
    Refusal {
        names: &["aten.fractional_max_pool2d", "aten.fractional_max_pool3d"],
        why: "the windows of the pool are drawn at random",
        help: "use `max_pool2d` or `adaptive_max_pool2d` in the exported model",
    },
    Refusal {
        names: &[
            "aten.binomial",
            "aten.poisson",
            "aten._standard_gamma",
            "aten._sample_dirichlet",
            "aten.random",
        ],
        why: "Core ML draws from uniform, normal, Bernoulli and categorical distributions only",
        help: "draw the numbers outside of the model and give them as an input",
    },
    Refusal {
        names: &["aten._weight_int4pack_mm", "aten._convert_weight_to_int4pack"],
        why: "the weight is packed for one kind of graphics processor",
        help: "quantize the model on the CPU before exporting it",
    },
    Refusal {
        names: &["aten.resize", "aten.resize_as", "aten.set"],
        why: "it gives the memory of a tensor another size",
        help: "make a new tensor with `torch.nn.functional.pad` or a slice",
    },
    Refusal {
        names: &["aten.embedding_renorm"],
        why: "it changes the table of an embedding whenever the model runs",
        help: "bring the rows to `max_norm` once, and export without it",
    },
    Refusal {
        names: &["aten.segment_reduce", "aten._segment_reduce_backward"],
        why: "the lengths of the segments are known only while the model runs",
        help: "use `scatter_reduce` with the number of the segment of each element",
    },
];

/// Refusals of all ops whose names hold one of these.
pub(super) const KINDS: &[Refusal] = &[
    Refusal { names: &["backward", "_grad"], why: "it is a step of training", help: INFERENCE },
    Refusal {
        names: &["sparse", "nested", "jagged", "_csr", "_csc", "_bsr", "_bsc"],
        why: "Core ML has dense tensors only",
        help: DENSE,
    },
    Refusal {
        names: &["_foreach_", "_fused_adam", "_fused_sgd", "_amp_"],
        why: "it belongs to an optimizer",
        help: INFERENCE,
    },
];
