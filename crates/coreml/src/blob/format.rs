//! Header and record as bytes.

pub(super) const ALIGNMENT: u64 = 64;
pub(super) const BLOCK_LEN: usize = 64;
pub(super) const SENTINEL: u32 = 0xDEAD_BEEF;
pub(super) const VERSION: u32 = 2;

/// The first 64 bytes of the file.
pub(super) fn header(count: u32) -> [u8; BLOCK_LEN] {
    let mut block = [0; BLOCK_LEN];
    block[0..4].copy_from_slice(&count.to_le_bytes());
    block[4..8].copy_from_slice(&VERSION.to_le_bytes());
    block
}

/// The fields of a record as they stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawRecord {
    pub(super) sentinel: u32,
    pub(super) code: u32,
    pub(super) byte_len: u64,
    pub(super) payload: u64,
    pub(super) padding_bits: u64,
}

impl RawRecord {
    pub(super) fn to_bytes(self) -> [u8; BLOCK_LEN] {
        let mut block = [0; BLOCK_LEN];
        block[0..4].copy_from_slice(&self.sentinel.to_le_bytes());
        block[4..8].copy_from_slice(&self.code.to_le_bytes());
        block[8..16].copy_from_slice(&self.byte_len.to_le_bytes());
        block[16..24].copy_from_slice(&self.payload.to_le_bytes());
        block[24..32].copy_from_slice(&self.padding_bits.to_le_bytes());
        block
    }

    pub(super) fn from_bytes(block: &[u8; BLOCK_LEN]) -> Self {
        Self {
            sentinel: u32_at(block, 0),
            code: u32_at(block, 4),
            byte_len: u64_at(block, 8),
            payload: u64_at(block, 16),
            padding_bits: u64_at(block, 24),
        }
    }
}

/// The `u32` at `offset`, at most 60.
pub(super) fn u32_at(block: &[u8; BLOCK_LEN], offset: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&block[offset..offset + 4]);
    u32::from_le_bytes(bytes)
}

fn u64_at(block: &[u8; BLOCK_LEN], offset: usize) -> u64 {
    u64::from(u32_at(block, offset)) | u64::from(u32_at(block, offset + 4)) << 32
}
