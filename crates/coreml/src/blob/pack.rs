//! Elements below 8 bits, packed from the lowest bit of each byte on.

use thiserror::Error;

/// Bits of one packed element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BitWidth {
    /// 1 bit.
    One,
    /// 2 bits.
    Two,
    /// 3 bits; elements cross bytes.
    Three,
    /// 4 bits.
    Four,
    /// 6 bits; elements cross bytes.
    Six,
}

/// Elements or bytes that cannot be packed or unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PackError {
    /// An element has more bits than the width.
    #[error("element {index} is {value}, which has more than {bits} bits")]
    TooWide {
        /// Position of the element.
        index: usize,
        /// The element.
        value: u8,
        /// Bits allowed.
        bits: u32,
    },
    /// There are fewer bytes than the elements take.
    #[error("{count} elements of {bits} bits do not fit in {byte_len} bytes")]
    TooShort {
        /// Elements asked for.
        count: usize,
        /// Bits of each.
        bits: u32,
        /// Bytes there are.
        byte_len: usize,
    },
}

impl BitWidth {
    /// Every width.
    pub const ALL: [Self; 5] = [Self::One, Self::Two, Self::Three, Self::Four, Self::Six];

    /// The width of that many bits.
    pub fn from_bits(bits: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|width| width.bits() == bits)
    }

    /// Number of bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Four => 4,
            Self::Six => 6,
        }
    }

    fn mask(self) -> u8 {
        0xff >> (8 - self.bits())
    }
}

/// Packs one element a byte into `ceil(len * bits / 8)` bytes; unused high bits are 0.
///
/// Signed elements are given as their lowest `bits` bits.
///
/// # Errors
/// [`PackError::TooWide`] if an element has a bit above the width.
pub fn pack(elements: &[u8], width: BitWidth) -> Result<Vec<u8>, PackError> {
    let bits = width.bits();
    let mut packed = Vec::with_capacity(elements.len());
    let mut window = 0u32;
    let mut filled = 0;
    for (index, &value) in elements.iter().enumerate() {
        if value & !width.mask() != 0 {
            return Err(PackError::TooWide { index, value, bits });
        }
        window |= u32::from(value) << filled;
        filled += bits;
        if filled >= 8 {
            packed.push(low_byte(window));
            window >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        packed.push(low_byte(window));
    }
    Ok(packed)
}

/// Unpacks the first `count` elements, one a byte, high bits 0.
///
/// # Errors
/// [`PackError::TooShort`] if the bytes hold fewer elements.
pub fn unpack(packed: &[u8], width: BitWidth, count: usize) -> Result<Vec<u8>, PackError> {
    let bits = width.bits();
    let byte_len = packed.len();
    let needed = u128::from(bits) * count as u128;
    if needed > byte_len as u128 * 8 {
        return Err(PackError::TooShort { count, bits, byte_len });
    }
    let mut bytes = packed.iter();
    let mut window = 0u32;
    let mut filled = 0;
    let elements = (0..count).map(|_| {
        if filled < bits {
            window |= u32::from(bytes.next().copied().unwrap_or(0)) << filled;
            filled += 8;
        }
        let value = low_byte(window) & width.mask();
        window >>= bits;
        filled -= bits;
        value
    });
    Ok(elements.collect())
}

fn low_byte(window: u32) -> u8 {
    window.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn packs_from_the_lowest_bit_on() {
        let rows: [(BitWidth, &[u8], &[u8]); 5] = [
            (BitWidth::Four, &[1, 2, 3], &[0x21, 0x03]),
            (BitWidth::Four, &[0xF, 7], &[0x7F]),
            (BitWidth::Three, &[1, 2, 3], &[0xD1, 0x00]),
            (BitWidth::One, &[1, 0, 1], &[0x05]),
            (BitWidth::Six, &[63, 0, 1, 2], &[0x3F, 0x10, 0x08]),
        ];
        for (width, elements, packed) in rows {
            assert_eq!(pack(elements, width).unwrap(), packed);
            assert_eq!(unpack(packed, width, elements.len()).unwrap(), elements);
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let error = pack(&[1, 8], BitWidth::Three).unwrap_err();
        assert_eq!(error, PackError::TooWide { index: 1, value: 8, bits: 3 });
        let error = unpack(&[0; 2], BitWidth::Six, 3).unwrap_err();
        assert_eq!(error, PackError::TooShort { count: 3, bits: 6, byte_len: 2 });
        assert!(unpack(&[0; 2], BitWidth::Six, usize::MAX).is_err());
    }

    proptest! {
        #[test]
        fn unpacking_gives_what_was_packed(
            width in prop::sample::select(BitWidth::ALL.as_slice()),
            bytes in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let elements: Vec<u8> = bytes.iter().map(|byte| byte & width.mask()).collect();
            let packed = pack(&elements, width).unwrap();
            prop_assert_eq!(packed.len(), (elements.len() * width.bits() as usize).div_ceil(8));
            for (index, &element) in elements.iter().enumerate() {
                for bit in 0..width.bits() as usize {
                    let at = index * width.bits() as usize + bit;
                    prop_assert_eq!(packed[at / 8] >> (at % 8) & 1, element >> bit & 1);
                }
            }
            prop_assert_eq!(unpack(&packed, width, elements.len()).unwrap(), elements);
        }
    }
}
