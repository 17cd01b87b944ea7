//! What the caller of a package sees: shapes, types, images, labels, names.

use serde_json::{Value, json};

use crate::support::{Folder, linear};

/// Two inputs that share a symbol, and one of fixed shape.
const DYNAMIC: &str = "symbols { s = 2..64, h = 8..128 }
func @main(
  %x: tensor<(s)x(h)xf32> {default = [4, 16]}, %n: tensor<(h)xf32>, %k: tensor<2xi32>
) -> (y: tensor<(s)x(h)xf32>, z: tensor<(s)xf32>, k2: tensor<2xi32>) {
  %y = mul %x, %n
  %z = reduce_sum %y {axes = [1], keep_dims = false}
  %k2 = add %k, 1
  return %y, %z, %k2
}
";

/// An image in, four probabilities and an image out.
const IMAGE: &str = "symbols { n = 1..8, h = 16..64 }
func @main(
  %x: tensor<(n)x3x(h)x(h)xf32> {default = [2, 3, 32, 32]}
) -> (p: tensor<(n)x4xf32>, im: tensor<(n)x3x(h)x(h)xf32>) {
  %m = reduce_mean %x {axes = [2, 3], keep_dims = false}
  %w = const [[0.1, 0.2, 0.3], [0.3, 0.1, 0.2], [0.2, 0.2, 0.1], [0.5, 0.1, 0.4]]
  %l = linear %m, %w
  %p = softmax %l {axis = 1}
  %im = mul %x, 1.0
  return %p, %im
}
";

fn folder() -> Folder {
    let folder = Folder::new();
    folder
        .file("dynamic.mlc", DYNAMIC)
        .file("image.mlc", IMAGE)
        .file("model.pt2", linear().archive().v2())
        .file("labels.txt", "cat\ndog\nbird\nfish\n")
        .file("digits.txt", "7\n8\n9\n10\n");
    folder
}

/// The report of a conversion with these flags.
#[track_caller]
fn converted(folder: &Folder, flags: &str) -> Value {
    let line = format!("convert {flags} -o out.mlpackage --json --force");
    folder.line(&line).ok().json()["report"].clone()
}

#[track_caller]
fn types(report: &Value, what: &str) -> Vec<String> {
    let all = report[what].as_array().unwrap().iter();
    all.map(|feature| {
        format!("{} {}", feature["name"].as_str().unwrap(), feature["type"].as_str().unwrap())
    })
    .collect()
}

#[test]
fn shapes_are_fixed_and_types_chosen() {
    let folder = folder();
    let flags = "dynamic.mlc --input x=4x16:f16 --input n=:f16 --output z=:f16 --output y";
    let report = converted(&folder, flags);
    assert_eq!(types(&report, "inputs"), ["x f16[4,16]", "n f16[16]", "k i32[2]"]);
    assert_eq!(types(&report, "outputs"), ["z f16[4]", "y f32[4,16]"]);
    assert_eq!(report["target"]["needs"], "ios16");
    let old =
        folder.refused(5, "convert dynamic.mlc -o new.mlpackage --input x=:f16 --target ios15");
    assert!(old.contains("input `x` of f16 needs iOS 16"), "{old}");
    let report = converted(&folder, "dynamic.mlc --input k=:f32 --output k2=:f32");
    assert_eq!(types(&report, "inputs")[2], "k f32[2]");
    assert_eq!(types(&report, "outputs"), ["k2 f32[2]"]);
}

#[test]
fn ranges_are_narrowed_named_and_stepped() {
    let folder = folder();
    let report = converted(&folder, "dynamic.mlc --dynamic x.0=seq:2..32 --default-shape x=8x32");
    let x = &report["inputs"][0];
    assert_eq!(x["type"], "f32[seq,h]");
    let wanted = json!({ "seq": [2, 32], "h": [8, 128] });
    assert_eq!(x["flexible"]["ranges"], wanted);
    assert_eq!(x["flexible"]["default_shape"], json!([8, 32]));
    // Outputs are compared at the default size, the least, the greatest and one between.
    assert_eq!(report["verify"]["samples"].as_array().unwrap().len(), 4);
    let dump = folder.line("dump out.mlpackage").ok().stdout;
    assert!(dump.contains("sizeRanges { lowerBound: 2 upperBound: 32 }"), "{dump}");
    let report = converted(&folder, "dynamic.mlc --dynamic x.0=seq:2..64:16 --input n=16");
    let listed = &report["inputs"][0]["flexible"]["enumerated"];
    assert_eq!(*listed, json!([[2, 16], [18, 16], [34, 16], [50, 16]]));
    let wide =
        "convert dynamic.mlc -o new.mlpackage --dynamic x.0=s:1..64 --dynamic x.1=h:8..128:2";
    let refused = folder.refused(2, wide);
    assert!(refused.contains("axis 0 of `x` cannot have the range 1..64"), "{refused}");
    let many = "convert dynamic.mlc -o new.mlpackage --dynamic x.1=h:8..128:2";
    assert!(folder.refused(2, many).contains("are more than 128"));
}

#[test]
fn shapes_are_listed() {
    let folder = folder();
    let one = converted(&folder, "dynamic.mlc --enumerate x=4x16,8x32,2x64");
    assert_eq!(one["target"]["needs"], "ios15");
    assert_eq!(one["inputs"][0]["flexible"]["enumerated"], json!([[4, 16], [8, 32], [2, 64]]));
    let flags = "dynamic.mlc --enumerate x=4x16,8x32,2x64 --enumerate n=16,32,64 \
                 --default-shape x=8x32";
    let two = converted(&folder, flags);
    assert_eq!(two["target"]["needs"], "ios18");
    assert_eq!(two["inputs"][0]["flexible"]["enumerated"], json!([[8, 32], [4, 16], [2, 64]]));
    assert_eq!(two["inputs"][1]["flexible"]["enumerated"], json!([[32], [16], [64]]));
    let line = "convert dynamic.mlc -o new.mlpackage --enumerate x=4x16,8x32 --enumerate n=32,16";
    assert!(folder.refused(2, line).contains("share `h`"));
}

#[test]
fn an_export_is_specialised_before_it_is_lowered() {
    let folder = folder();
    let model = mlc_testkit::workspace_root().join("testdata/front/t27/dynamic_batch.pt2");
    folder.file("batch.pt2", std::fs::read(model).unwrap());
    let all = folder.line("inspect batch.pt2 --json").ok().json();
    let input = &all["report"]["functions"][0]["inputs"][0];
    let name = input["name"].as_str().unwrap();
    let ranges = input["flexible"]["ranges"].as_object().unwrap();
    let (_, range) = ranges.iter().next().unwrap();
    let low = range[0].as_i64().unwrap().max(1);
    let batch = (low + 1).to_string();
    let dims = input["type"].as_str().unwrap().split(['[', ']']).nth(1).unwrap();
    let shape: Vec<&str> =
        dims.split(',').map(|dim| if dim.parse::<u64>().is_ok() { dim } else { &batch }).collect();
    let report = converted(&folder, &format!("batch.pt2 --input {name}={}", shape.join("x")));
    assert_eq!(types(&report, "inputs")[0], format!("{name} f32[{}]", shape.join(",")));
    assert!(report["inputs"][0]["flexible"].is_null());
    let flags = format!("batch.pt2 --dynamic {name}.0=many:{batch}..{}", low + 4);
    let report = converted(&folder, &flags);
    assert!(report["inputs"][0]["flexible"]["ranges"]["many"].is_array());
}

#[test]
fn images_come_as_pixels() {
    let folder = folder();
    let flags = "image.mlc --output im --image x=rgb,scale=1/255,mean=0.5/0.25/0,std=0.5 \
                 --image im=bgr,scale=255 --precision fp32";
    let report = converted(&folder, flags);
    assert_eq!(
        (&report["inputs"][0]["image"], &report["outputs"][0]["image"]),
        (&json!("rgb"), &json!("bgr"))
    );
    assert_eq!(report["inputs"][0]["type"], "f32[1,3,h,h]");
    let ran = folder.line("run out.mlpackage --in x=ones --json").ok().json();
    let first = ran["report"]["outputs"][0]["first"][0].as_f64().unwrap();
    // (1/255 − 0.5) / 0.5 · 255
    assert!((first - (2.0 - 255.0)).abs() < 1e-3, "{first}");
    let dump = folder.line("dump out.mlpackage").ok().stdout;
    assert!(dump.contains("colorSpace: RGB") && dump.contains("imageSizeRange"), "{dump}");
    folder.file("nhwc.mlc", "func @main(%x: tensor<1x4x6x1xf32>) -> (y: tensor<1x4x6x1xf32>) {\n  %y = mul %x, 2.0\n  return %y\n}\n");
    let report = converted(&folder, "nhwc.mlc --image x=gray --input x=:f16");
    assert_eq!(types(&report, "inputs"), ["x f16[1,1,4,6]"]);
    assert_eq!(report["inputs"][0]["image"], "gray-f16");
    let wrong = folder.refused(4, "convert nhwc.mlc -o new.mlpackage --image x=rgb");
    assert!(wrong.contains("which is no image of 3 channels"), "{wrong}");
}

#[test]
fn a_classifier_has_labels() {
    let folder = folder();
    let report =
        converted(&folder, "image.mlc --input x=1x3x32x32 --classifier labels.txt,output=p");
    assert_eq!(
        types(&report, "outputs"),
        ["classLabel str[]", "p_probs dict<str, f64>", "im f32[1,3,32,32]"]
    );
    let ran = folder.line("run out.mlpackage --in x=ones").ok().stdout;
    assert!(ran.starts_with("classLabel string  fish\np_probs dict of 4\n"), "{ran}");
    let flags = "image.mlc --input x=1x3x32x32 --output p \
                 --classifier digits.txt,label=digit,probabilities=all --rename digit=number";
    let report = converted(&folder, flags);
    assert_eq!(types(&report, "outputs"), ["number i64[]", "all dict<i64, f64>"]);
    folder.file("twice.txt", "cat\ndog\ncat\n");
    let twice = "convert image.mlc -o new.mlpackage --classifier twice.txt,output=p";
    assert!(folder.refused(2, twice).contains("twice.txt:3:1"));
    folder.file("two.txt", "cat\ndog\n");
    let two =
        "convert image.mlc -o new.mlpackage --classifier two.txt,output=p --input x=1x3x32x32";
    assert!(folder.refused(4, two).contains("there are 2 labels"));
}

#[test]
fn inputs_may_be_left_out() {
    let folder = folder();
    let flags =
        "dynamic.mlc --input n=16 --optional n=0.5 --describe n=gain --set-metadata author=me";
    let report = converted(&folder, flags);
    assert_eq!(
        (&report["inputs"][1]["default_value"], &report["inputs"][1]["description"]),
        (&json!(0.5), &json!("gain"))
    );
    let ran = folder.line("run out.mlpackage --in x=ones --json").ok().json();
    assert_eq!(ran["report"]["outputs"][0]["first"][0], 0.5);
    let dump = folder.line("dump out.mlpackage").ok().stdout;
    assert!(dump.contains("isOptional: true") && dump.contains("author: \"me\""), "{dump}");
    let ints = folder.refused(4, "convert dynamic.mlc -o new.mlpackage --optional k=0.5");
    assert!(ints.contains("it holds integers"), "{ints}");
}

#[test]
fn flags_may_use_old_or_new_names() {
    let folder = folder();
    let report = converted(
        &folder,
        "dynamic.mlc --rename x=pixels --rename z=sum --input pixels=4x16 --output sum=:f16",
    );
    assert_eq!(types(&report, "inputs")[0], "pixels f32[4,16]");
    assert_eq!(types(&report, "outputs"), ["sum f16[4]"]);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let folder = folder();
    let lines = [
        "convert dynamic.mlc -o new.mlpackage --input xx=4x16 --input n=7 --dynamic x.5=q:1..2 \
         --image q=rgb --output w --rename a=b --describe zz=t --input k=3",
        "convert dynamic.mlc -o new.mlpackage --input x=4 --dynamic x.0=a --enumerate x=1,2x3 \
         --image x=hsv --classifier none.txt --optional x=y --default-shape x=",
        "convert dynamic.mlc -o new.mlpackage --input x=4x16 --enumerate x=4x16,8x16 --input k=:i64",
        "convert model.pt2 -o new.mlpackage --input x=4x3 --dynamic x.1=n:1..4 --state cache*",
    ];
    let found: Vec<String> = lines.iter().map(|line| folder.refused(2, line)).collect();
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn a_file_holds_the_same_keys() {
    let folder = folder();
    let config = "[convert]\ninput = [\"x=4x16\", \"n=:f16\"]\noutput = [\"z=:f16\"]\nrename = \"z=sum\"\n\
                  describe = [\"k=two numbers\"]\n";
    folder.file("mlc.toml", config);
    let report = converted(&folder, "dynamic.mlc");
    assert_eq!(types(&report, "outputs"), ["sum f16[4]"]);
    assert_eq!(types(&report, "inputs")[1], "n f16[16]");
    let report = converted(&folder, "dynamic.mlc --output y");
    assert_eq!(types(&report, "outputs"), ["y f32[4,16]"]);
    folder.file("args", "--input\nx=2x8\n--output\nz\n");
    let report = converted(&folder, "dynamic.mlc --rename z=total @args");
    assert_eq!(types(&report, "outputs"), ["total f32[2]"]);
}

#[test]
fn verify_compares_each_function_and_image_results() {
    let folder = folder();
    let flags =
        "image.mlc --output im --image x=rgb,scale=1/255 --image im=bgr,scale=255 --precision fp32";
    converted(&folder, flags);
    folder.line("opt out.mlpackage -o again.mlpackage --passes=cleanup").ok();
    let report = folder.line("verify again.mlpackage --source out.mlpackage --json").ok().json();
    assert_eq!(report["report"]["samples"][0]["outputs"][0][0], "im");
    folder.file(
        "two.mlc",
        "func @a(%x: tensor<2xf32>) -> (y: tensor<2xf32>) {\n  %y = mul %x, 2.0\n  return %y\n}\n\
         func @b(%x: tensor<2xf32>) -> (y: tensor<2xf32>) {\n  %y = mul %x, 3.0\n  return %y\n}\n",
    );
    let wrong = std::fs::read_to_string(folder.path("two.mlc")).unwrap().replace("3.0", "4.0");
    folder.file("other.mlc", &wrong);
    let same = folder.line("verify two.mlc --source two.mlc").ok().stderr;
    assert!(same.contains("input 0 of a") && same.contains("input 1 of b"), "{same}");
    let differs = folder.refused(1, "verify other.mlc --source two.mlc");
    assert!(differs.contains("output `y` is off"), "{differs}");
}
