//! How floats are computed: ranges, calibration, and the search for a ratio.

use crate::support::Folder;

const SUMS: &str = "func @main(%x: tensor<2x64xf32>) -> (y: tensor<2x64xf32>) {
  %sq = square %x
  %sum = reduce_sum %sq {axes = [1], keep_dims = true}
  %y = real_div %x, %sum
  return %y
}
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("sums.mlc", SUMS);
    folder
}

#[test]
fn declared_ranges_keep_what_would_overflow() {
    let folder = folder();
    let kept = |flags: &str| {
        let line = format!("convert sums.mlc -o out.mlpackage --force --json -Wfp16-range {flags}");
        folder.line(&line).ok().json()["report"]["kept_fp32"].as_u64().unwrap()
    };
    assert_eq!(kept(""), 0);
    assert_eq!(kept("--range x=-100..100"), 2, "the sum of squares and the division by it");
    assert_eq!(kept("--range x=-20..20"), 0);
    let refused = folder.refused(2, "convert sums.mlc -o a.mlpackage --range x=3");
    assert!(refused.contains("no range of a value"), "{refused}");
}

#[test]
fn calibration_inputs_are_measured() {
    let folder = folder();
    let values: Vec<u8> = (0..128).flat_map(|i| (i as f32 * 4.0).to_le_bytes()).collect();
    let header = r#"{"x":{"dtype":"F32","shape":[2,64],"data_offsets":[0,512]}}"#;
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend(values);
    folder.file("calib.safetensors", file);
    let line = "convert sums.mlc -o out.mlpackage --json --calib calib.safetensors";
    assert_eq!(folder.line(line).ok().json()["report"]["kept_fp32"], 2);
    let refused = folder.refused(3, "convert sums.mlc -o a.mlpackage --calib nothing");
    assert!(refused.contains("nothing"), "{refused}");
}

#[test]
fn the_smallest_set_that_reaches_a_ratio_is_found() {
    let folder = folder();
    let search = |ratio: u32| {
        let line = format!(
            "convert sums.mlc -o out.mlpackage --force --json --precision auto:snr={ratio}dB"
        );
        folder.line(&line).ok().json()["report"]["search"].clone()
    };
    let easy = search(40);
    assert!(easy["kept"].as_array().unwrap().is_empty() && easy["runs"] == 1, "{easy}");
    let hard = search(100);
    assert!(hard["kept"].as_array().unwrap().len() <= 3, "{hard}");
    assert!(hard["reached_db"].as_f64().is_none_or(|db| db >= 100.0), "{hard}");
    let refused = folder.refused(2, "convert sums.mlc -o a.mlpackage --precision half");
    assert!(refused.contains("auto:snr=60"), "{refused}");
}

#[test]
fn ops_are_kept_by_either_flag() {
    let folder = folder();
    let kept = |flags: &str| {
        let line = format!("convert sums.mlc -o out.mlpackage --force --json {flags}");
        folder.line(&line).ok().json()["report"]["kept_fp32"].as_u64().unwrap()
    };
    assert_eq!(kept("--precision fp16{keep=real_div}"), 1);
    assert_eq!(kept("--precision fp16{keep=[real_div,reduce_sum_square]}"), 2);
    assert_eq!(kept("--precision fp16{keep=real_div} --keep-fp32 reduce_sum_square"), 2);
    for wrong in ["fp16{keep=}", "fp32{keep=square}", "fp16{square}", "fp16{keep=[square]"] {
        folder.refused(2, &format!("convert sums.mlc -o a.mlpackage --precision {wrong}"));
    }
}

/// A norm whose epsilon half precision does not have.
const NORM: &str = "func @main(%x: tensor<4x64xf32>) -> (y: tensor<4x64xf32>) {
  %n = layer_norm %x {axes = [1], epsilon = 1e-12}
  %r = relu %n
  %y = layer_norm %r {axes = [1], epsilon = 1e-12}
  return %y
}
";

#[test]
fn norms_of_what_was_seen_to_vary_are_computed_in_half_precision() {
    let folder = Folder::new();
    folder.file("norm.mlc", NORM);
    let kept = |flags: &str| {
        let line = format!("convert norm.mlc -o out.mlpackage --force --json {flags}");
        folder.line(&line).ok().json()["report"]["kept_fp32"].as_u64().unwrap()
    };
    assert_eq!(kept(""), 0);
    assert_eq!(kept("--no-verify"), 2, "nothing was seen");
}
