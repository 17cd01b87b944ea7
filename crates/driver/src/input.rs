//! Opens models: tells what kind a path is by its content, and reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use mlc_coreml::emit::EmitOptions;
use mlc_diag::{Diagnostic, Diagnostics, Place, codes, nearest};
use mlc_ir::{Op, Program};
use mlc_target::Opset;
use mlc_tensor::Tensor;
use mlc_tensorflow::ReadOptions;
use mlc_text::{ParseOptions, Spans};
use mlc_torch::lower::{LowerOptions, StateMode};

use crate::Driver;
use crate::origin::Origin;

/// The kinds of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What `torch.export.save` wrote.
    Pt2,
    /// What `torch.jit.save` wrote.
    TorchScript,
    /// A folder with `saved_model.pb`.
    SavedModel,
    /// A frozen TensorFlow graph.
    GraphDef,
    /// An HDF5 file of Keras.
    H5,
    /// A Keras 3 archive.
    Keras,
    /// A Core ML package.
    Package,
    /// Text IR.
    Text,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Pt2,
        Self::TorchScript,
        Self::SavedModel,
        Self::GraphDef,
        Self::H5,
        Self::Keras,
        Self::Package,
        Self::Text,
    ];

    /// The word that `--from` takes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pt2 => "pt2",
            Self::TorchScript => "torchscript",
            Self::SavedModel => "savedmodel",
            Self::GraphDef => "graphdef",
            Self::H5 => "h5",
            Self::Keras => "keras",
            Self::Package => "package",
            Self::Text => "text",
        }
    }
}

impl FromStr for Kind {
    type Err = Diagnostics;

    fn from_str(word: &str) -> Result<Self, Diagnostics> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(|| {
            let near = nearest(word, Self::ALL.map(Self::as_str));
            let known = if near.is_empty() { Self::ALL.map(Self::as_str).to_vec() } else { near };
            Diagnostic::new(codes::BAD_ARGUMENT, format!("no kind of model is called `{word}`"))
                .help(format!("use {}", known.join(", ")))
                .into()
        })
    }
}

/// What is read of a model that holds several things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceOptions {
    /// How it is lowered.
    pub lowering: LowerOptions,
    /// The signature of a SavedModel; `serving_default` without one.
    pub signature: Option<String>,
    /// The tags of the graph of a SavedModel; `serve` if empty.
    pub tags: Vec<String>,
    /// The tensors of a TensorFlow graph that become outputs; those of its signature, or all that no
    /// node takes, if empty.
    pub outputs: Vec<String>,
}

/// A model that was read.
#[derive(Debug)]
pub struct Loaded {
    /// Its program.
    pub program: Program,
    /// What it was read from.
    pub kind: Kind,
    /// One line about the source, such as `torch.export 2.7.1`.
    pub description: String,
    /// Ops of the source, constants not counted.
    pub ops: usize,
    /// Elements of all constants.
    pub parameters: u64,
    /// Where ops stand, for text.
    pub spans: Option<Spans>,
    /// Warnings.
    pub warnings: Diagnostics,
    /// What the digest of the source is made of.
    pub origin: Origin,
    /// The lowest version of Core ML that the source asks for, where it says.
    pub opset: Option<Opset>,
    /// Digests of the files with lowerings that it was read with.
    pub(crate) lowerings: Vec<String>,
    /// What a package says beside its program; for another source, nothing.
    pub(crate) package: EmitOptions,
}

impl Loaded {
    /// Facts that the model carries, by name.
    pub(crate) fn facts(&self) -> BTreeMap<String, String> {
        let mut facts = self.program.metadata.clone();
        let text = &self.package.metadata;
        facts.extend(text.user_defined.clone());
        for (key, value) in [
            ("description", &text.short_description),
            ("version", &text.version),
            ("author", &text.author),
            ("license", &text.license),
        ] {
            if !value.is_empty() {
                facts.insert(key.to_owned(), value.clone());
            }
        }
        facts
    }
}

/// A problem with the file at `path`.
pub(crate) fn file_problem(
    code: mlc_diag::Code,
    path: &Path,
    message: impl Into<String>,
) -> Diagnostic {
    let file = path.to_string_lossy();
    Diagnostic::new(code, message).at(Place::Entry { file: file.as_ref().into(), entry: "".into() })
}

/// Tells what kind of model is at `path`, by content. `-` is text.
///
/// # Errors
/// Nothing is there, it cannot be read, or it is of no known kind.
pub fn sniff(path: &Path) -> Result<Kind, Diagnostics> {
    if path == Path::new("-") {
        return Ok(Kind::Text);
    }
    let missing = |error: std::io::Error| {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        file_problem(codes::FILE_NOT_FOUND, path, message)
    };
    let metadata = std::fs::metadata(path).map_err(missing)?;
    if metadata.is_dir() {
        return sniff_folder(path);
    }
    let mut head = [0u8; 512];
    let mut file = File::open(path).map_err(missing)?;
    let mut len = 0;
    while len < head.len() {
        match file.read(&mut head[len..]).map_err(missing)? {
            0 => break,
            n => len += n,
        }
    }
    let head = &head[..len];
    if head.starts_with(b"PK") {
        return Ok(sniff_zip(path));
    }
    if head.starts_with(b"\x89HDF\r\n\x1a\n") {
        return Ok(Kind::H5);
    }
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    match extension {
        "mlc" => return Ok(Kind::Text),
        "pb" => return Ok(Kind::GraphDef),
        "pt2" => return Ok(Kind::Pt2),
        _ => {}
    }
    if !head.is_empty() && looks_like_text(head) {
        return Ok(Kind::Text);
    }
    Err(file_problem(codes::UNKNOWN_FORMAT, path, "no kind of model that is known here")
        .help("give a `.pt2` of torch.export.save, a `.pt` of torch.jit.save, a SavedModel or frozen graph of TensorFlow, an `.mlpackage`, or text IR; `--from KIND` forces a kind")
        .into())
}

fn looks_like_text(head: &[u8]) -> bool {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    let word = text.trim_start();
    ["//", "func", "mlc-ir", "weights", "symbols", "metadata"].iter().any(|w| word.starts_with(w))
}

fn sniff_folder(path: &Path) -> Result<Kind, Diagnostics> {
    if path.join("Manifest.json").is_file() {
        return Ok(Kind::Package);
    }
    if path.join("saved_model.pb").is_file() {
        return Ok(Kind::SavedModel);
    }
    if path.extension().is_some_and(|e| e == "mlpackage") {
        return Err(
            file_problem(codes::CORRUPT_PACKAGE, path, "the package has no Manifest.json").into()
        );
    }
    Err(file_problem(
        codes::UNKNOWN_FORMAT,
        path,
        "the folder is neither a package nor a SavedModel",
    )
    .help("a package has a Manifest.json, a SavedModel a saved_model.pb")
    .into())
}

/// Zip archives are told apart by the reader of torch archives, which names what it met.
fn sniff_zip(path: &Path) -> Kind {
    match mlc_torch::archive::Archive::open(path).map(|archive| archive.format()) {
        Ok(mlc_torch::archive::Format::TorchScript) => Kind::TorchScript,
        _ if path.extension().is_some_and(|e| e == "keras") => Kind::Keras,
        _ => Kind::Pt2,
    }
}

impl Driver {
    /// Reads the model at `path`; `from` forces its kind.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self, path: &Path, from: Option<Kind>) -> Result<Loaded, Diagnostics> {
        self.load_with(path, from, &LowerOptions::default())
    }

    /// Reads the model at `path`, lowered with these options where it is no IR yet.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load_with(
        &self,
        path: &Path,
        from: Option<Kind>,
        options: &LowerOptions,
    ) -> Result<Loaded, Diagnostics> {
        let options = SourceOptions { lowering: options.clone(), ..SourceOptions::default() };
        self.load_source(path, from, &options)
    }

    /// Reads what the options choose of the model at `path`.
    ///
    /// # Errors
    /// Everything that is wrong with it, or it has no such part.
    pub fn load_source(
        &self,
        path: &Path,
        from: Option<Kind>,
        options: &SourceOptions,
    ) -> Result<Loaded, Diagnostics> {
        let kind = match from {
            Some(kind) => {
                if path != Path::new("-") && !path.exists() {
                    return Err(
                        file_problem(codes::FILE_NOT_FOUND, path, "there is no such file").into()
                    );
                }
                kind
            }
            None => sniff(path)?,
        };
        // The file in the folder of a SavedModel stands for the folder.
        let inner = kind == Kind::GraphDef && path.file_name() == Some("saved_model.pb".as_ref());
        let (kind, path) = match path.parent() {
            Some(folder) if inner => (Kind::SavedModel, folder),
            _ => (kind, path),
        };
        let mut loaded = match kind {
            Kind::Pt2 => self.load_pt2(path, &options.lowering)?,
            Kind::Package => load_package(path)?,
            Kind::Text => load_text(path)?,
            Kind::TorchScript => self.load_script(path, &options.lowering)?,
            Kind::SavedModel | Kind::GraphDef => self.load_tensorflow(path, kind, options)?,
            Kind::H5 | Kind::Keras => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                return Err(unsupported(path, "Keras archives hold layers, not a graph")
                    .help(format!(
                        "export a SavedModel: `python -c \"import keras; \
                         keras.models.load_model('{name}').export('saved_model')\"`"
                    ))
                    .into());
            }
        };
        loaded.kind = kind;
        loaded.ops = loaded.program.op_count();
        loaded.parameters = constants(&loaded.program).map(|t| t.count() as u64).sum();
        Ok(loaded)
    }

    fn load_pt2(&self, path: &Path, options: &LowerOptions) -> Result<Loaded, Diagnostics> {
        let source = mlc_torch::read(path)?;
        let lowered = mlc_torch::lower::lower_with(&source, self.lowerings(), options)?;
        let version = source.torch_version.split('+').next().unwrap_or_default().to_owned();
        Ok(Loaded {
            origin: Origin::File(path.to_path_buf()),
            warnings: lowered.warnings,
            lowerings: self.digests.clone(),
            ..loaded(lowered.program, format!("torch.export {version}"))
        })
    }

    fn load_script(&self, path: &Path, options: &LowerOptions) -> Result<Loaded, Diagnostics> {
        let source = mlc_torch::script::read(path)?;
        let lowered = mlc_torch::script::lower(&source, self.lowerings(), options)?;
        Ok(Loaded {
            origin: Origin::File(path.to_path_buf()),
            warnings: lowered.warnings,
            ..loaded(lowered.program, "TorchScript".to_owned())
        })
    }
}

impl Driver {
    fn load_tensorflow(
        &self,
        path: &Path,
        kind: Kind,
        options: &SourceOptions,
    ) -> Result<Loaded, Diagnostics> {
        let read = ReadOptions {
            signature: options.signature.clone(),
            tags: options.tags.clone(),
            outputs: options.outputs.clone(),
        };
        let lowering = mlc_tensorflow::lower::LowerOptions {
            states: match options.lowering.states {
                StateMode::Io => mlc_tensorflow::lower::StateMode::Io,
                StateMode::Buffers | StateMode::All => mlc_tensorflow::lower::StateMode::States,
            },
            inputs: options.lowering.inputs.clone(),
        };
        let (model, file, what) = match kind {
            Kind::SavedModel => {
                let file = path.join("saved_model.pb");
                (mlc_tensorflow::read_saved_model(path, &read)?, file, "SavedModel")
            }
            _ => (mlc_tensorflow::read_graph(path, &read)?, path.to_path_buf(), "frozen graph"),
        };
        let lowered =
            mlc_tensorflow::lower::lower_with(&model, self.tensorflow_lowerings(), &lowering)?;
        let description = match &model.version {
            Some(version) => format!("TensorFlow {version} {what}"),
            None => format!("TensorFlow {what}"),
        };
        Ok(Loaded {
            origin: Origin::File(file),
            warnings: lowered.warnings,
            ..loaded(lowered.program, description)
        })
    }
}

fn loaded(program: Program, description: String) -> Loaded {
    Loaded {
        program,
        kind: Kind::Text,
        description,
        ops: 0,
        parameters: 0,
        spans: None,
        warnings: Diagnostics::new(),
        origin: Origin::Text(String::new()),
        opset: None,
        lowerings: Vec::new(),
        package: EmitOptions::new(Opset::Ios15),
    }
}

fn unsupported(path: &Path, message: &str) -> Diagnostic {
    file_problem(codes::UNKNOWN_FORMAT, path, message)
}

fn load_package(path: &Path) -> Result<Loaded, Diagnostics> {
    let read = mlc_coreml::read::read(path)?;
    let opset = read.opset;
    let description = format!("Core ML package of {}", opset.label());
    let model = path.join("Data/com.apple.CoreML/model.mlmodel");
    let origin = if model.is_file() { Origin::File(model) } else { Origin::Text(String::new()) };
    Ok(Loaded {
        warnings: read.warnings,
        origin,
        opset: Some(opset),
        package: EmitOptions {
            opset,
            metadata: read.metadata,
            features: read.features,
            default_function: read.default_function,
        },
        ..loaded(read.program, description)
    })
}

fn load_text(path: &Path) -> Result<Loaded, Diagnostics> {
    let (name, text, base_dir) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().read_to_end(&mut bytes).map_err(|e| {
            file_problem(codes::FILE_NOT_FOUND, path, format!("stdin cannot be read: {e}"))
        })?;
        ("<stdin>".to_owned(), bytes, PathBuf::new())
    } else {
        let bytes = std::fs::read(path).map_err(|e| {
            file_problem(codes::FILE_NOT_FOUND, path, format!("cannot be read: {e}"))
        })?;
        let base = path.parent().map(Path::to_path_buf).unwrap_or_default();
        (path.to_string_lossy().into_owned(), bytes, base)
    };
    let origin = Origin::Text(blake3::hash(&text).to_hex().to_string());
    let text = String::from_utf8(text).map_err(|e| {
        let line =
            String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]).lines().count();
        Diagnostic::new(codes::SYNTAX, "the text is not UTF-8").at(Place::Text {
            file: Arc::from(name.as_str()),
            line: u32::try_from(line.max(1)).unwrap_or(u32::MAX),
            column: 1,
            len: 1,
        })
    })?;
    let parsed = mlc_text::parse(&name, &text, &ParseOptions { base_dir, locate: true })?;
    Ok(Loaded { spans: Some(parsed.spans), origin, ..loaded(parsed.program, "text IR".to_owned()) })
}

/// The constants that ops of a program stand for, each once.
pub(crate) fn constants(program: &Program) -> impl Iterator<Item = &Tensor> {
    let mut used = BTreeSet::new();
    for (_, function) in program.functions.iter() {
        function.for_each_node(&mut |_, node| {
            if let Op::Const(payload) = &function.nodes[node].op {
                used.insert(payload.value);
            }
        });
    }
    used.into_iter().filter_map(|id| program.consts.try_get(id))
}
