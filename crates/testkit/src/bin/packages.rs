//! `packages`: reads, runs and writes back recorded packages; see `mlc_testkit::recorded`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use mlc_testkit::cases::run::{catch_panics, guarded_text};
use mlc_testkit::recorded::check;

/// Reads, runs and writes back every package below a folder.
#[derive(Parser)]
#[command(name = "packages")]
struct Arguments {
    /// Folder with a folder for each package
    folder: PathBuf,
    /// Only packages with this in their name; any of several
    #[arg(long, value_delimiter = ',')]
    filter: Vec<String>,
    /// Keep what is written back in this folder
    #[arg(long)]
    keep: Option<PathBuf>,
    /// Show those that agree as well
    #[arg(short, long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let folders = folders(&arguments.folder)?;
    if let Some(kept) = &arguments.keep {
        std::fs::create_dir_all(kept).map_err(|error| format!("{}: {error}", kept.display()))?;
    }
    catch_panics();
    let (mut agree, mut total) = (0, 0);
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wanted = |part: &String| name.contains(part.as_str());
        if !arguments.filter.is_empty() && !arguments.filter.iter().any(wanted) {
            continue;
        }
        total += 1;
        match guarded_text(|| check(&folder, arguments.keep.as_deref())) {
            Ok(found) => {
                agree += 1;
                if arguments.verbose {
                    println!("ok {name}: {} calls, off by {:.1e}", found.calls, found.worst);
                }
            }
            Err(problem) => println!("{name}: {problem}"),
        }
    }
    println!("{agree} of {total} agree");
    Ok(agree == total)
}

/// The folders in `folder` that hold calls, in order.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries =
        std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("io.safetensors").is_file())
        .collect();
    found.sort();
    Ok(found)
}
