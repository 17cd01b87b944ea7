//! Damaged bytes give a program or a diagnostic, never a panic.

use proptest::prelude::*;

use crate::archives::{linear_model, read, zip};

fn originals() -> [Vec<u8>; 3] {
    let model = linear_model();
    let deflated = zip(&model.v2_entries("d/"), zip::CompressionMethod::Deflated);
    [model.v1(), model.v2(), deflated]
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    for bytes in originals() {
        for len in (0..bytes.len()).step_by(7).chain(bytes.len() - 30..bytes.len()) {
            let found = read(&bytes[..len]).expect_err("cut off");
            assert!(found.has_errors(), "length {len}");
        }
    }
}

fn check(bytes: &[u8]) {
    if let Err(found) = read(bytes) {
        assert!(found.has_errors());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn flipped_bytes_are_survived(
        which in 0usize..3,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..5),
    ) {
        let mut bytes = originals()[which].clone();
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        check(&bytes);
    }

    #[test]
    fn flipped_pickles_and_directories_are_survived(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        tail in any::<bool>(),
    ) {
        let mut bytes = linear_model().v1();
        let start = if tail {
            bytes.len() - 400
        } else {
            bytes.windows(2).position(|w| w == b"\x80\x02").unwrap()
        };
        let at = start + at.index(400.min(bytes.len() - start));
        bytes[at] = value;
        check(&bytes);
    }

    #[test]
    fn programs_with_a_changed_token_are_survived(
        at in any::<prop::sample::Index>(),
        with in prop::sample::select(&["", "0", "-1", "9e99", "null", "[]", "{}", "\"\"", "\"x\"", "true"][..]),
    ) {
        let text = linear_model().program.to_string();
        let tokens: Vec<_> = text.match_indices([':', ',', '[', '{']).map(|(i, _)| i + 1).collect();
        let start = tokens[at.index(tokens.len())];
        let rest = text[start..].find([',', ']', '}', ':']).unwrap_or(0);
        let changed = format!("{}{with}{}", &text[..start], &text[start + rest..]);
        let mut entries = linear_model().v2_entries("");
        for (name, bytes) in &mut entries {
            if name == "models/model.json" {
                *bytes = changed.clone().into_bytes();
            }
        }
        check(&zip(&entries, zip::CompressionMethod::Stored));
    }
}
