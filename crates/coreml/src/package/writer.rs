//! Writing a package in one atomic step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Component, Path, PathBuf};

use prost::Message as _;
use tempfile::TempDir;

use super::entry::{AUTHOR, DATA, MANIFEST, MODEL, MODEL_PATH, WEIGHTS};
use super::error::PackageWriteError;
use super::item_id::item_id;
use super::manifest::{Item, Manifest};
use crate::blob::{BlobDigest, BlobWriter, FinishedBlobs};
use crate::spec::Model;

/// Name of the replaced package inside the scratch directory; no package is called so.
const PREVIOUS: &str = "previous";

type Result<T> = std::result::Result<T, PackageWriteError>;

/// What to do if the goal exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Report [`PackageWriteError::OutputExists`].
    Refuse,
    /// Put the new package in its place once it is complete.
    Replace,
}

/// Writes a package.
///
/// All files are made in a hidden directory beside the goal and moved there by
/// [`commit`](Self::commit) when they are complete. Dropping the writer removes them. What a killed
/// process left behind has another name and does not disturb. Nothing waits for the disk: a machine that
/// loses power is another matter.
#[derive(Debug)]
pub struct PackageWriter {
    goal: PathBuf,
    existing: Existing,
    scratch: TempDir,
    package: PathBuf,
    open_names: BTreeSet<String>,
    weights: BTreeMap<String, BlobDigest>,
}

/// A weight file in the making. Hand it to [`PackageWriter::add_weights`] when it is complete.
#[derive(Debug)]
pub struct WeightFile {
    name: String,
    path: PathBuf,
    blobs: BlobWriter<BufWriter<File>>,
}

impl WeightFile {
    /// The blobs so far, to add more.
    pub fn blobs(&mut self) -> &mut BlobWriter<BufWriter<File>> {
        &mut self.blobs
    }

    /// How a model names the file: `@model_path/weights/NAME`.
    pub fn reference(&self) -> String {
        format!("{MODEL_PATH}{WEIGHTS}/{}", self.name)
    }

    /// Where the file is now, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl PackageWriter {
    /// Begins a package that will appear at `goal`, whose name ends in `.mlpackage`.
    ///
    /// # Errors
    /// The name has another ending, the goal exists and is not to be replaced, or its parent is
    /// missing or cannot be written.
    pub fn create(goal: &Path, existing: Existing) -> Result<Self> {
        let name = goal.file_name().and_then(|name| name.to_str());
        let suffix = || PackageWriteError::Suffix { path: goal.to_path_buf() };
        let name = name
            .filter(|name| name.len() > ".mlpackage".len() && name.ends_with(".mlpackage"))
            .ok_or_else(suffix)?;
        if existing == Existing::Refuse && fs::symlink_metadata(goal).is_ok() {
            return Err(PackageWriteError::OutputExists { path: goal.to_path_buf() });
        }
        let parent = parent_of(goal);
        if !parent.is_dir() {
            return Err(PackageWriteError::MissingDirectory { path: parent.to_path_buf() });
        }
        let scratch = tempfile::Builder::new()
            .prefix(&format!(".{name}.tmp-"))
            .tempdir_in(parent)
            .map_err(|error| PackageWriteError::from_io(parent, error))?;
        let package = scratch.path().join(name);
        let writer = Self {
            goal: goal.to_path_buf(),
            existing,
            scratch,
            package,
            open_names: BTreeSet::new(),
            weights: BTreeMap::new(),
        };
        let folder = writer.model_folder();
        fs::create_dir_all(&folder).map_err(|error| PackageWriteError::from_io(&folder, error))?;
        Ok(writer)
    }

    /// Begins the weight file `name`, usually `weight.bin`.
    ///
    /// # Errors
    /// The name is not a plain file name or was used before, or the file cannot be created.
    pub fn weights(&mut self, name: &str) -> Result<WeightFile> {
        let mut components = Path::new(name).components();
        let plain = matches!(components.next(), Some(Component::Normal(only)) if only == name)
            && !name.contains(['/', '\\', '\0']);
        if !plain || !self.open_names.insert(name.to_owned()) {
            return Err(PackageWriteError::WeightName { name: name.to_owned() });
        }
        let folder = self.model_folder().join(WEIGHTS);
        let path = folder.join(name);
        fs::create_dir_all(&folder).map_err(|error| PackageWriteError::from_io(&folder, error))?;
        let file =
            File::create_new(&path).map_err(|error| PackageWriteError::from_io(&path, error))?;
        let blobs = BlobWriter::new(BufWriter::with_capacity(1 << 16, file))
            .map_err(|error| PackageWriteError::from_blob(&path, error))?;
        Ok(WeightFile { name: name.to_owned(), path, blobs })
    }

    /// Completes a weight file and says what is in it. One without blobs is left out of the package.
    ///
    /// # Errors
    /// A blob is incomplete or the file cannot be written.
    pub fn add_weights(&mut self, file: WeightFile) -> Result<Option<FinishedBlobs<()>>> {
        let WeightFile { name, path, blobs } = file;
        let fail = |error| PackageWriteError::from_io(&path, error);
        if blobs.count() == 0 {
            drop(blobs);
            return fs::remove_file(&path).map_err(fail).map(|()| None);
        }
        let finished =
            blobs.finish().map_err(|error| PackageWriteError::from_blob(&path, error))?;
        let FinishedBlobs { inner, count, byte_len, digest } = finished;
        let file = inner.into_inner().map_err(|error| fail(error.into_error()))?;
        file.set_len(byte_len).map_err(fail)?;
        self.weights.insert(name, digest);
        Ok(Some(FinishedBlobs { inner: (), count, byte_len, digest }))
    }

    /// Adds the model and the manifest and moves the package to its goal.
    ///
    /// # Errors
    /// A file cannot be written, or something has appeared at the goal that is not to be replaced.
    pub fn commit(self, model: &Model) -> Result<()> {
        let folder = self.model_folder();
        let encoded = model.encode_to_vec();
        write(&folder.join(MODEL), &encoded)?;
        let manifest = self.manifest(blake3::hash(&encoded).as_bytes());
        write(&self.package.join(MANIFEST), &manifest.to_json()?)?;
        let weights = folder.join(WEIGHTS);
        if self.weights.is_empty() && weights.exists() {
            fs::remove_dir(&weights)
                .map_err(|error| PackageWriteError::from_io(&weights, error))?;
        }
        self.publish()
    }

    fn model_folder(&self) -> PathBuf {
        self.package.join(DATA).join(AUTHOR)
    }

    fn manifest(&self, model_digest: &[u8; 32]) -> Manifest {
        let root = item_id(MODEL, model_digest);
        let mut items = BTreeMap::new();
        items.insert(root.clone(), item(MODEL, "CoreML Model Specification"));
        if !self.weights.is_empty() {
            let mut content = blake3::Hasher::new();
            for (name, digest) in &self.weights {
                content.update(name.as_bytes());
                content.update(&[0]);
                content.update(digest.as_bytes());
            }
            let id = item_id(WEIGHTS, content.finalize().as_bytes());
            items.insert(id, item(WEIGHTS, "CoreML Model Weights"));
        }
        Manifest::new(root, items)
    }

    /// Moves what was at the goal back there. If that fails too, it is kept where it is.
    fn restore(self, error: PackageWriteError) -> PackageWriteError {
        let aside = self.scratch.path().join(PREVIOUS);
        match fs::rename(&aside, &self.goal) {
            Ok(()) => error,
            Err(source) => {
                let path = self.scratch.keep().join(PREVIOUS);
                PackageWriteError::NotRestored { path, source }
            }
        }
    }

    /// Moves the package to the goal, and what is there into the scratch directory, which goes away.
    fn publish(self) -> Result<()> {
        let fail = |error| PackageWriteError::from_io(&self.goal, error);
        let aside = self.scratch.path().join(PREVIOUS);
        let occupied = fs::symlink_metadata(&self.goal).is_ok();
        if occupied && self.existing == Existing::Refuse {
            return Err(PackageWriteError::OutputExists { path: self.goal.clone() });
        }
        if occupied {
            fs::rename(&self.goal, &aside).map_err(fail)?;
        }
        if let Err(error) = fs::rename(&self.package, &self.goal) {
            let error = match error.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => {
                    PackageWriteError::OutputExists { path: self.goal.clone() }
                }
                _ => fail(error),
            };
            return Err(if occupied { self.restore(error) } else { error });
        }
        Ok(())
    }
}

fn item(name: &str, description: &str) -> Item {
    Item {
        author: AUTHOR.to_owned(),
        description: description.to_owned(),
        name: name.to_owned(),
        path: format!("{AUTHOR}/{name}"),
    }
}

/// The directory that holds `path`; the current one for a bare name.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|error| PackageWriteError::from_io(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupied() -> (TempDir, PackageWriter) {
        let folder = tempfile::tempdir().unwrap();
        let goal = folder.path().join("A.mlpackage");
        fs::create_dir(&goal).unwrap();
        fs::write(goal.join("old"), "old").unwrap();
        (folder, PackageWriter::create(&goal, Existing::Replace).unwrap())
    }

    #[test]
    fn the_previous_package_is_put_back_if_the_new_one_cannot_be_moved() {
        let (folder, writer) = occupied();
        fs::remove_dir_all(&writer.package).unwrap();
        let error = writer.publish().unwrap_err();
        assert!(matches!(error, PackageWriteError::Io { .. }), "{error}");
        assert_eq!(fs::read(folder.path().join("A.mlpackage/old")).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_previous_package_is_kept_if_it_cannot_be_put_back() {
        let (_folder, writer) = occupied();
        let aside = writer.scratch.path().join(PREVIOUS);
        fs::rename(&writer.goal, &aside).unwrap();
        fs::write(&writer.goal, "in the way").unwrap();
        let first = PackageWriteError::OutputExists { path: writer.goal.clone() };
        let error = writer.restore(first);
        let PackageWriteError::NotRestored { path, .. } = error else { panic!("{error}") };
        assert_eq!(fs::read(path.join("old")).unwrap(), b"old");
    }
}
