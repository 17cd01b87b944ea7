//! Every way in which torch pickles a tensor.

use mlc_tensor::{DType, Tensor};
use mlc_torch::archive::Archive;
use mlc_torch::torch_save::{Weights, state_dict};

use crate::archives::{file, torch_save};

fn load(pickle: &[u8]) -> Weights {
    let storages = [vec![1.0, 2.0, 3.0, 4.0]];
    let (_folder, path) = file(&torch_save(pickle.to_vec(), &storages));
    state_dict(&Archive::open(&path).unwrap()).unwrap()
}

/// `{"t": value}`, where `value` is made by the opcodes.
fn load_one(value: &[u8]) -> Result<Tensor, String> {
    let pickle = [b"\x80\x02}X\x01\x00\x00\x00t", value, b"s."].concat();
    load(&pickle).remove("t").unwrap().map_err(|e| e.to_string())
}

/// Opcodes of a storage id: class, then the number of elements.
fn storage(class: &str, count: u8) -> Vec<u8> {
    let mut out = b"(X\x07\x00\x00\x00storagec".to_vec();
    out.extend(class.replace(' ', "\n").bytes());
    out.extend(b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK");
    out.extend([count]);
    out.extend(b"tQ");
    out
}

/// `_rebuild_tensor_v2` of the first two elements, with more arguments.
fn v2(class: &str, count: u8, more: &[u8]) -> Vec<u8> {
    let hooks = b"K\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)R";
    let head = b"ctorch._utils\n_rebuild_tensor_v2\n(";
    [head, &storage(class, count)[..], hooks, more, b"tR"].concat()
}

#[test]
fn a_tensor_and_a_parameter_with_state() {
    let plain = v2("torch FloatStorage", 4, b"");
    assert_eq!(load_one(&plain).unwrap().to_f64s().unwrap(), [1.0, 2.0]);
    let parameter = [
        &b"ctorch._utils\n_rebuild_parameter_with_state\n("[..],
        &plain,
        b"\x88ccollections\nOrderedDict\n)R}tR",
    ]
    .concat();
    assert_eq!(load_one(&parameter).unwrap().to_f64s().unwrap(), [1.0, 2.0]);
    let typed = [
        &b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_parameter\nctorch.nn.parameter\nParameter\n("[..],
        &plain,
        b"\x88}t}tR",
    ]
    .concat();
    assert_eq!(load_one(&typed).unwrap().to_f64s().unwrap(), [1.0, 2.0]);
}

#[test]
fn an_untyped_storage_takes_the_dtype_of_its_tensor() {
    let with = |dtype: &str| {
        let head = b"ctorch._utils\n_rebuild_tensor_v3\n(";
        let view = b"K\x01K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)Rctorch\n";
        let id = storage("torch.storage UntypedStorage", 16);
        [head, &id[..], view, dtype.as_bytes(), b"\ntR"].concat()
    };
    let tensor = load_one(&with("uint16")).unwrap();
    assert_eq!(tensor.dtype(), DType::U16);
    assert_eq!(tensor.to_i64s().unwrap(), [0x3f80, 0]);
    assert_eq!(load_one(&with("float8_e5m2")).unwrap().dtype(), DType::F8E5M2);
    let unknown = load_one(&with("bits1x8")).unwrap_err();
    assert_eq!(unknown, "element type `bits1x8` is not supported");
}

#[test]
fn views_that_change_values_when_read_are_refused() {
    let flag = |name: &str, set: u8| {
        let mut more = b"}X".to_vec();
        more.extend((name.len() as u32).to_le_bytes());
        more.extend(name.bytes());
        more.extend([set, b's']);
        v2("torch ComplexFloatStorage", 2, &more)
    };
    assert_eq!(load_one(&flag("conj", 0x88)).unwrap_err(), "conjugated tensors are not supported");
    assert_eq!(load_one(&flag("neg", 0x88)).unwrap_err(), "negated tensors are not supported");
    assert_eq!(load_one(&flag("conj", 0x89)).unwrap().dtype(), DType::C64);
}

#[test]
fn what_is_no_plain_tensor_is_named() {
    let error = |value: &[u8]| load_one(value).unwrap_err();
    assert_eq!(error(b"K\x07"), "it is an int, not a plain tensor");
    let quantized = error(b"ctorch._utils\n_rebuild_qtensor\n)R");
    assert_eq!(quantized, "quantized tensors are not supported");
    let object = error(b"cmy.module\nThing\n)\x81}b");
    assert_eq!(object, "it is an object made by `my.module.Thing`, not a plain tensor");
    let short = error(&v2("torch FloatStorage", 5, b""));
    assert_eq!(short, "storage `0` should have 20 bytes and has 16");
    let class = error(&v2("torch QUInt4x2Storage", 4, b""));
    assert_eq!(class, "element type `QUInt4x2Storage` is not supported");
}

#[test]
fn parameters_nested_without_measure_are_refused() {
    let mut nested = v2("torch FloatStorage", 4, b"");
    for _ in 0..40 {
        nested = [&b"ctorch._utils\n_rebuild_parameter\n"[..], &nested, b"\x88}\x87R"].concat();
    }
    assert!(load_one(&nested).unwrap_err().contains("not a plain tensor"));
}
