//! The files of source in an archive, by what they define.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{Class, File, Function};
use super::debug::Lines;

/// A file of source.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Its entry below `code/`.
    pub(crate) entry: Arc<str>,
    pub(crate) file: File,
    pub(crate) lines: Lines,
}

/// A function and the file that it stands in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code<'s> {
    pub(crate) function: &'s Function,
    pub(crate) file: &'s SourceFile,
}

/// All files. Qualified names are those of the source, such as `__torch__.pkg.Net`.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: Vec<SourceFile>,
    classes: BTreeMap<String, (usize, usize)>,
    functions: BTreeMap<String, (usize, usize)>,
}

impl Sources {
    /// Adds a file whose names are below `module`.
    pub(crate) fn add(&mut self, module: &str, file: SourceFile) {
        let at = self.files.len();
        for (i, class) in file.file.classes.iter().enumerate() {
            self.classes.insert(format!("{module}.{}", class.name), (at, i));
        }
        for (i, function) in file.file.functions.iter().enumerate() {
            self.functions.insert(format!("{module}.{}", function.name), (at, i));
        }
        self.files.push(file);
    }

    /// The class of that name.
    pub(crate) fn class(&self, name: &str) -> Option<&Class> {
        let &(file, class) = self.classes.get(name)?;
        self.files.get(file)?.file.classes.get(class)
    }

    /// A method of a class.
    pub(crate) fn method(&self, class: &str, name: &str) -> Option<Code<'_>> {
        let &(file, at) = self.classes.get(class)?;
        let file = self.files.get(file)?;
        let methods = &file.file.classes.get(at)?.methods;
        let function = methods.iter().find(|method| &*method.name == name)?;
        Some(Code { function, file })
    }

    /// A free function.
    pub(crate) fn function(&self, name: &str) -> Option<Code<'_>> {
        let &(file, at) = self.functions.get(name)?;
        let file = self.files.get(file)?;
        Some(Code { function: file.file.functions.get(at)?, file })
    }
}
