//! Packages: what is written, how a goal is treated, and which packages are refused.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mlc_coreml::blob::{BlobReader, BlobSpec};
use mlc_coreml::package::{
    Existing, Limits, ManifestError, PackageReadError, PackageReader, PackageWriteError,
    PackageWriter, PathError,
};
use mlc_coreml::spec::{Model, mil, model};
use mlc_target::DataType;
use tempfile::TempDir;

const MODEL: &str = "Data/com.apple.CoreML/model.mlmodel";
const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";

fn model(references: &[(&str, u64)]) -> Model {
    let attributes = references.iter().enumerate().map(|(index, (file_name, offset))| {
        let blob =
            mil::value::BlobFileValue { file_name: (*file_name).to_owned(), offset: *offset };
        let value = mil::value::Value::BlobFileValue(blob);
        (format!("w{index}"), mil::Value { value: Some(value), ..Default::default() })
    });
    let program =
        mil::Program { version: 1, attributes: attributes.collect(), ..Default::default() };
    let body = Some(model::Type::MlProgram(program));
    Model { specification_version: 8, r#type: body, ..Default::default() }
}

fn write(goal: &Path, existing: Existing, payload: &[u8; 4]) -> Result<(), PackageWriteError> {
    let mut package = PackageWriter::create(goal, existing)?;
    let mut weights = package.weights("weight.bin")?;
    let spec = BlobSpec::for_elements(DataType::Int8, 4).unwrap();
    let offset = weights.blobs().append(spec, |out| out.write_all(payload)).unwrap();
    let reference = weights.reference();
    package.add_weights(weights)?;
    package.commit(&model(&[(&reference, offset)]))
}

fn open(path: &Path) -> Result<PackageReader, PackageReadError> {
    PackageReader::open(path, Limits::default())
}

/// Every file under `folder` with its content.
fn tree(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_path_buf();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn written() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let goal = folder.path().join("A.mlpackage");
    write(&goal, Existing::Refuse, &[1, 2, 3, 4]).unwrap();
    (folder, goal)
}

#[test]
fn reads_what_is_written() {
    let (folder, goal) = written();
    assert_eq!(names(folder.path()), ["A.mlpackage"]);
    let files: Vec<PathBuf> = tree(&goal).into_keys().collect();
    assert_eq!(
        files,
        ["Data/com.apple.CoreML/model.mlmodel", WEIGHTS, "Manifest.json"].map(PathBuf::from)
    );
    let package = open(&goal).unwrap();
    let loaded = package.model().unwrap();
    assert_eq!(loaded.unknown.total, 0);
    let files = package.all_weights(&loaded.model).unwrap();
    let [(name, weights)] = files.iter().collect::<Vec<_>>()[..] else { panic!("one file") };
    assert_eq!(name, "@model_path/weights/weight.bin");
    let blob = BlobReader::new(weights.bytes()).unwrap().blob_at(64).unwrap();
    assert_eq!(blob.payload(), [1, 2, 3, 4]);
}

#[test]
fn two_runs_give_the_same_bytes_and_ids_follow_the_content() {
    let (_first, first) = written();
    let (second_folder, second) = written();
    assert_eq!(tree(&first), tree(&second));
    let other = second_folder.path().join("B.mlpackage");
    write(&other, Existing::Refuse, &[1, 2, 3, 5]).unwrap();
    let (first, other) = (open(&first).unwrap(), open(&other).unwrap());
    assert_eq!(first.manifest().root, other.manifest().root, "the models are equal");
    assert_ne!(first.manifest().items, other.manifest().items, "the weights are not");
}

#[test]
fn a_model_without_weights_has_no_weights_item() {
    let folder = tempfile::tempdir().unwrap();
    let goal = folder.path().join("A.mlpackage");
    let mut package = PackageWriter::create(&goal, Existing::Refuse).unwrap();
    let weights = package.weights("weight.bin").unwrap();
    package.add_weights(weights).unwrap();
    package.commit(&model(&[])).unwrap();
    assert_eq!(names(&goal.join("Data/com.apple.CoreML")), ["model.mlmodel"]);
    assert_eq!(open(&goal).unwrap().manifest().items.len(), 1);
}

#[test]
fn an_existing_goal_is_kept_or_replaced() {
    let (folder, goal) = written();
    let before = tree(&goal);
    let error = write(&goal, Existing::Refuse, &[9; 4]).unwrap_err();
    assert!(matches!(error, PackageWriteError::OutputExists { .. }), "{error}");
    assert_eq!(tree(&goal), before);
    write(&goal, Existing::Replace, &[9; 4]).unwrap();
    assert_eq!(tree(&goal)[Path::new(WEIGHTS)][128..], [9; 4]);
    assert_eq!(names(folder.path()), ["A.mlpackage"]);
}

#[test]
fn a_goal_that_appears_meanwhile_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let goal = folder.path().join("A.mlpackage");
    let package = PackageWriter::create(&goal, Existing::Refuse).unwrap();
    fs::write(&goal, "other").unwrap();
    let error = package.commit(&model(&[])).unwrap_err();
    assert!(matches!(error, PackageWriteError::OutputExists { .. }), "{error}");
    assert_eq!(fs::read(&goal).unwrap(), b"other");
    assert_eq!(names(folder.path()), ["A.mlpackage"]);
}

#[test]
fn nothing_is_left_of_a_package_that_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let goal = folder.path().join("A.mlpackage");
    let mut package = PackageWriter::create(&goal, Existing::Refuse).unwrap();
    let weights = package.weights("weight.bin").unwrap();
    assert_eq!(names(folder.path()).len(), 1);
    drop((weights, package));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn what_a_killed_process_left_does_not_disturb() {
    let folder = tempfile::tempdir().unwrap();
    let goal = folder.path().join("A.mlpackage");
    let left = PackageWriter::create(&goal, Existing::Refuse).unwrap();
    std::mem::forget(left);
    write(&goal, Existing::Refuse, &[1; 4]).unwrap();
    open(&goal).unwrap().model().unwrap();
}

#[test]
fn goals_that_cannot_be_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let create = |name: &str| {
        PackageWriter::create(&folder.path().join(name), Existing::Refuse).unwrap_err()
    };
    assert!(matches!(create("A.mlmodel"), PackageWriteError::Suffix { .. }));
    assert!(matches!(create(".mlpackage"), PackageWriteError::Suffix { .. }));
    assert!(matches!(create("no/A.mlpackage"), PackageWriteError::MissingDirectory { .. }));
    fs::write(folder.path().join("file"), "").unwrap();
    assert!(matches!(create("file/A.mlpackage"), PackageWriteError::MissingDirectory { .. }));
    let goal = folder.path().join("A.mlpackage");
    let mut package = PackageWriter::create(&goal, Existing::Refuse).unwrap();
    for name in ["", ".", "..", "a/b", "/a", "a\\b"] {
        let error = package.weights(name).unwrap_err();
        assert!(matches!(error, PackageWriteError::WeightName { .. }), "{name}");
    }
    let _first = package.weights("weight.bin").unwrap();
    let again = package.weights("weight.bin").unwrap_err();
    assert!(matches!(again, PackageWriteError::WeightName { .. }));
}

#[test]
fn answers_of_the_system_are_sorted() {
    use std::io::{Error, ErrorKind};
    let sort = |kind: ErrorKind| PackageWriteError::from_io(Path::new("x"), Error::from(kind));
    assert!(matches!(sort(ErrorKind::StorageFull), PackageWriteError::DiskFull { .. }));
    assert!(matches!(sort(ErrorKind::QuotaExceeded), PackageWriteError::DiskFull { .. }));
    assert!(matches!(sort(ErrorKind::PermissionDenied), PackageWriteError::NotWritable { .. }));
    assert!(matches!(sort(ErrorKind::ReadOnlyFilesystem), PackageWriteError::NotWritable { .. }));
    assert!(matches!(sort(ErrorKind::Other), PackageWriteError::Io { .. }));
}

#[cfg(unix)]
#[test]
fn a_directory_without_write_permission_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    // The superuser writes anywhere; there the permission has no effect to test.
    if fs::write(folder.path().join("probe"), "").is_ok() {
        return;
    }
    let error = PackageWriter::create(&folder.path().join("A.mlpackage"), Existing::Refuse);
    assert!(matches!(error, Err(PackageWriteError::NotWritable { .. })));
}

#[cfg(unix)]
#[test]
fn the_package_has_the_usual_permissions() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, goal) = written();
    fs::create_dir(folder.path().join("usual")).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&goal), mode(&folder.path().join("usual")));
}

fn edit_manifest(goal: &Path, from: &str, to: &str) {
    let path = goal.join("Manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replace(from, to)).unwrap();
}

fn path_error(error: PackageReadError) -> PathError {
    match error {
        PackageReadError::Path { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn manifest_paths_stay_inside() {
    for (to, expected) in [
        ("../../Manifest.json", PathError::NotPlain),
        ("/etc/passwd", PathError::NotPlain),
        ("com.apple.CoreML/none", PathError::Missing),
        ("com.apple.CoreML", PathError::NotFile),
    ] {
        let (_folder, goal) = written();
        let from = "\"com.apple.CoreML/model.mlmodel\"";
        edit_manifest(&goal, from, &format!("\"{to}\""));
        assert_eq!(path_error(open(&goal).unwrap_err()), expected, "{to}");
    }
}

#[cfg(unix)]
#[test]
fn symbolic_links_stay_inside() {
    use std::os::unix::fs::symlink;
    let (folder, goal) = written();
    let outside = folder.path().join("outside");
    fs::rename(goal.join(MODEL), &outside).unwrap();
    symlink(&outside, goal.join(MODEL)).unwrap();
    assert_eq!(path_error(open(&goal).unwrap_err()), PathError::Escapes);
    fs::remove_file(goal.join(MODEL)).unwrap();
    fs::rename(&outside, goal.join("Data/real")).unwrap();
    symlink("../real", goal.join(MODEL)).unwrap();
    let error = open(&goal).unwrap().model();
    assert!(error.is_ok(), "a link inside the package is fine");
}

#[test]
fn weight_paths_stay_inside() {
    let (_folder, goal) = written();
    let package = open(&goal).unwrap();
    for (name, expected) in [
        ("weights/weight.bin", PathError::NoModelPath),
        ("@model_path/../../Manifest.json", PathError::NotPlain),
        ("@model_path//etc/passwd", PathError::NotPlain),
        ("@model_path/", PathError::NotPlain),
        ("@model_path/weights/other.bin", PathError::Missing),
        ("@model_path/weights", PathError::NotFile),
    ] {
        assert_eq!(path_error(package.weights(name).unwrap_err()), expected, "{name}");
    }
}

#[test]
fn damaged_packages_are_named() {
    let (folder, goal) = written();
    edit_manifest(&goal, "1.0.0", "1.0.1");
    let error = open(&goal).unwrap_err();
    let PackageReadError::Manifest { source, .. } = error else { panic!("{error}") };
    assert!(matches!(source, ManifestError::VersionTooNew { .. }));
    fs::remove_file(goal.join("Manifest.json")).unwrap();
    assert_eq!(path_error(open(&goal).unwrap_err()), PathError::Missing);
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(open(&file), Err(PackageReadError::NotDirectory { .. })));
    assert!(matches!(open(&folder.path().join("none")), Err(PackageReadError::Io { .. })));
}

fn with_model(bytes: &[u8]) -> Result<Model, PackageReadError> {
    let (_folder, goal) = written();
    fs::write(goal.join(MODEL), bytes).unwrap();
    open(&goal)?.model().map(|loaded| loaded.model)
}

#[test]
fn other_model_files_are_named() {
    // Field 500, length 0: a neural network.
    let error = with_model(&[0xa2, 0x1f, 0x00]).unwrap_err();
    assert!(matches!(error, PackageReadError::ModelKind { kind: "neuralNetwork", number: 500 }));
    assert!(matches!(with_model(&[]), Err(PackageReadError::NoBody { .. })));
    assert!(matches!(with_model(&[0x0a]), Err(PackageReadError::Wire { .. })));
    // specificationVersion as a string.
    assert!(matches!(with_model(&[0x0a, 0x00]), Err(PackageReadError::Wire { .. })));
    // Metadata author that is not UTF-8: description(2) { metadata(100) { author(3) } }.
    let latin = [0x12, 0x06, 0xa2, 0x06, 0x03, 0x1a, 0x01, 0xff];
    assert!(matches!(with_model(&latin), Err(PackageReadError::Decode { .. })));
}

#[test]
fn files_above_the_limit_are_not_read() {
    let (_folder, goal) = written();
    let limits = Limits { manifest_bytes: 10, ..Limits::default() };
    let error = PackageReader::open(&goal, limits).unwrap_err();
    assert!(matches!(error, PackageReadError::TooLarge { limit: 10, .. }));
    let limits = Limits { model_bytes: 10, ..Limits::default() };
    let error = PackageReader::open(&goal, limits).unwrap().model().unwrap_err();
    assert!(matches!(error, PackageReadError::TooLarge { limit: 10, .. }));
}
