//! The pass `dedup-consts`.

use std::collections::BTreeMap;

use mlc_ir::ops::Const;
use mlc_ir::{ConstId, ConstPool, Op, Program};
use mlc_pass::{Changed, Pass, PassCx, PassError, Phase, Result};
use mlc_tensor::{DType, Source, Tensor, TensorError};
use serde::{Deserialize, Serialize};

/// Makes constants of equal type and bytes one constant.
///
/// Only constants of equal type are compared, and only ones that agree in at least 64 sampled elements
/// are read whole. Constants that have to be computed are compared while their sizes add up to no more than
/// `budget` bytes.
///
/// ```mlc before
/// weights {
///   @a : tensor<32xf32> = splat(0.5)
///   @b : tensor<32xf32> = cast(splat(0.5) : tensor<32xf16>)
/// }
/// func @f(%x: tensor<32xf32>) -> tensor<32xf32> {
///   %1 = const @a : tensor<32xf32>
///   %2 = mul %x, %1
///   %3 = const @b : tensor<32xf32>
///   %y = add %2, %3
///   return %y
/// }
/// ```
/// ```mlc after
/// weights {
///   @a : tensor<32xf32> = splat(0.5)
/// }
/// func @f(%x: tensor<32xf32>) -> tensor<32xf32> {
///   %1 = const @a : tensor<32xf32>
///   %2 = mul %x, %1
///   %3 = const @a : tensor<32xf32>
///   %y = add %2, %3
///   return %y
/// }
/// ```
#[derive(Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DedupConsts {
    /// Most bytes of the constants that are computed to be compared.
    budget: u64,
}

impl Default for DedupConsts {
    fn default() -> Self {
        Self { budget: 256 << 20 }
    }
}

impl Pass for DedupConsts {
    fn name(&self) -> &'static str {
        "dedup-consts"
    }

    fn phase(&self) -> Phase {
        Phase::Any
    }

    fn run(&self, program: &mut Program, cx: &mut PassCx) -> Result<Changed> {
        let functions = cx.functions(program);
        let mut uses = Vec::new();
        for func in functions {
            let function = &program.functions[func];
            function.for_each_node(&mut |_, node| {
                if let Op::Const(Const { value }) = function.nodes[node].op {
                    uses.push((func, node, value));
                }
            });
        }
        let ids = uses.iter().map(|&(_, _, id)| id);
        let first = self.first_of_equal(&program.consts, ids)?;
        let mut changed = 0;
        for (func, node, id) in uses {
            if first[&id] != id {
                program.functions[func].nodes[node].op = Const { value: first[&id] }.into();
                changed += 1;
            }
        }
        cx.count("merged", changed);
        Ok(Changed::from(changed > 0))
    }
}

impl DedupConsts {
    /// For each constant, the one of least id that is equal to it.
    fn first_of_equal(
        &self,
        pool: &ConstPool,
        ids: impl Iterator<Item = ConstId>,
    ) -> Result<BTreeMap<ConstId, ConstId>> {
        let mut first: BTreeMap<ConstId, ConstId> = ids.map(|id| (id, id)).collect();
        let mut classes: BTreeMap<(DType, &[u64]), Vec<ConstId>> = BTreeMap::new();
        for &id in first.keys() {
            let tensor = pool.get(id);
            classes.entry((tensor.dtype(), tensor.shape())).or_default().push(id);
        }
        let mut left = self.budget;
        for class in classes.into_values().filter(|class| class.len() > 1) {
            let mut alike = Vec::new();
            for group in split(pool, class, FIRST)? {
                alike.extend(split(pool, group, usize::MAX)?);
            }
            for alike in alike {
                let mut digests: BTreeMap<[u8; 32], ConstId> = BTreeMap::new();
                for id in alike {
                    let tensor = pool.get(id);
                    if !is_stored(tensor) {
                        let Some(rest) = left.checked_sub(tensor.byte_len()) else { continue };
                        left = rest;
                    }
                    let digest = tensor.digest().map_err(|error| {
                        PassError::from(TensorError::BadRecipe { what: error.to_string() })
                    })?;
                    first.insert(id, *digests.entry(digest).or_insert(id));
                }
            }
        }
        Ok(first)
    }
}

/// Elements that are sampled at least, and those of them that are looked at first: most constants differ
/// in them.
const SAMPLED: usize = 64;
const FIRST: usize = 2;

/// Those of `ids` that agree in the first `most` sampled elements, where there are several.
fn split(pool: &ConstPool, ids: Vec<ConstId>, most: usize) -> Result<Vec<Vec<ConstId>>> {
    let mut alike: BTreeMap<Vec<u8>, Vec<ConstId>> = BTreeMap::new();
    for id in ids {
        alike.entry(sample(pool.get(id), most)?).or_default().push(id);
    }
    Ok(alike.into_values().filter(|alike| alike.len() > 1).collect())
}

/// Whether the bytes are there without computing.
fn is_stored(tensor: &Tensor) -> bool {
    matches!(tensor.source(), Source::Mapped { .. } | Source::Bytes(_))
}

/// The first `most` of the elements at positions that depend on the count alone.
fn sample(tensor: &Tensor, most: usize) -> Result<Vec<u8>> {
    let count = match tensor.dtype().size() {
        Some(_) => tensor.count(),
        None => tensor.byte_len() as usize,
    };
    let places = (0..count).step_by((count / SAMPLED).max(1));
    let sample = tensor.sample(places.take(most))?;
    if most > FIRST {
        tensor.release();
    }
    Ok(sample)
}
