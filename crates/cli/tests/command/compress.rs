//! Smaller weights, and back.

use crate::support::{Folder, linear};

/// Two layers; the second has 66 inputs, which blocks of 32 do not divide.
fn model(seed: u32) -> String {
    format!(
        "weights {{
  @a : tensor<66x64xf32> = random({seed}, 1.0)
  @b : tensor<64x66xf32> = random({}, 0.5)
}}
func @main(%x: tensor<2x64xf32>) -> (y: tensor<2x64xf32>) {{
  %a = const @a : tensor<66x64xf32>
  %0 = linear %x, %a
  %1 = relu %0
  %b = const @b : tensor<64x66xf32>
  %y = linear %1, %b
  return %y
}}
",
        seed + 1
    )
}

/// A folder with the model as text and as packages of iOS 16 and 18.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.file("m.mlc", model(3));
    for target in ["ios16", "ios18"] {
        folder
            .line(&format!("opt m.mlc --passes legalize{{target={target}}} --target {target} -o {target}.mlpackage"))
            .ok();
    }
    folder
}

#[test]
fn every_scheme_decodes_to_what_it_ran_as() {
    let folder = folder();
    for scheme in [
        "w8",
        "w8-tensor-asym",
        "w8-asym-unsigned",
        "w4",
        "w4-block32",
        "w4-block16-asym-refine",
        "lut1",
        "lut2",
        "lut3",
        "lut4",
        "lut6",
        "lut4-uniform",
        "lut4-g16",
        "lut4-g2-axis1",
        "lut4-v2",
        "lut4-pcs",
        "lut3-i8",
        "prune-75",
        "prune-2:4",
        "prune-70-block2",
        "prune-50-channel",
        "prune-t0.4",
        "prune-2:4+w8",
        "prune-75+lut4",
        "prune-50+w4-block32",
    ] {
        let line =
            format!("compress ios18.mlpackage --recipe {scheme} -o c.mlpackage --force --json");
        let json = folder.line(&line).ok().json();
        let report = &json["report"];
        assert!(report["bytes"].as_u64() < report["bytes_before"].as_u64(), "{scheme}");
        for row in report["weights"].as_array().unwrap() {
            assert_ne!(row["scheme"], "none", "{scheme}: {row}");
            assert!(row["mse"].as_f64().unwrap() < 0.2, "{scheme}: {row}");
        }
        folder.line("decompress c.mlpackage -o d.mlpackage --force -q").ok();
        assert!(!folder.line("print d.mlpackage").ok().stdout.contains("constexpr"));
        folder.line("verify d.mlpackage --source c.mlpackage --tolerance rtol=0").ok();
        // Twice the same bytes, on one thread too.
        folder.line(&line.replace("-o c.", "-o e.").replace("--json", "--jobs 1")).ok();
        assert_eq!(folder.tree("c.mlpackage"), folder.tree("e.mlpackage"), "{scheme}");
    }
}

#[test]
fn older_versions_have_some_schemes_and_say_so_of_the_others() {
    let folder = folder();
    for scheme in ["w8", "w8-asym-unsigned", "lut4", "prune-60"] {
        let line = format!(
            "compress ios16.mlpackage --recipe {scheme} -o c.mlpackage --force --target ios16"
        );
        folder.line(&line).ok();
        assert!(folder.line("inspect c.mlpackage").ok().stdout.contains("needs ios16"), "{scheme}");
    }
    let refused =
        folder.refused(5, "compress ios16.mlpackage --recipe w4 -o no.mlpackage --target ios16");
    assert!(refused.contains("iOS 18"), "{refused}");
    // Without a target the package gets the version that it needs.
    folder.line("compress ios16.mlpackage --recipe w4-block32 -o c.mlpackage --force").ok();
    assert!(folder.line("inspect c.mlpackage").ok().stdout.contains("needs ios18"));
}

#[test]
fn the_table_says_what_became_of_each_weight() {
    let folder = folder();
    let ran = folder
        .line("compress ios18.mlpackage --recipe w4-block32 -o c.mlpackage --table t.csv")
        .ok();
    assert!(ran.stderr.contains("w4-block32") && ran.stderr.contains("SNR dB"), "{}", ran.stderr);
    let table = String::from_utf8(folder.read("t.csv")).unwrap();
    assert!(
        table.starts_with("name,shape,users,scheme,bytes_before,bytes,bits,mse,snr_db"),
        "{table}"
    );
    assert_eq!(table.lines().count(), 3, "{table}");
    // 66 is not divided by 32, and it is told what was done.
    assert!(table.contains("blocks of 22 in place of 32"), "{table}");
}

#[test]
fn recipes_come_from_files_too() {
    let folder = folder();
    folder.file("r.toml", "scheme = \"w8\"\n[[rule]]\nonly = [\"a\"]\nscheme = \"lut4\"\n");
    let json = folder.line("compress m.mlc --recipe r.toml -o c.mlc --json").ok().json();
    let rows = json["report"]["weights"].as_array().unwrap();
    let scheme =
        |name: &str| rows.iter().find(|row| row["name"] == name).unwrap()["scheme"].clone();
    assert_eq!((scheme("a"), scheme("b")), ("lut4".into(), "w8".into()));
    folder.file("bad.toml", "scheme = \"w9\"\n");
    assert!(folder.refused(2, "compress m.mlc --recipe bad.toml -o no.mlc").contains("`w9`"));
    assert!(folder.refused(2, "compress m.mlc --recipe w4-blok -o no.mlc").contains("block32"));
    assert!(folder.refused(2, "compress m.mlc -o no.mlc").contains("--recipe"));
    let calibrated = folder.refused(2, "convert m.mlc -o no.mlpackage --recipe w8a8");
    assert!(calibrated.contains("mlc compress OUT"), "{calibrated}");
    assert!(folder.refused(2, "compress m.mlc --recipe w8 --bits 3 -o no.mlc").contains("--bits"));
}

#[test]
fn a_gate_keeps_bad_weights_out() {
    let folder = folder();
    let refused = folder.refused(1, "compress m.mlc --recipe lut1 --min-snr 30 -o no.mlc");
    assert!(refused.contains("30 is asked for"), "{refused}");
    folder.line("compress m.mlc --recipe w8 --min-snr 30 -o yes.mlc").ok();
}

#[test]
fn weights_that_a_scheme_does_not_fit_are_told() {
    let folder = Folder::new();
    let odd = "func @main(%x: tensor<2x4xf32>) -> (y: tensor<2x2xf32>) {
  %w = const [[1.0, nan, 2.0, 3.0], [1.0, 2.0, inf, 4.0]] : tensor<2x4xf32>
  %y = linear %x, %w
  return %y
}
";
    folder.file("odd.mlc", odd).file("r.toml", "scheme = \"w8\"\nthreshold = 0\n");
    let ran = folder.line("compress odd.mlc --recipe r.toml -o c.mlc --no-verify").ok();
    assert!(ran.stderr.contains("2 elements are NaN or infinite"), "{}", ran.stderr);
    let ran = folder.line("compress odd.mlc --recipe w8 -o d.mlc --no-verify").ok();
    assert!(ran.stderr.contains("names no weight of the model"), "{}", ran.stderr);
}

#[test]
fn compressed_weights_stay_and_shared_ones_stay_shared() {
    let folder = folder();
    folder.line("compress ios18.mlpackage --recipe w8 -o once.mlpackage").ok();
    folder.line("compress once.mlpackage --recipe lut4 -o twice.mlpackage").ok();
    folder.line("verify twice.mlpackage --source once.mlpackage --tolerance rtol=0").ok();
    let body = model(3);
    let (weights, function) = body.split_at(body.find("func").unwrap());
    folder.file("two.mlc", format!("{weights}{function}{}", function.replace("@main", "@other")));
    folder.line("opt two.mlc --passes legalize{target=ios18} -o two.mlpackage").ok();
    folder.line("compress two.mlpackage --recipe w4-block32 -o small.mlpackage").ok();
    folder.line("compress ios18.mlpackage --recipe w4-block32 -o one.mlpackage").ok();
    let weights = |name: &str| {
        let tree = folder.tree(name);
        let file = tree.iter().find(|(path, _)| path.ends_with("weight.bin"));
        file.map(|(_, bytes)| bytes.len()).unwrap()
    };
    assert_eq!(weights("small.mlpackage"), weights("one.mlpackage"));
}

#[test]
fn budgets_choose_schemes() {
    let folder = folder();
    let run = |flags: &str| {
        let line = format!("compress ios18.mlpackage {flags} -o c.mlpackage --force --json");
        folder.line(&line).ok().json()["report"].clone()
    };
    let report = run("--max-bytes 6k");
    assert!(report["bytes"].as_u64().unwrap() <= 6000, "{report}");
    assert!(report["bytes"].as_u64().unwrap() > 4500, "a budget is used: {report}");
    assert!(report["curve"].as_array().unwrap().len() > 3);
    assert_eq!(run("--max-bytes 6k"), report);
    let report = run("--bits 5");
    assert!(report["bytes"].as_u64().unwrap() <= 8448 * 5 / 8, "{report}");
    let report = run("--min-psnr 30");
    assert!(report["outputs"][0][1]["snr_db"].as_f64().unwrap() >= 30.0, "{report}");
    let refused = folder.refused(1, "compress ios18.mlpackage --max-bytes 100 -o no.mlpackage");
    assert!(refused.contains("100 are asked for"), "{refused}");
    assert!(folder.refused(2, "compress m.mlc --max-bytes 5X -o no.mlc").contains("no size"));
}

#[test]
fn conversions_compress_as_their_last_step() {
    let folder = Folder::new();
    folder.file("model.pt2", linear().archive().v2());
    folder.file("r.toml", "scheme = \"w8\"\nthreshold = 0\n");
    folder.line("convert model.pt2 -o c.mlpackage --precision fp32 --recipe r.toml").ok();
    let text = folder.line("print c.mlpackage").ok().stdout;
    assert!(text.contains("constexpr"), "{text}");
}

#[test]
fn calibration_makes_up_for_errors() {
    let folder = folder();
    // The inputs of one call; those that are made up otherwise are others.
    folder.line("run m.mlc --in x=rand:11 --out y=@y.npy").ok();
    folder.file("in/a.safetensors", safetensors("x", &[2, 64], 5));
    folder.file("in/b.safetensors", safetensors("x", &[2, 64], 6));
    let outputs = |flags: &str| {
        let line = format!("compress ios18.mlpackage {flags} -o c.mlpackage --force --json");
        let report = folder.line(&line).ok().json()["report"].clone();
        let snr = |output: &serde_json::Value| output[1]["snr_db"].as_f64().unwrap();
        let outputs = report["outputs"].as_array().unwrap();
        (outputs.iter().map(snr).fold(f64::MAX, f64::min), report)
    };
    for scheme in ["w4-block32", "lut3", "prune-50+w8"] {
        // Judged by the same inputs: without feedback a recipe is what `smooth` finds nothing for.
        let (with, report) = outputs(&format!("--recipe {scheme} --calib in"));
        let notes: Vec<&str> = report["weights"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| w["note"].as_str().unwrap())
            .collect();
        assert!(notes.iter().any(|note| note.contains("feedback")), "{scheme}: {notes:?}");
        assert!(with.is_finite());
        assert_eq!(outputs(&format!("--recipe {scheme} --calib in")).1, report);
    }
    let (_, report) = outputs("--recipe w8a8 --calib in");
    assert!(report["pipeline"].as_str().unwrap().contains("quantize-activations"), "{report}");
    let text = folder.line("print c.mlpackage").ok().stdout;
    assert_eq!(text.matches(" quantize ").count(), 2, "{text}");
    let refused = folder.refused(2, "compress ios18.mlpackage --recipe w8a8 -o no.mlpackage");
    assert!(refused.contains("--calib"), "{refused}");
    assert!(folder.line("inspect c.mlpackage").ok().stdout.contains("needs ios18"));
    let (best, _) = outputs("--bits 4 --calib in");
    let (same, _) = outputs("--recipe lut3 --calib in");
    assert!(best > same, "{best} {same}");
}

/// A file with one tensor of small numbers.
fn safetensors(name: &str, shape: &[usize], seed: u32) -> Vec<u8> {
    let count: usize = shape.iter().product();
    let header = format!(
        "{{\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape:?},\"data_offsets\":[0,{}]}}}}",
        count * 4
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    let mut state = seed;
    for _ in 0..count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend(((state >> 8) as f32 / 8_388_608.0 - 1.0).to_le_bytes());
    }
    bytes
}

#[test]
fn conditions_name_weights_by_their_shape() {
    let folder = folder();
    let text = "scheme = \"w8\"\n[[rule]]\nonly = [\"linear & shape=*x64\"]\nscheme = \"lut(-1,0,1)-g2\"\n\
                [[rule]]\nonly = [\"rank=4\"]\nscheme = \"none\"\n";
    folder.file("r.toml", text);
    let ran = folder.line("compress m.mlc --recipe r.toml -o c.mlc --json").ok().json();
    let rows = ran["report"]["weights"].as_array().unwrap();
    let schemes: Vec<&str> = rows.iter().map(|row| row["scheme"].as_str().unwrap()).collect();
    assert_eq!(schemes, ["lut(-1,0,1)-g2", "w8"]);
    folder.file("bad.toml", "[[rule]]\nonly = [\"shape=ax3\"]\nscheme = \"w8\"\n");
    let refused = folder.refused(2, "compress m.mlc --recipe bad.toml -o no.mlc");
    assert!(refused.contains("shape=*x*x3x3"), "{refused}");
    folder.file("idle.toml", "[[rule]]\nonly = [\"lstm\"]\nscheme = \"w8\"\n");
    let ran = folder.line("compress m.mlc --recipe idle.toml -o d.mlc").ok();
    assert!(ran.stderr.contains("`lstm` names no weight"), "{}", ran.stderr);
}

#[test]
fn weights_that_are_compressed_are_told_and_done_anew_if_asked() {
    let folder = folder();
    folder.line("compress ios18.mlpackage --recipe w8 -o once.mlpackage").ok();
    let row = |flags: &str| {
        let line =
            format!("compress once.mlpackage --recipe lut4 {flags} -o c.mlpackage --force --json");
        folder.line(&line).ok().json()["report"]["weights"].clone()
    };
    let rows = row("");
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows}");
    assert!(rows[0]["note"].as_str().unwrap().contains("already"), "{rows}");
    let rows = row("--recompress");
    assert!(rows.as_array().unwrap().iter().all(|row| row["scheme"] == "lut4"), "{rows}");
}

#[test]
fn tables_of_convolutions_have_six_axes() {
    let folder = Folder::new();
    let model = "weights {
  @a : tensor<16x16x3x3xf32> = random(1, 1.0)
}
func @main(%x: tensor<1x16x5x5xf32>) -> (y: tensor<1x16x3x3xf32>) {
  %a = const @a : tensor<16x16x3x3xf32>
  %y = conv %x, %a
  return %y
}
";
    folder.file("conv.mlc", model);
    for scheme in
        ["lut4", "lut3-g4", "lut2-g4-axis1", "lut4-v2", "lut4-pcs", "lut4-i8", "prune-50+lut4"]
    {
        folder.file("r.toml", format!("scheme = \"{scheme}\"\nthreshold = 0\n"));
        let line = "compress conv.mlc --recipe r.toml -o c.mlpackage --target ios18 --force --json";
        let json = folder.line(line).ok().json();
        assert_eq!(json["report"]["weights"][0]["scheme"], scheme, "{json}");
        folder.line("decompress c.mlpackage -o d.mlpackage --force -q").ok();
        folder.line("verify d.mlpackage --source c.mlpackage --tolerance rtol=0").ok();
    }
}

#[test]
fn weights_of_other_types_and_sizes_are_told() {
    let folder = Folder::new();
    let body = "weights {
  @zeros : tensor<4x8xf32> = splat(0.0)
  @one : tensor<1x8xf32> = splat(0.5)
}
func @main(%x: tensor<2x8xf64>, %i: tensor<2x8xf32>) -> (y: tensor<2x4xf64>, z: tensor<2x4xf32>, o: tensor<2x1xf32>) {
  %w = const [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]] : tensor<4x8xf64>
  %y = linear %x, %w
  %zeros = const @zeros : tensor<4x8xf32>
  %z = linear %i, %zeros
  %one = const @one : tensor<1x8xf32>
  %o = linear %i, %one
  return %y, %z, %o
}
";
    folder.file("odd.mlc", body).file("r.toml", "scheme = \"w8\"\nthreshold = 0\n");
    let ran = folder.line("compress odd.mlc --recipe r.toml -o c.mlc --no-verify").ok();
    assert!(ran.stderr.contains("it is of f64"), "{}", ran.stderr);
    folder.line("compress odd.mlc --recipe r.toml -o c.mlc --force").ok();
}

#[test]
fn names_may_have_any_character() {
    let folder = Folder::new();
    let text = model(5).replace("%a ", "%\"q & k\" ").replace(", %a\n", ", %\"q & k\"\n");
    folder.file("m.mlc", &text);
    folder.file("r.toml", "[[rule]]\nonly = [\"name=q & k\"]\nscheme = \"w8\"\n");
    let ran = folder.line("compress m.mlc --recipe r.toml -o c.mlc --json").ok();
    let report = ran.json()["report"].clone();
    assert_eq!(report["weights"].as_array().map(Vec::len), Some(1), "{report}");
    assert_eq!(report["weights"][0]["name"], "q & k");
    folder.line("compress m.mlc --max-bytes 6k -o d.mlc --target ios18").ok();
}
