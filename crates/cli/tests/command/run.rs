//! `run` with values from files and into files.

use crate::support::{Folder, TEXT, linear};

/// A `.npy` file of format 1.0.
fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), data].concat()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// The bytes behind the header.
fn data(file: &[u8]) -> &[u8] {
    let length = u16::from_le_bytes([file[8], file[9]]);
    &file[10 + usize::from(length)..]
}

#[test]
fn arrays_go_in_and_out() {
    let folder = Folder::new();
    folder.file("model.mlc", TEXT);
    folder.file("x.npy", npy("<f4", false, "(2, 3)", &f32s(&[1.0, -2.0, 0.5, 0.0, 1e-3, 7.0])));
    folder.line("run model.mlc --in x=@x.npy --out y=@y.npy").ok();
    let y = folder.read("y.npy");
    assert_eq!(data(&y), f32s(&[4.0, -8.0, 2.0, 0.0, 4e-3, 28.0]));
    // What was written can be read again.
    folder.line("run model.mlc --in x=@y.npy --out y=@z.npy").ok();
    assert_eq!(data(&folder.read("z.npy")), f32s(&[16.0, -32.0, 8.0, 0.0, 16e-3, 112.0]));
}

#[test]
fn memory_order_and_element_type_are_heeded() {
    let folder = Folder::new();
    folder.file("model.mlc", TEXT);
    let columns = [1.0, 4.0, 2.0, 5.0, 3.0, 6.0f64];
    let bytes: Vec<u8> = columns.iter().flat_map(|x| x.to_be_bytes()).collect();
    folder.file("x.npy", npy(">f8", true, "(2, 3)", &bytes));
    folder.line("run model.mlc --in x=@x.npy --out y=@y.npy").ok();
    assert_eq!(data(&folder.read("y.npy")), f32s(&[4.0, 8.0, 12.0, 16.0, 20.0, 24.0]));
}

#[test]
fn other_element_types_come_out_as_they_are() {
    let folder = Folder::new();
    let text =
        "func @main(%x: tensor<3xi64>) -> (i: tensor<3xi64>, h: tensor<3xf16>, b: tensor<3xbool>) {
  %i = add %x, 1
  %h = cast %x {dtype = f16}
  %b = greater %x, 0
  return %i, %h, %b
}
";
    folder.file("model.mlc", text);
    let outs = "--out i=@i.npy --out h=@h.npy --out b=@b.npy";
    folder.line(&format!("run model.mlc --in x=-1,0,3 {outs}")).ok();
    let ints: Vec<u8> = [0i64, 1, 4].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(data(&folder.read("i.npy")), ints);
    // -1, 0 and 3 in half precision.
    assert_eq!(data(&folder.read("h.npy")), [0x00, 0xbc, 0x00, 0x00, 0x00, 0x42]);
    assert_eq!(data(&folder.read("b.npy")), [0, 0, 1]);
}

#[test]
fn a_package_computes_what_its_source_does() {
    let folder = Folder::new();
    folder.file("model.pt2", linear().archive().v1());
    folder.line("convert model.pt2 -o out.mlpackage --precision fp32").ok();
    let args = "--in x=1,2,3,-1,0,1";
    folder.line(&format!("run model.pt2 {args} --out relu=@a.npy")).ok();
    folder.line(&format!("run out.mlpackage {args} --out relu=@b.npy")).ok();
    // relu(x · wᵀ + b) by hand, with w[i][j] = (3i + j - 5) / 8.
    let expected = [0.0, 0.0, 1.75, 5.0, 0.75, 0.0, 0.25, 1.25];
    assert_eq!(data(&folder.read("a.npy")), f32s(&expected));
    assert_eq!(data(&folder.read("b.npy")), f32s(&expected));
}

#[test]
fn states_last_over_steps() {
    let folder = Folder::new();
    let text =
        "func @main(%x: tensor<1xf32>, state %s: state<tensor<1xf32>>) -> (y: tensor<1xf32>) {
  %1 = read_state %s
  %y = add %x, %1
  write_state %s, %y
  return %y
}
";
    folder.file("model.mlc", text);
    let ran = folder.line("run model.mlc --in x=2 --steps 5 --json").ok().json();
    assert_eq!(ran["report"]["outputs"][0]["first"][0], 10.0);
}

#[test]
fn files_that_are_no_arrays_are_refused() {
    let folder = Folder::new();
    folder.file("model.mlc", TEXT);
    folder.file("text.npy", "no array");
    folder.file("short.npy", npy("<f4", false, "(2, 3)", &[0; 8]));
    folder.file("huge.npy", npy("<f4", false, "(99999999999, 99999999999)", &[0; 8]));
    folder.file("image.png", "no image");
    folder.file("x.safetensors", "nothing safe");
    for file in ["text.npy", "short.npy", "huge.npy", "image.png", "x.safetensors"] {
        let refused = folder.refused(3, &format!("run model.mlc --in x=@{file}"));
        assert!(refused.contains("error[unknown-format]") && refused.contains(file), "{refused}");
    }
    folder.refused(3, "run model.mlc --in x=@none.npy");
}

#[test]
fn an_index_out_of_range_is_an_error() {
    let folder = Folder::new();
    let text = "func @main(%i: tensor<1xi32>) -> (y: tensor<1xf32>) {
  %y = gather [1.0, 2.0], %i {axis = 0}
  return %y
}
";
    folder.file("model.mlc", text);
    let refused = folder.refused(1, "run model.mlc --in i=9");
    assert!(refused.contains("error[evaluation]"), "{refused}");
}
