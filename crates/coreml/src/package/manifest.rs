//! `Manifest.json`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::ManifestError;

/// The version that is written and the newest that is read.
const VERSION: &str = "1.0.0";

/// The items of a package. Fields stand in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Three numbers, at most 1.0.0.
    #[serde(rename = "fileFormatVersion")]
    pub version: String,
    /// Items by id.
    #[serde(rename = "itemInfoEntries")]
    pub items: BTreeMap<String, Item>,
    /// Id of the model that is loaded.
    #[serde(rename = "rootModelIdentifier")]
    pub root: String,
}

/// One file or directory of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Who defines the item, as a reversed domain.
    pub author: String,
    /// Text for people.
    pub description: String,
    /// Name, unique for its author.
    pub name: String,
    /// Path under `Data/`.
    pub path: String,
}

impl Manifest {
    /// A manifest of the present version.
    pub fn new(root: String, items: BTreeMap<String, Item>) -> Self {
        Self { version: VERSION.to_owned(), items, root }
    }

    /// Parses and checks everything but the existence of the files.
    ///
    /// # Errors
    /// [`ManifestError`] names the first thing that is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(json)?;
        check_version(&manifest.version)?;
        let mut names = BTreeSet::new();
        for Item { author, name, .. } in manifest.items.values() {
            if !names.insert((author, name)) {
                let (author, name) = (author.clone(), name.clone());
                return Err(ManifestError::Duplicate { author, name });
            }
        }
        match manifest.items.contains_key(&manifest.root) {
            true => Ok(manifest),
            false => Err(ManifestError::NoRoot { id: manifest.root }),
        }
    }

    /// JSON with sorted keys, four spaces a level, and a line end.
    ///
    /// # Errors
    /// Only those of the JSON encoder, which has no reason to fail here.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::new();
        let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        self.serialize(&mut serde_json::Serializer::with_formatter(&mut json, format))?;
        json.push(b'\n');
        Ok(json)
    }
}

fn check_version(version: &str) -> Result<(), ManifestError> {
    let syntax = || ManifestError::VersionSyntax { version: version.to_owned() };
    let is_number = |token: &&str| !token.is_empty() && token.bytes().all(|b| b.is_ascii_digit());
    let tokens: Vec<&str> = version.split('.').collect();
    let [major, minor, patch] = tokens.as_slice() else { return Err(syntax()) };
    if !tokens.iter().all(is_number) {
        return Err(syntax());
    }
    // A number too long to parse is newer than anything.
    let [major, minor, patch] =
        [major, minor, patch].map(|token| token.parse::<u64>().unwrap_or(u64::MAX));
    match (major, minor, patch) <= (1, 0, 0) {
        true => Ok(()),
        false => Err(ManifestError::VersionTooNew { version: version.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(name: &str) -> Item {
        Item {
            author: "com.apple.CoreML".into(),
            description: "text".into(),
            name: name.into(),
            path: format!("com.apple.CoreML/{name}"),
        }
    }

    fn manifest() -> Manifest {
        let items = [("b".to_owned(), item("weights")), ("a".to_owned(), item("model.mlmodel"))];
        Manifest::new("a".into(), items.into())
    }

    #[test]
    fn is_written_with_sorted_keys() {
        insta::assert_snapshot!(String::from_utf8(manifest().to_json().unwrap()).unwrap(), @r#"
        {
            "fileFormatVersion": "1.0.0",
            "itemInfoEntries": {
                "a": {
                    "author": "com.apple.CoreML",
                    "description": "text",
                    "name": "model.mlmodel",
                    "path": "com.apple.CoreML/model.mlmodel"
                },
                "b": {
                    "author": "com.apple.CoreML",
                    "description": "text",
                    "name": "weights",
                    "path": "com.apple.CoreML/weights"
                }
            },
            "rootModelIdentifier": "a"
        }
        "#);
    }

    #[test]
    fn reads_what_it_writes_and_ignores_other_keys() {
        assert_eq!(Manifest::parse(&manifest().to_json().unwrap()).unwrap(), manifest());
        let json = br#"{"fileFormatVersion": "0.9.12", "later": 1, "rootModelIdentifier": "a",
            "itemInfoEntries": {"a": {"author": "x", "name": "y", "path": "x/y", "description": "", "size": 3}}}"#;
        assert_eq!(Manifest::parse(json).unwrap().items["a"].path, "x/y");
    }

    #[test]
    fn damaged_manifests_are_named() {
        let with_version = |version: &str| {
            let manifest = Manifest { version: version.into(), ..manifest() };
            Manifest::parse(&manifest.to_json().unwrap()).unwrap_err()
        };
        for version in ["1.0", "1.0.0.0", "1.-1.0", "a.b.c", "", "1..0", "+1.0.0"] {
            assert!(
                matches!(with_version(version), ManifestError::VersionSyntax { .. }),
                "{version}"
            );
        }
        for version in ["1.0.1", "1.1.0", "2.0.0", "99999999999999999999999.0.0"] {
            assert!(
                matches!(with_version(version), ManifestError::VersionTooNew { .. }),
                "{version}"
            );
        }
        let no_root = Manifest { root: "c".into(), ..manifest() }.to_json().unwrap();
        assert!(matches!(Manifest::parse(&no_root), Err(ManifestError::NoRoot { .. })));
        let mut twice = manifest();
        twice.items.insert("c".into(), item("weights"));
        let twice = twice.to_json().unwrap();
        assert!(matches!(Manifest::parse(&twice), Err(ManifestError::Duplicate { .. })));
        let no_path = br#"{"fileFormatVersion": "1.0.0", "rootModelIdentifier": "a",
            "itemInfoEntries": {"a": {"author": "x", "name": "y", "description": ""}}}"#;
        let error = Manifest::parse(no_path).unwrap_err();
        assert!(error.to_string().contains("missing field `path`"), "{error}");
        assert!(matches!(Manifest::parse(b"{"), Err(ManifestError::Json(_))));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Manifest::parse(&bytes).is_err());
        }
    }
}
