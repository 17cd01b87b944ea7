//! Ids of package items.

/// A UUID of version 8 (custom, RFC 9562) in lower case, from the role and the content of an item:
/// the same package gets the same ids on every run.
pub(super) fn item_id(role: &str, content: &[u8; 32]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(role.as_bytes());
    hasher.update(&[0]);
    hasher.update(content);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_form_of_a_version_8_uuid() {
        let id = item_id("model", &[7; 32]);
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert!(id.chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c)));
        assert_eq!(&id[14..15], "8");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"));
    }

    #[test]
    fn follows_role_and_content() {
        assert_eq!(item_id("model", &[7; 32]), item_id("model", &[7; 32]));
        assert_ne!(item_id("model", &[7; 32]), item_id("model", &[8; 32]));
        assert_ne!(item_id("model", &[7; 32]), item_id("weights", &[7; 32]));
    }
}
