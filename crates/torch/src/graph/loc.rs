//! Where a node comes from, out of its metadata.

use std::collections::BTreeMap;

use mlc_diag::Loc;

/// The location of the node of `target`.
pub(super) fn of(metadata: &BTreeMap<String, String>, target: &str) -> Loc {
    let source = metadata.get("stack_trace").and_then(|trace| user_frame(trace));
    Loc {
        module: metadata.get("nn_module_stack").and_then(|s| module(s)).map(Into::into),
        source: source.map(|(file, line)| (shorten(file).into(), line)),
        origin: Some(target.into()),
        passes: Vec::new(),
    }
}

/// The innermost module of a stack of `key,path,type` entries joined by `;`.
fn module(stack: &str) -> Option<String> {
    let path = |entry: &str| {
        let (_, rest) = entry.split_once(',')?;
        let (path, _type) = rest.rsplit_once(',')?;
        Some(module_path(path)).filter(|p| !p.is_empty() && !p.contains("_empty_nn_module_stack"))
    };
    stack.rsplit(';').find_map(path)
}

/// `layer1.0` from `layer1.0`, `L['self'].layer1[0]` or `getattr(L['self'].layer1, '0')`; calls after
/// the first are marked `@1`, which is dropped.
fn module_path(path: &str) -> String {
    let mut out = String::new();
    let bare = path.replace("getattr(", "").replace([')', ' '], "");
    for part in bare.split(['.', ',', '[', ']', '\'', '"']) {
        let part = part.split('@').next().unwrap_or(part);
        if part.is_empty() || (out.is_empty() && part == "L") {
            continue;
        }
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(part);
    }
    if bare.starts_with("L[") {
        out.split_once('.').map(|(_root, rest)| rest.to_owned()).unwrap_or_default()
    } else {
        out
    }
}

/// The innermost frame that is not torch's own; the innermost one if all are.
fn user_frame(trace: &str) -> Option<(&str, u32)> {
    let frames = || trace.lines().rev().filter_map(frame);
    frames().find(|(file, _)| !is_internal(file)).or_else(|| frames().next())
}

/// File and line of `File "…", line N, in …`.
fn frame(line: &str) -> Option<(&str, u32)> {
    let rest = line.trim_start().strip_prefix("File \"")?;
    let (file, rest) = rest.rsplit_once("\", line ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((file, rest[..digits].parse().ok()?))
}

/// Whether a frame is generated code or lies in the package `torch`.
pub(crate) fn is_internal(file: &str) -> bool {
    const PARTS: &[&str] = &[
        "ao",
        "autograd",
        "export",
        "functional.py",
        "func",
        "fx",
        "jit",
        "nn",
        "overrides.py",
        "sparse",
        "utils",
        "_tensor.py",
    ];
    if file.starts_with('<') {
        return true;
    }
    let file = file.replace('\\', "/");
    let below = match installed(&file) {
        Some(package) => return package.starts_with("torch/"),
        None => file.strip_prefix("torch/").or_else(|| Some(file.rsplit_once("/torch/")?.1)),
    };
    below.is_some_and(|rest| {
        let first = rest.split('/').next().unwrap_or(rest);
        first.starts_with('_') || PARTS.contains(&first)
    })
}

/// The path below `site-packages`, which names the package.
fn installed(file: &str) -> Option<&str> {
    ["/site-packages/", "/dist-packages/"].iter().find_map(|dir| Some(file.rsplit_once(dir)?.1))
}

/// Installed files by package, all others as they stand.
pub(crate) fn shorten(file: &str) -> &str {
    installed(file).unwrap_or(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_module_counts() {
        let stack = "L__self__,,pkg.Net;L__self__layer1,layer1,torch.nn.Sequential;L__self__layer1_0,layer1.0,pkg.Block";
        assert_eq!(module(stack).as_deref(), Some("layer1.0"));
        assert_eq!(module("L__self__,,pkg.Net"), None);
        assert_eq!(
            module("fn,L['fn'],pkg.Net;fn_0,getattr(L['fn'], '0'),x.LSTM").as_deref(),
            Some("0")
        );
        assert_eq!(module_path("L['self'].layer1[0].conv"), "layer1.0.conv");
        assert_eq!(module_path("relu@1"), "relu");
        let none = "_empty_nn_module_stack_from_metadata_hook,_empty_nn_module_stack_from_metadata_hook,_empty_nn_module_stack_from_metadata_hook";
        assert_eq!(module(none), None);
    }

    #[test]
    fn the_innermost_frame_outside_of_torch_counts() {
        let trace = concat!(
            "File \"/srv/model.py\", line 12, in forward\n    return self.m(x)\n",
            "  File \"/opt/lib/python3.11/site-packages/torchvision/models/resnet.py\", line 90, in forward\n    out = self.conv1(x)\n",
            "  File \"/opt/lib/python3.11/site-packages/torch/nn/modules/conv.py\", line 554, in forward\n    return F.conv2d(",
        );
        assert_eq!(
            user_frame(trace).map(|(f, l)| (shorten(f), l)),
            Some(("torchvision/models/resnet.py", 90))
        );
        assert!(is_internal("<eval_with_key>.3"));
        assert!(is_internal("/src/pytorch/torch/nn/functional.py"));
        assert!(!is_internal("/src/frontend/torch/test/test_ops.py"));
        assert_eq!(user_frame("nothing"), None);
    }
}
