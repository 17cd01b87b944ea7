//! Lists of tensors.

use mlc_ir::attr::ScatterMode;
use mlc_ir::ops::{Gather, Scatter};
use mlc_ir::{Dim, Value};
use mlc_tensor::DType;

use crate::graph::attr::PartialShape;
use crate::lower::Cx;
use crate::lower::call::Call;
use crate::lower::dims;
use crate::lower::error::{LowerError, LowerResult};
use crate::lower::registry::Lowering;
use crate::lower::value::{Items, List, Val};

pub(super) const LOWERINGS: &[Lowering] = &[
    Lowering { name: "EmptyTensorList", lower: empty_list },
    Lowering { name: "TensorArrayConcatV3", lower: |cx, call| concat(cx, call, 1) },
    Lowering { name: "TensorArrayGatherV3", lower: array_gather },
    Lowering { name: "TensorArrayReadV3", lower: array_read },
    Lowering { name: "TensorArrayScatterV3", lower: array_scatter },
    Lowering { name: "TensorArraySizeV3", lower: array_size },
    Lowering { name: "TensorArraySplitV3", lower: array_split },
    Lowering { name: "TensorArrayV3", lower: array },
    Lowering { name: "TensorArrayWriteV3", lower: array_write },
    Lowering { name: "TensorListConcat", lower: |cx, call| concat(cx, call, 0) },
    Lowering { name: "TensorListConcatV2", lower: |cx, call| concat(cx, call, 0) },
    Lowering { name: "TensorListElementShape", lower: element_shape },
    Lowering { name: "TensorListFromTensor", lower: from_tensor },
    Lowering { name: "TensorListGather", lower: gather },
    Lowering { name: "TensorListGetItem", lower: get_item },
    Lowering { name: "TensorListLength", lower: length },
    Lowering { name: "TensorListPopBack", lower: pop_back },
    Lowering { name: "TensorListPushBack", lower: push_back },
    Lowering { name: "TensorListReserve", lower: reserve },
    Lowering { name: "TensorListResize", lower: resize },
    Lowering { name: "TensorListScatter", lower: scatter },
    Lowering { name: "TensorListScatterIntoExistingList", lower: scatter_into },
    Lowering { name: "TensorListScatterV2", lower: scatter },
    Lowering { name: "TensorListSetItem", lower: set_item },
    Lowering { name: "TensorListSplit", lower: list_split },
    Lowering { name: "TensorListStack", lower: stack },
];

/// The extents of elements that an input says: −1 alone for an unknown rank, −1 for an open extent.
fn element_of(cx: &Cx<'_>, shape: Value) -> Option<Vec<Option<Dim>>> {
    if cx.rank(shape).ok()? == 0 {
        return None;
    }
    let known: Vec<Dim> = match cx.b.content(shape) {
        Some(content) => content.to_vec(),
        None => cx.ints(shape)?.into_iter().map(Dim::Const).collect(),
    };
    Some(known.into_iter().map(|dim| Some(dim).filter(|d| !d.is(-1))).collect())
}

fn partial(shape: PartialShape) -> Option<Vec<Option<Dim>>> {
    shape.map(|shape| shape.into_iter().map(|dim| dim.map(Dim::Const)).collect())
}

fn reserve(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dtype = call.dtype("element_dtype")?;
    let element = element_of(cx, call.tensor(0)?);
    let count = dims::from_scalar(cx, call.tensor(1)?)?;
    Ok(vec![Val::List(List { dtype, element, items: Items::Unset(count) })])
}

fn empty_list(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let dtype = call.dtype("element_dtype")?;
    let element = element_of(cx, call.tensor(0)?);
    Ok(vec![Val::List(List { dtype, element, items: Items::Unset(Dim::Const(0)) })])
}

fn from_tensor(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let x = call.tensor(0)?;
    if cx.rank(x)? == 0 {
        return Err(LowerError::invalid("a list of a scalar"));
    }
    let dtype = cx.dtype(x)?;
    Ok(vec![Val::List(List { dtype, element: None, items: Items::Whole(x) })])
}

fn length(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let count = cx.list_length(call.list(0)?)?;
    let y = dims::scalar(cx, &count)?;
    cx.one(y)
}

fn element_shape(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let element = cx.list_element(call.list(0)?);
    let dtype = call.dtype_or("shape_type", DType::I32)?;
    let y = match element {
        None => cx.b.int(-1)?,
        Some(element) => {
            let shape: Vec<Dim> =
                element.into_iter().map(|dim| dim.unwrap_or(Dim::Const(-1))).collect();
            dims::vector(cx, &shape)?
        }
    };
    let y = cx.cast(y, dtype)?;
    cx.one(y)
}

/// A list whose element shape an input tells where the list does not.
fn told(cx: &Cx<'_>, call: &Call<'_>, index: usize) -> LowerResult<List> {
    let list = call.list(0)?.clone();
    let known = cx.list_element(&list).is_some_and(|e| e.iter().all(Option::is_some));
    if known || !call.has_input(index) {
        return Ok(list);
    }
    let element = element_of(cx, call.tensor(index)?);
    Ok(match element {
        Some(element) if element.iter().all(Option::is_some) => {
            List { element: Some(element), ..list }
        }
        _ => list,
    })
}

fn get_item(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let list = told(cx, call, 2)?;
    let y = cx.list_get(&list, call.tensor(1)?)?;
    cx.one(y)
}

fn set_item(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (mut list, index) = (call.list(0)?.clone(), call.tensor(1)?);
    if call.bool_or("resize_if_index_out_of_bounds", false)? {
        list = grown(cx, &list, index)?;
    }
    let list = cx.list_set(&list, index, call.tensor(2)?)?;
    Ok(vec![Val::List(list)])
}

/// The list, long enough to have an element `index`.
fn grown(cx: &mut Cx<'_>, list: &List, index: Value) -> LowerResult<List> {
    let length = cx.list_length(list)?;
    let index = cx.cast(index, DType::I32)?;
    let at = dims::from_scalar(cx, index)?;
    let needed = at.add(&Dim::Const(1));
    match (length.as_const(), needed.as_const()) {
        (Some(have), Some(want)) if have >= want => return Ok(list.clone()),
        (Some(_), Some(_)) => return cx.list_resized(list, &needed),
        _ => {}
    }
    let (have, want) = (dims::scalar(cx, &length)?, dims::scalar(cx, &needed)?);
    let longer = cx.binary(mlc_ir::ops::Maximum {}, have, want)?;
    let longer = dims::from_scalar(cx, longer)?;
    cx.list_resized(list, &longer)
}

fn resize(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let count = dims::from_scalar(cx, call.tensor(1)?)?;
    let list = cx.list_resized(call.list(0)?, &count)?;
    Ok(vec![Val::List(list)])
}

fn stack(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["num_elements"]);
    let list = told(cx, call, 1)?;
    let y = cx.list_stacked(&list)?;
    cx.one(y)
}

fn gather(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let list = told(cx, call, 2)?;
    let y = gathered(cx, &list, call.tensor(1)?)?;
    cx.one(y)
}

fn gathered(cx: &mut Cx<'_>, list: &List, indices: Value) -> LowerResult<Value> {
    let all = cx.list_stacked(list)?;
    // The elements in their own order are the list itself.
    if let (Some(at), Some(n)) = (cx.ints(indices), cx.list_length(list)?.as_const())
        && at.len() as i64 == n
        && at.iter().enumerate().all(|(i, &k)| i as i64 == k)
    {
        return Ok(all);
    }
    let op = Gather { axis: 0, batch_dims: 0, validate_indices: false };
    Ok(op.build(&mut cx.b, all, indices)?)
}

/// The elements of a tensor at the places of indices.
fn scattered(cx: &mut Cx<'_>, list: &List, at: Value, tensor: Value) -> LowerResult<List> {
    let (known, length) = (cx.ints(at), cx.list_length(list)?.as_const());
    if let (Some(at), Some(n)) = (known, length)
        && at.len() as i64 == n
        && at.iter().enumerate().all(|(i, &k)| i as i64 == k)
    {
        return Ok(List { items: Items::Whole(tensor), ..list.clone() });
    }
    // Places beyond the end make a list longer.
    let most = cx.ints(at).and_then(|all| all.into_iter().max()).unwrap_or(-1);
    let longer = cx.list_length(list)?.as_const().is_some_and(|n| most >= n);
    let list = &if longer {
        cx.list_resized(list, &Dim::Const(most.saturating_add(1)))?
    } else {
        list.clone()
    };
    let shape = cx.shape(tensor)?;
    let rows = shape.get(1..).ok_or_else(|| LowerError::invalid("a scalar has no elements"))?;
    let list = cx.with_element(list, rows);
    let all = cx.list_stacked(&list)?;
    let at = cx.cast(at, DType::I32)?;
    let op = Scatter { axis: 0, mode: ScatterMode::Update, validate_indices: false };
    let all = op.build(&mut cx.b, all, at, tensor)?;
    Ok(List { items: Items::Whole(all), ..list })
}

fn scatter_into(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let list = scattered(cx, call.list(0)?, call.tensor(2)?, call.tensor(1)?)?;
    Ok(vec![Val::List(list)])
}

/// A new list, long enough for the indices.
fn scatter(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (tensor, at) = (call.tensor(0)?, call.tensor(1)?);
    let given = if call.has_input(3) { cx.ints(call.tensor(3)?) } else { None };
    let given = given.and_then(|all| all.first().copied()).filter(|&n| n >= 0);
    let count = match (given, cx.ints(at)) {
        (Some(n), _) => n,
        (None, Some(at)) => at.iter().max().map_or(0, |&n| n.saturating_add(1)),
        _ => return Err(LowerError::dynamic("the length of a list is not known")),
    };
    let dtype = cx.dtype(tensor)?;
    let items = Items::Unset(Dim::Const(count));
    let list = scattered(cx, &List { dtype, element: None, items }, at, tensor)?;
    Ok(vec![Val::List(list)])
}

fn push_back(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (list, value) = (call.list(0)?, call.tensor(1)?);
    let items = match &list.items {
        Items::Unset(length) if length.is(0) => Items::Each(vec![Some(value)]),
        Items::Each(items) => {
            let mut items = items.clone();
            items.push(Some(value));
            Items::Each(items)
        }
        _ => {
            let all = cx.list_stacked(list)?;
            let last = cx.expand_dims(value, &[0])?;
            Items::Whole(super::join::joined(cx, vec![all, last], 0)?)
        }
    };
    Ok(vec![Val::List(List { items, ..list.clone() })])
}

fn pop_back(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let list = told(cx, call, 1)?;
    if let Items::Each(items) = &list.items {
        let mut items = items.clone();
        let last = items.pop().flatten();
        let last = last.ok_or_else(|| LowerError::invalid("the list is empty"))?;
        let list = List { items: Items::Each(items), ..list.clone() };
        return Ok(vec![Val::List(list), Val::Tensor(last)]);
    }
    let length = cx.list_length(&list)?;
    let rest = length.sub(&Dim::Const(1));
    let at = dims::scalar(cx, &rest)?;
    let last = cx.list_get(&list, at)?;
    let list = cx.list_resized(&list, &rest)?;
    Ok(vec![Val::List(list), Val::Tensor(last)])
}

/// All elements one after another along their first axis, and the extent each has there.
fn concat(cx: &mut Cx<'_>, call: &Call<'_>, at: usize) -> LowerResult<Vec<Val>> {
    call.ignore(&["element_shape", "element_shape_except0"]);
    let list = call.list(at)?.clone();
    if let Items::Each(items) = &list.items
        && let Some(all) = items.iter().copied().collect::<Option<Vec<_>>>()
        && !all.is_empty()
    {
        let mut lengths = Vec::new();
        for &value in &all {
            let shape = cx.shape(value)?;
            let first = shape.first().cloned();
            lengths.push(first.ok_or_else(|| LowerError::invalid("a list of scalars"))?);
        }
        let joined = super::join::joined(cx, all, 0)?;
        let lengths = dims::vector(cx, &lengths)?;
        let lengths = cx.cast(lengths, DType::I64)?;
        return Ok(vec![Val::Tensor(joined), Val::Tensor(lengths)]);
    }
    let all = cx.list_stacked(&list)?;
    let shape = cx.shape(all)?;
    let [count, extent, rest @ ..] = &shape[..] else {
        return Err(LowerError::invalid("a list of scalars"));
    };
    let mut flat = vec![count.mul(extent)];
    flat.extend_from_slice(rest);
    let joined = cx.reshape(all, &flat)?;
    let length = dims::scalar(cx, extent)?;
    let length = cx.cast(length, DType::I64)?;
    let lengths = cx.filled(std::slice::from_ref(count), length)?;
    Ok(vec![Val::Tensor(joined), Val::Tensor(lengths)])
}

/// Rows of a tensor, in parts of these lengths.
fn parts(cx: &mut Cx<'_>, tensor: Value, lengths: Value) -> LowerResult<Vec<Option<Value>>> {
    let lengths = cx.need_ints(lengths, "lengths")?;
    let mut at = 0;
    let mut items = Vec::with_capacity(lengths.len());
    for length in lengths {
        items.push(Some(super::slice::window(cx, tensor, 0, (at, length))?));
        at += length;
    }
    Ok(items)
}

fn list_split(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let tensor = call.tensor(0)?;
    let items = Items::Each(parts(cx, tensor, call.tensor(2)?)?);
    let dtype = cx.dtype(tensor)?;
    Ok(vec![Val::List(List { dtype, element: None, items })])
}

/// The handle of an array is nothing; what it holds flows through its second result.
fn array(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    call.ignore(&["dynamic_size"]);
    let dtype = call.dtype("dtype")?;
    let element = partial(call.shape("element_shape")?);
    let count = dims::from_scalar(cx, call.tensor(0)?)?;
    let list = List { dtype, element, items: Items::Unset(count) };
    Ok(vec![Val::Nothing, Val::List(list)])
}

fn array_write(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (list, index) = (call.list(3)?.clone(), call.tensor(1)?);
    let list = grown_if_short(cx, &list, index)?;
    let list = cx.list_set(&list, index, call.tensor(2)?)?;
    Ok(vec![Val::List(list)])
}

/// Arrays of dynamic size grow; whether one is, only its handle knows.
fn grown_if_short(cx: &mut Cx<'_>, list: &List, index: Value) -> LowerResult<List> {
    let length = cx.list_length(list)?;
    if let (Some(have), Some([at])) = (length.as_const(), cx.ints(index).as_deref())
        && *at >= have
    {
        return cx.list_resized(list, &Dim::Const(at + 1));
    }
    if length.is(0) { grown(cx, list, index) } else { Ok(list.clone()) }
}

fn array_read(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let y = cx.list_get(call.list(2)?, call.tensor(1)?)?;
    cx.one(y)
}

fn array_gather(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let mut list = call.list(2)?.clone();
    let known = cx.list_element(&list).is_some_and(|e| e.iter().all(Option::is_some));
    if let (false, Some(element)) = (known, partial(call.shape("element_shape")?)) {
        list.element = Some(element);
    }
    let y = gathered(cx, &list, call.tensor(1)?)?;
    cx.one(y)
}

fn array_scatter(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let (at, tensor) = (call.tensor(1)?, call.tensor(2)?);
    let mut list = call.list(3)?.clone();
    // All rows of a tensor in their order make the whole list, whatever its length was.
    let rows = cx.shape(tensor)?.first().cloned();
    let length = cx.list_length(&list)?;
    if rows.as_ref() == Some(&length) && in_order(cx, at, &length) {
        list.items = Items::Whole(tensor);
        return Ok(vec![Val::List(list)]);
    }
    let list = scattered(cx, &list, at, tensor)?;
    Ok(vec![Val::List(list)])
}

/// Whether indices are `0, 1, …` up to `count`.
fn in_order(cx: &Cx<'_>, indices: Value, count: &Dim) -> bool {
    if let (Some(all), Some(n)) = (cx.ints(indices), count.as_const()) {
        return all.len() as i64 == n && all.iter().enumerate().all(|(i, &k)| i as i64 == k);
    }
    let function = cx.b.function();
    let Some((_, node)) = function.def(indices) else { return false };
    let mlc_ir::Op::Range1d(_) = node.op else { return false };
    let is = |slot: usize, n: i64| {
        node.operands.slot(slot).first().is_some_and(|&v| cx.ints(v).as_deref() == Some(&[n]))
    };
    is(1, 0) && is(2, 1)
}

fn array_size(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let count = cx.list_length(call.list(1)?)?;
    let y = dims::scalar(cx, &count)?;
    cx.one(y)
}

fn array_split(cx: &mut Cx<'_>, call: &Call<'_>) -> LowerResult<Vec<Val>> {
    let items = Items::Each(parts(cx, call.tensor(1)?, call.tensor(2)?)?);
    let list = List { items, ..call.list(3)?.clone() };
    Ok(vec![Val::List(list)])
}
