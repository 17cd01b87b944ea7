//! Ops that the tool does not know: what is said of them, and lowerings of the user.

use std::path::PathBuf;

use mlc_driver::{Driver, Feed, FeedArray, Lowering, distance, parse_feed, read_safetensors};
use mlc_testkit::workspace_root;

use crate::support::Folder;

fn model(name: &str) -> PathBuf {
    workspace_root().join("testdata/models").join(name)
}

/// A model with ops of its own, and the functions that say what they are.
fn folder() -> Folder {
    let folder = Folder::new();
    for name in ["scaled_silu.pt2", "scaled_silu.lowering", "scaled_silu.safetensors"] {
        folder.file(name, std::fs::read(model(name)).unwrap());
    }
    folder
}

#[test]
fn an_unknown_op_is_reported_with_the_head_of_a_lowering() {
    let refused = folder().refused(4, "convert scaled_silu.pt2 -o out.mlpackage");
    insta::assert_snapshot!(refused);
}

#[test]
fn a_lowering_file_gives_the_numbers_of_the_model() {
    let folder = folder();
    let line =
        "convert scaled_silu.pt2 -o out.mlpackage --lowering scaled_silu.lowering --precision fp32";
    folder.line(line).ok();
    let line = "run out.mlpackage --in x=@scaled_silu.safetensors:x --out scaled_silu_1=@y.npy";
    folder.line(line).ok();
    let file = format!("@{}", folder.path("y.npy").display());
    let Feed::Array(FeedArray(got)) = parse_feed("y", &file).unwrap() else { panic!("no array") };
    let all = read_safetensors(&model("scaled_silu.safetensors")).unwrap();
    let (_, want) = all.iter().find(|(name, _)| name == "y").unwrap();
    let distance = distance(want, &got).unwrap();
    assert!(distance.relative < 1e-5, "{distance:?}");
    // The other commands take it too.
    let line = "verify out.mlpackage --source scaled_silu.pt2 --lowering scaled_silu.lowering";
    folder.line(line).ok();
}

#[test]
fn problems_of_a_lowering_have_their_place() {
    let folder = folder();
    let text = String::from_utf8(folder.read("scaled_silu.lowering")).unwrap();
    folder
        .file("names.mlc", text.replace("sigmoid %x", "sigmoid %q"))
        .file("shape.mlc", text.replace("tensor<?x3x8xf32>", "tensor<?x3x9xf32>"))
        .file(
            "result.mlc",
            text.replace("%y = mul %silu, %scale", "%y = cast %silu {dtype = f16}"),
        );
    let line = |file: &str| format!("convert scaled_silu.pt2 -o out.mlpackage --lowering {file}");
    let names = folder.refused(3, &line("names.mlc"));
    assert!(names.contains("names.mlc:3:19") && names.contains("make_custom.py:44"), "{names}");
    let shape = folder.refused(4, &line("shape.mlc"));
    assert!(shape.contains("`%x: tensor<?x3x9xf32>` does not take tensor<"), "{shape}");
    let result = folder.refused(3, &line("result.mlc"));
    assert!(result.contains("lowering gives f16, the file declares f32"), "{result}");
    folder.file("broken.mlc", text.replace("sigmoid", "sigmod").replace("%by: int", "%by: it"));
    let broken = folder.refused(3, &line("broken.mlc"));
    assert!(
        broken.contains("broken.mlc:9:63") && broken.contains("did you mean `int`?"),
        "{broken}"
    );
    assert!(folder.refused(3, &line("none.mlc")).contains("none.mlc"));
}

#[test]
fn functions_of_one_name_are_alternatives() {
    let folder = folder();
    let text = String::from_utf8(folder.read("scaled_silu.lowering")).unwrap();
    let narrow = "func @\"mylib::scaled_silu\"(%x: tensor<?x?xf64>) {\n  return %x\n}\n";
    folder.file("two.mlc", format!("{narrow}{text}"));
    folder.line("convert scaled_silu.pt2 -o out.mlpackage --lowering two.mlc").ok();
}

#[test]
fn a_driver_of_ones_own_brings_lowerings() {
    const LOWERINGS: &[Lowering] = &[Lowering {
        name: "mylib.nothing",
        lower: |cx, call| {
            Ok(vec![call.tensor("x").map(|x| cx.read(x))??]
                .into_iter()
                .map(|value| cx.fresh(value))
                .collect())
        },
    }];
    let driver = Driver::new(&[]).unwrap().with_lowerings(&[LOWERINGS]);
    assert!(driver.lowerings().covers("mylib.nothing"));
    assert!(!Driver::new(&[]).unwrap().lowerings().covers("mylib.nothing"));
}

#[test]
fn ten_defects_are_ten_problems_with_their_lines() {
    let folder = Folder::new();
    folder.file("defects.pt2", std::fs::read(model("defects.pt2")).unwrap());
    let refused = folder.refused(4, "convert defects.pt2 -o out.mlpackage");
    let problems = refused.matches("error[").count();
    assert!(problems >= 10, "{refused}");
    let lines = refused.lines().filter(|line| line.contains("make_custom.py:"));
    let mut places: Vec<&str> = lines.collect();
    places.dedup();
    assert!(places.len() + 1 >= problems, "{refused}");
}
