//! Compression of a package of real size, as ratios: `cargo bench -p mlc-testkit --bench compression`.
//!
//! For each scheme the time in which a package becomes a smaller one stands beside that of coremltools for
//! the same package on the same machine, and beside that of a plain copy. coremltools is looked for in
//! the environment of `cargo xtask conformance`, or that of `MLC_CONFORMANCE_PYTHON`; without it only our
//! own times and the copy are printed. Schemes given as arguments are run alone.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use mlc_driver::{CompressOptions, Driver, Goal, Levels, Recipe};
use mlc_pass::Observer;

/// Schemes, and how many times faster than coremltools each has to be.
const SCHEMES: [(&str, f64); 6] = [
    ("w8", 20.0),
    ("w4-block32", 50.0),
    ("lut4", 30.0),
    ("lut4-g16", 30.0),
    ("lut4-v2", 30.0),
    ("prune-50", 1.0),
];
/// Layers, and elements of each along both axes.
const LAYERS: usize = 6;
const WIDTH: usize = 2048;
/// Runs, of which the fastest counts.
const RUNS: usize = 3;
const SCRIPT: &str = "crates/xtask/conformance/compress_time.py";

/// Nobody looks.
struct Quiet;

impl Observer for Quiet {}

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|a| a == name);
    let folder = tempfile::tempdir()?;
    let package = folder.path().join("model.mlpackage");
    let driver = Driver::new(&[]).map_err(|faults| format!("{faults:?}"))?;
    write_package(&driver, folder.path(), &package)?;
    let bytes = size(&package)?;
    let copy = best(|| copied(&package, &folder.path().join("copy")))?;
    println!(
        "{LAYERS} layers of {WIDTH} x {WIDTH} in fp16, {:.1} MB; a copy takes {:.3} s ({:.0} MB/s)",
        bytes as f64 / 1e6,
        copy,
        bytes as f64 / 1e6 / copy
    );
    let python = python();
    if python.is_none() {
        println!(
            "coremltools is not there: `cargo xtask conformance` makes an environment with it"
        );
    }
    println!(
        "{:<12} {:>9} {:>9} {:>9} {:>14} {:>10} {:>6}",
        "scheme", "mlc, s", "MB/s", "of a copy", "coremltools, s", "faster", "goal"
    );
    for (scheme, goal) in SCHEMES.into_iter().filter(|(name, _)| is_asked(name)) {
        let result = folder.path().join("small.mlpackage");
        let ours = best(|| compressed(&driver, scheme, (&package, &result)))?;
        let theirs = match &python {
            Some(python) => time_of(python, scheme, &package),
            None => Err("-".to_owned()),
        };
        let (theirs, ratio) = match theirs {
            Ok(seconds) => (format!("{seconds:.2}"), format!("{:.1}x", seconds / ours)),
            Err(why) => (why, "-".to_owned()),
        };
        println!(
            "{scheme:<12} {ours:>9.3} {:>9.0} {:>8.2}x {theirs:>14} {ratio:>10} {goal:>5}x",
            bytes as f64 / 1e6 / ours,
            copy / ours
        );
    }
    Ok(())
}

/// The least of a few times, in seconds.
fn best(mut run: impl FnMut() -> Result<f64, Fault>) -> Result<f64, Fault> {
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        least = least.min(run()?);
    }
    Ok(least)
}

/// Linear layers whose weights are sums of random numbers, so that most are small.
fn write_package(driver: &Driver, folder: &Path, package: &Path) -> Result<(), Fault> {
    let ty = format!("tensor<{WIDTH}x{WIDTH}xf32>");
    let (mut weights, mut body) = (String::new(), String::new());
    for layer in 0..LAYERS {
        for part in 0..3 {
            writeln!(weights, "  @w{layer}_{part} : {ty} = random({}, 0.02)", layer * 3 + part)?;
            writeln!(body, "  %w{layer}_{part} = const @w{layer}_{part} : {ty}")?;
        }
        let x = if layer == 0 { "x".to_owned() } else { format!("y{}", layer - 1) };
        writeln!(body, "  %a{layer} = add %w{layer}_0, %w{layer}_1")?;
        writeln!(body, "  %m{layer} = mul %w{layer}_2, 30.0")?;
        writeln!(body, "  %w{layer} = mul %a{layer}, %m{layer}")?;
        writeln!(body, "  %y{layer} = linear %{x}, %w{layer}")?;
    }
    let row = format!("tensor<1x{WIDTH}xf32>");
    let text = format!(
        "weights {{\n{weights}}}\nfunc @main(%x: {row}) -> {row} {{\n{body}  return %y{}\n}}\n",
        LAYERS - 1
    );
    let source = folder.join("model.mlc");
    fs::write(&source, text)?;
    let mut options = mlc_driver::ConvertOptions::new(source, package.to_path_buf());
    options.verify = None;
    options.target = Some("ios18".parse()?);
    driver.convert(&options, &mut Quiet).map_err(|faults| format!("{faults:?}"))?;
    Ok(())
}

fn compressed(
    driver: &Driver,
    scheme: &str,
    (package, result): (&Path, &Path),
) -> Result<f64, Fault> {
    let recipe = Recipe::read(scheme).map_err(|faults| format!("{faults:?}"))?;
    let options = CompressOptions {
        input: package.to_path_buf(),
        output: result.to_path_buf(),
        from: None,
        target: None,
        goal: Goal::Compress(recipe),
        min_snr: None,
        verify: false,
        seed: 0,
        calib: None,
        recompress: false,
        levels: Levels::default(),
        force: true,
    };
    let observer: &mut dyn Observer = &mut Quiet;
    let start = Instant::now();
    driver.compress(&options, observer).map_err(|faults| format!("{faults:?}"))?;
    Ok(start.elapsed().as_secs_f64())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

fn size(folder: &Path) -> Result<u64, Fault> {
    files(folder)?.iter().try_fold(0, |sum, file| Ok(sum + fs::metadata(file)?.len()))
}

fn copied(package: &Path, goal: &Path) -> Result<f64, Fault> {
    let start = Instant::now();
    for file in files(package)? {
        let to = goal.join(file.strip_prefix(package)?);
        fs::create_dir_all(to.parent().ok_or("a folder")?)?;
        fs::copy(&file, to)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    fs::remove_dir_all(goal)?;
    Ok(seconds)
}

/// The interpreter that has coremltools.
fn python() -> Option<PathBuf> {
    let given = std::env::var_os("MLC_CONFORMANCE_PYTHON").map(PathBuf::from);
    let made = mlc_testkit::workspace_root().join("target/conformance-venv/bin/python");
    given.or_else(|| made.exists().then_some(made))
}

/// The seconds that coremltools takes; else why there are none.
fn time_of(python: &Path, scheme: &str, package: &Path) -> Result<f64, String> {
    let script = mlc_testkit::workspace_root().join(SCRIPT);
    let ran = Command::new(python)
        .arg(script)
        .args([scheme, &package.to_string_lossy()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("TQDM_DISABLE", "1")
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&ran.stdout);
    let last = text.lines().last().unwrap_or_default();
    last.parse().map_err(|_| "fails".to_owned())
}
