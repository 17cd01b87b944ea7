//! Reading a package.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlc_tensor::MappedFile;
use prost::Message as _;

use super::entry::{DATA, MANIFEST, MODEL_PATH, resolve, resolve_file};
use super::error::{PackageReadError, PathError};
use super::manifest::Manifest;
use crate::spec::Model;
use crate::unknown::{UnknownFields, unknown_fields};
use crate::values::blob_values;

/// Sizes above which a file is refused before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the model file; weights do not count. Protobuf itself ends at 2 GiB.
    pub model_bytes: u64,
    /// Bytes of `Manifest.json`.
    pub manifest_bytes: u64,
}

impl Default for Limits {
    /// 1 GiB and 16 MiB.
    fn default() -> Self {
        Self { model_bytes: 1 << 30, manifest_bytes: 16 << 20 }
    }
}

/// An open package: its manifest is valid and every item exists.
#[derive(Debug, Clone)]
pub struct PackageReader {
    root: PathBuf,
    manifest: Manifest,
    model: PathBuf,
    limits: Limits,
}

/// A decoded model file.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedModel {
    /// The model; its body is an ML Program or a pipeline.
    pub model: Model,
    /// Fields of the file that `model` lacks.
    pub unknown: UnknownFields,
}

/// The bytes of a weight file. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct WeightBytes(Arc<MappedFile>);

impl WeightBytes {
    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    /// The file, to refer to parts of it.
    pub fn file(&self) -> &Arc<MappedFile> {
        &self.0
    }
}

impl PackageReader {
    /// Opens the package in directory `path` and checks its manifest.
    ///
    /// # Errors
    /// The directory, the manifest or an item is missing, invalid or leads out of the package.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, PackageReadError> {
        let root = fs::canonicalize(path).map_err(|error| PackageReadError::io(path, error))?;
        if !root.is_dir() {
            return Err(PackageReadError::NotDirectory { path: path.to_path_buf() });
        }
        let manifest_path = resolve_file(&root, &root, MANIFEST)?;
        let json = read_bounded(&manifest_path, limits.manifest_bytes)?;
        let manifest = Manifest::parse(&json)
            .map_err(|source| PackageReadError::Manifest { path: manifest_path, source })?;
        let data = root.join(DATA);
        for item in manifest.items.values() {
            resolve(&root, &data, &item.path)?;
        }
        let model = &manifest.items.get(&manifest.root).expect("parsing checks the root").path;
        let model = resolve_file(&root, &data, model)?;
        Ok(Self { root, manifest, model, limits })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The model file as it is.
    ///
    /// # Errors
    /// It cannot be read or is larger than the limit.
    pub fn model_bytes(&self) -> Result<Vec<u8>, PackageReadError> {
        read_bounded(&self.model, self.limits.model_bytes)
    }

    /// Decodes the root model.
    ///
    /// # Errors
    /// It cannot be read, is not a model, is nested too deeply, or its body is neither an ML Program
    /// nor a pipeline.
    pub fn model(&self) -> Result<LoadedModel, PackageReadError> {
        let bytes = self.model_bytes()?;
        let path = || self.model.clone();
        let unknown = unknown_fields(&bytes)
            .map_err(|source| PackageReadError::Wire { path: path(), source })?;
        let model = Model::decode(bytes.as_slice())
            .map_err(|source| PackageReadError::Decode { path: path(), source })?;
        if model.r#type.is_some() {
            return Ok(LoadedModel { model, unknown });
        }
        let kind = unknown.listed.iter().filter(|field| field.path.is_empty()).find_map(|field| {
            let (number, kind) = *OTHER_KINDS.iter().find(|kind| kind.0 == field.number)?;
            Some(PackageReadError::ModelKind { kind, number })
        });
        Err(kind.unwrap_or_else(|| PackageReadError::NoBody { path: path() }))
    }

    /// Maps the weight file that a model names, such as `@model_path/weights/weight.bin`.
    ///
    /// # Errors
    /// The name leads out of the package, or the file is missing or cannot be mapped.
    pub fn weights(&self, file_name: &str) -> Result<WeightBytes, PackageReadError> {
        let relative = file_name.strip_prefix(MODEL_PATH).ok_or_else(|| {
            PackageReadError::Path { path: file_name.to_owned(), source: PathError::NoModelPath }
        })?;
        let folder = self.model.parent().unwrap_or(&self.root);
        let path = resolve_file(&self.root, folder, relative)?;
        let mapped = MappedFile::open(&path).map_err(|error| PackageReadError::io(&path, error))?;
        Ok(WeightBytes(mapped))
    }

    /// Maps every weight file that `model` names, by that name.
    ///
    /// # Errors
    /// As [`weights`](Self::weights).
    pub fn all_weights(
        &self,
        model: &Model,
    ) -> Result<BTreeMap<String, WeightBytes>, PackageReadError> {
        let mut files = BTreeMap::new();
        for (blob, _) in blob_values(model) {
            if !files.contains_key(&blob.file_name) {
                files.insert(blob.file_name.clone(), self.weights(&blob.file_name)?);
            }
        }
        Ok(files)
    }
}

/// The file's bytes; refused if there are more than `limit`, also if it grows meanwhile.
fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, PackageReadError> {
    let fail = |error| PackageReadError::io(path, error);
    let file = File::open(path).map_err(fail)?;
    let byte_len = file.metadata().map_err(fail)?.len();
    let too_large =
        |byte_len| PackageReadError::TooLarge { path: path.to_path_buf(), byte_len, limit };
    if byte_len > limit {
        return Err(too_large(byte_len));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    match bytes.len() as u64 > limit {
        true => Err(too_large(bytes.len() as u64)),
        false => Ok(bytes),
    }
}

/// Bodies of a model that `proto/` does not declare: field number and name.
const OTHER_KINDS: [(u32, &str); 33] = [
    (300, "glmRegressor"),
    (301, "supportVectorRegressor"),
    (302, "treeEnsembleRegressor"),
    (303, "neuralNetworkRegressor"),
    (304, "bayesianProbitRegressor"),
    (400, "glmClassifier"),
    (401, "supportVectorClassifier"),
    (402, "treeEnsembleClassifier"),
    (403, "neuralNetworkClassifier"),
    (404, "kNearestNeighborsClassifier"),
    (500, "neuralNetwork"),
    (501, "itemSimilarityRecommender"),
    (555, "customModel"),
    (556, "linkedModel"),
    (560, "classConfidenceThresholding"),
    (600, "oneHotEncoder"),
    (601, "imputer"),
    (602, "featureVectorizer"),
    (603, "dictVectorizer"),
    (604, "scaler"),
    (606, "categoricalMapping"),
    (607, "normalizer"),
    (609, "arrayFeatureExtractor"),
    (610, "nonMaximumSuppression"),
    (900, "identity"),
    (2000, "textClassifier"),
    (2001, "wordTagger"),
    (2002, "visionFeaturePrint"),
    (2003, "soundAnalysisPreprocessing"),
    (2004, "gazetteer"),
    (2005, "wordEmbedding"),
    (2006, "audioFeaturePrint"),
    (3000, "serializedModel"),
];
