//! Lists of tensors as values: one by one where positions are known, else stacked.

use mlc_ir::attr::ScatterMode;
use mlc_ir::ops::{Gather, Scatter, Stack};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use super::Cx;
use super::dims;
use super::error::{LowerError, LowerResult};
use super::value::{Items, List};

/// Lists of at most this many elements are kept element by element.
const MAX_EACH: i64 = 256;

impl Cx<'_> {
    /// The number of elements.
    ///
    /// # Errors
    /// None for lists made here.
    pub fn list_length(&self, list: &List) -> LowerResult<Dim> {
        Ok(match &list.items {
            Items::Unset(length) => length.clone(),
            Items::Each(items) => Dim::Const(items.len() as i64),
            Items::Whole(value) => {
                let shape = self.shape(*value)?;
                shape.first().cloned().ok_or_else(|| LowerError::invalid("a list is a scalar"))?
            }
        })
    }

    /// The extents of each element, as far as they are known.
    #[must_use]
    pub fn list_element(&self, list: &List) -> Option<Vec<Option<Dim>>> {
        let known = match &list.items {
            Items::Whole(value) => self.shape(*value).ok().map(|shape| shape[1..].to_vec()),
            Items::Each(items) => {
                items.iter().flatten().next().and_then(|&value| self.shape(value).ok())
            }
            Items::Unset(_) => None,
        };
        match known {
            Some(shape) => Some(shape.into_iter().map(Some).collect()),
            None => list.element.clone(),
        }
    }

    /// All elements stacked; elements that were not written are zeros.
    ///
    /// # Errors
    /// The extents of elements are not known.
    pub fn list_stacked(&mut self, list: &List) -> LowerResult<Value> {
        let element = self.list_element(list);
        match &list.items {
            Items::Whole(value) => return Ok(*value),
            Items::Each(items) if !items.is_empty() => {
                if let Some(all) = items.iter().copied().collect::<Option<Vec<_>>>() {
                    return match all[..] {
                        [one] => self.expand_dims(one, &[0]),
                        _ => Ok(Stack { axis: 0 }.build(&mut self.b, all)?),
                    };
                }
                let shape = known_element(element)?;
                let zero = self.number(list.dtype, 0.0)?;
                let mut all = Vec::with_capacity(items.len());
                for item in items {
                    all.push(match item {
                        Some(value) => *value,
                        None => self.filled(&shape, zero)?,
                    });
                }
                return match all[..] {
                    [one] => self.expand_dims(one, &[0]),
                    _ => Ok(Stack { axis: 0 }.build(&mut self.b, all)?),
                };
            }
            _ => {}
        }
        let mut shape = vec![self.list_length(list)?];
        shape.extend(known_element(element)?);
        let zero = self.number(list.dtype, 0.0)?;
        self.filled(&shape, zero)
    }

    /// Element `index`.
    ///
    /// # Errors
    /// It was not written, or the extents of elements are not known.
    pub fn list_get(&mut self, list: &List, index: Value) -> LowerResult<Value> {
        if let (Items::Each(items), Some([at])) = (&list.items, self.ints(index).as_deref()) {
            let item = usize::try_from(*at).ok().and_then(|at| items.get(at));
            return match item {
                Some(Some(value)) => Ok(*value),
                Some(None) => {
                    let shape = known_element(self.list_element(list))?;
                    let zero = self.number(list.dtype, 0.0)?;
                    self.filled(&shape, zero)
                }
                None => Err(LowerError::invalid(format!("index {at} of {} elements", items.len()))),
            };
        }
        let all = self.list_stacked(list)?;
        Ok(Gather { axis: 0, batch_dims: 0, validate_indices: false }.build(
            &mut self.b,
            all,
            index,
        )?)
    }

    /// The list with `value` for element `index`.
    ///
    /// # Errors
    /// The element does not fit.
    pub fn list_set(&mut self, list: &List, index: Value, value: Value) -> LowerResult<List> {
        let at = self.ints(index).and_then(|all| all.first().copied());
        if let Some(at) = at {
            let each = match &list.items {
                Items::Each(items) => Some(items.clone()),
                Items::Unset(length) => length
                    .as_const()
                    .filter(|&n| (0..=MAX_EACH).contains(&n))
                    .map(|n| vec![None; n as usize]),
                Items::Whole(_) => None,
            };
            if let Some(mut items) = each {
                let count = items.len();
                let slot = usize::try_from(at).ok().and_then(|at| items.get_mut(at));
                let slot = slot.ok_or_else(|| {
                    LowerError::invalid(format!("index {at} of {count} elements"))
                })?;
                *slot = Some(value);
                return Ok(List { items: Items::Each(items), ..list.clone() });
            }
        }
        let shape = self.shape(value)?;
        let list = self.with_element(list, &shape);
        let all = self.list_stacked(&list)?;
        let index = self.cast(index, DType::I32)?;
        let rank = self.rank(index)?;
        let index = if rank == 0 { self.expand_dims(index, &[0])? } else { index };
        let update = self.expand_dims(value, &[0])?;
        let scatter = Scatter { axis: 0, mode: ScatterMode::Update, validate_indices: false };
        let all = scatter.build(&mut self.b, all, index, update)?;
        Ok(List { items: Items::Whole(all), ..list })
    }

    /// The list, with extents of its elements where it had none.
    pub(super) fn with_element(&self, list: &List, shape: &[Dim]) -> List {
        let known = self.list_element(list).is_some_and(|e| e.iter().all(Option::is_some));
        if known {
            return list.clone();
        }
        List { element: Some(shape.iter().cloned().map(Some).collect()), ..list.clone() }
    }

    /// The list with `count` elements: cut off, or with zeros at the end.
    ///
    /// # Errors
    /// The extents of elements are not known.
    pub fn list_resized(&mut self, list: &List, count: &Dim) -> LowerResult<List> {
        let length = self.list_length(list)?;
        if length == *count {
            return Ok(list.clone());
        }
        let items = match (&list.items, count.as_const()) {
            (Items::Unset(_), _) => Items::Unset(count.clone()),
            (Items::Each(items), Some(n)) if (0..=MAX_EACH).contains(&n) => {
                let mut items = items.clone();
                items.resize(n as usize, None);
                Items::Each(items)
            }
            _ => {
                let all = self.list_stacked(list)?;
                let shape = self.shape(all)?;
                // Enough zeros are added at the end for any count, then the first ones are taken.
                let mut more = shape.clone();
                more[0] = count.clone();
                let zero = self.number(list.dtype, 0.0)?;
                let zeros = self.filled(&more, zero)?;
                let concat = mlc_ir::ops::Concat { axis: 0, interleave: false };
                let joined = concat.build(&mut self.b, vec![all, zeros])?;
                let mut size = vec![Dim::Const(-1); shape.len()];
                size[0] = count.clone();
                let begin = self.b.ints(&vec![0; shape.len()])?;
                let size = dims::vector(self, &size)?;
                let cut = mlc_ir::ops::SliceBySize {}.build(&mut self.b, joined, begin, size)?;
                let mut wanted = shape;
                wanted[0] = count.clone();
                self.refine(cut, &wanted)?;
                Items::Whole(cut)
            }
        };
        Ok(List { items, ..list.clone() })
    }
}

/// Extents that must be known.
pub(super) fn known_element(element: Option<Vec<Option<Dim>>>) -> LowerResult<Vec<Dim>> {
    element.and_then(|element| element.into_iter().collect()).ok_or_else(|| {
        LowerError::dynamic("the shape of the elements of a list is not known")
            .help("give the list an `element_shape`")
    })
}
