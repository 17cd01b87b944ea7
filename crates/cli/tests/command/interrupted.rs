//! Conversions that are killed, and readers that stop early.

use std::io::Read;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::Folder;

/// A program with 16 MB of weights, so that writing it takes a while.
fn heavy() -> Folder {
    let weights: String =
        (0..4).map(|i| format!("  @w{i} : tensor<1024x1024xf32> = random({i}, 0.02)\n")).collect();
    let ops: String = (0..4)
        .map(|i| format!("  %w{i} = const @w{i}\n  %{} = linear %{}, %w{i}\n", i + 1, i))
        .collect();
    let text = format!(
        "weights {{\n{weights}}}\nfunc @main(%0: tensor<1x1024xf32>) -> (y: tensor<1x1024xf32>) {{\n{ops}  return %4\n}}\n"
    );
    let folder = Folder::new();
    folder.file("model.mlc", text);
    folder
}

#[test]
fn a_killed_conversion_leaves_nothing_under_the_name() {
    let folder = heavy();
    let args =
        ["convert", "model.mlc", "-o", "out.mlpackage", "--no-verify", "--precision", "fp32"];
    let start = Instant::now();
    folder.run(&args).ok();
    let whole = start.elapsed();
    let complete = folder.tree("out.mlpackage");
    std::fs::remove_dir_all(folder.path("out.mlpackage")).unwrap();
    let moments = 12;
    let mut killed = 0;
    for moment in 1..moments {
        let mut child =
            folder.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(whole * moment / moments);
        child.kill().unwrap();
        let status = child.wait().unwrap();
        killed += usize::from(!status.success());
        if folder.exists("out.mlpackage") {
            assert!(folder.tree("out.mlpackage") == complete, "a part at moment {moment}");
            std::fs::remove_dir_all(folder.path("out.mlpackage")).unwrap();
        }
    }
    assert!(killed > 0, "every run ended before it was killed");
    // What the killed runs left behind stands in nobody's way.
    folder.run(&args).ok();
    assert!(folder.tree("out.mlpackage") == complete);
}

#[test]
fn a_killed_replacement_leaves_the_old_package_or_the_new() {
    let folder = heavy();
    let replace = [
        "convert",
        "model.mlc",
        "-o",
        "out.mlpackage",
        "--no-verify",
        "--precision",
        "fp32",
        "--force",
    ];
    folder.line("convert model.mlc -o out.mlpackage --no-verify --precision fp16").ok();
    let old = folder.tree("out.mlpackage");
    let start = Instant::now();
    folder.run(&replace).ok();
    let whole = start.elapsed();
    let new = folder.tree("out.mlpackage");
    assert!(new != old);
    for moment in 1..8 {
        folder.line("convert model.mlc -o out.mlpackage --no-verify --precision fp16 --force").ok();
        let mut child =
            folder.command(&replace).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(whole * moment / 8);
        child.kill().unwrap();
        child.wait().unwrap();
        // Folders are exchanged by two renames: in between nothing may stand there, never a part.
        if folder.exists("out.mlpackage") {
            let found = folder.tree("out.mlpackage");
            assert!(found == old || found == new, "a part at moment {moment}");
        }
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_with_its_own_code() {
    let folder = heavy();
    let args = ["convert", "model.mlc", "-o", "out.mlpackage", "--no-verify"];
    let start = Instant::now();
    folder.run(&args).ok();
    let whole = start.elapsed();
    std::fs::remove_dir_all(folder.path("out.mlpackage")).unwrap();
    let mut child =
        folder.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    sleep(whole / 2);
    let sent = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let status = child.wait().unwrap();
    assert!(matches!(status.code(), Some(0 | 130)), "{status}");
    assert_eq!(status.code() == Some(0), folder.exists("out.mlpackage"));
}

/// More text than a pipe holds.
fn long() -> Folder {
    let ops: String = (0..6000).map(|i| format!("  %{} = relu %{i}\n", i + 1)).collect();
    let text = format!(
        "func @main(%0: tensor<2xf32>) -> (y: tensor<2xf32>) {{\n{ops}  return %6000\n}}\n"
    );
    let folder = Folder::new();
    folder.file("model.mlc", text);
    folder
}

#[test]
fn a_reader_may_stop_early() {
    let folder = long();
    for args in
        [&["print", "model.mlc"][..], &["opt", "model.mlc"], &["print", "model.mlc", "--json"]]
    {
        let mut command = folder.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0u8; 16];
        let mut stdout = child.stdout.take().unwrap();
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
    }
}

#[test]
fn nobody_needs_to_read_messages() {
    let folder = long();
    let mut command =
        folder.command(&["opt", "model.mlc", "--print-after", "all", "--passes", "cse,dce"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = child.wait().unwrap();
    assert!(Instant::now() < deadline);
    assert_eq!(status.code(), Some(0));
}
