//! Weight files: the bytes that are written, and reading them back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Cursor;

use mlc_coreml::blob::{BitWidth, BlobReader, BlobSpec, BlobWriteError, BlobWriter, pack};
use mlc_target::DataType;
use proptest::prelude::*;

type Writer = BlobWriter<Cursor<Vec<u8>>>;

fn writer() -> Writer {
    BlobWriter::new(Cursor::new(Vec::new())).unwrap()
}

fn append(writer: &mut Writer, dtype: DataType, count: u64, payload: &[u8]) -> u64 {
    let spec = BlobSpec::for_elements(dtype, count).unwrap();
    writer.append(spec, |out| out.write_all(payload)).unwrap()
}

fn finish(writer: Writer) -> Vec<u8> {
    writer.finish().unwrap().inner.into_inner()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[test]
fn layout_of_two_blobs() {
    let mut writer = writer();
    let first: Vec<u8> = (0..66).collect();
    assert_eq!(append(&mut writer, DataType::Fp16, 33, &first), 64);
    assert_eq!(append(&mut writer, DataType::Uint4, 3, &[0x21, 0x03]), 256);
    let bytes = finish(writer);

    assert_eq!(bytes.len(), 256 + 64 + 2, "nothing follows the last payload");
    assert_eq!((u32_at(&bytes, 0), u32_at(&bytes, 4)), (2, 2), "count and version");
    assert!(bytes[8..64].iter().all(|&byte| byte == 0));

    assert_eq!(bytes[64..68], [0xEF, 0xBE, 0xAD, 0xDE]);
    assert_eq!((u32_at(&bytes, 68), u64_at(&bytes, 72)), (1, 66));
    assert_eq!((u64_at(&bytes, 80), u64_at(&bytes, 88)), (128, 0));
    assert!(bytes[96..128].iter().all(|&byte| byte == 0));
    assert_eq!(bytes[128..194], first);
    assert!(bytes[194..256].iter().all(|&byte| byte == 0), "the gap is zero");

    assert_eq!((u32_at(&bytes, 260), u64_at(&bytes, 264)), (11, 2));
    assert_eq!((u64_at(&bytes, 272), u64_at(&bytes, 280)), (320, 4));
    assert_eq!(bytes[320..], [0x21, 0x03]);
}

#[test]
fn codes_of_all_types() {
    let rows = [
        (DataType::Fp16, 1),
        (DataType::Fp32, 2),
        (DataType::Uint8, 3),
        (DataType::Int8, 4),
        (DataType::Bf16, 5),
        (DataType::Int16, 6),
        (DataType::Uint16, 7),
        (DataType::Int4, 8),
        (DataType::Uint1, 9),
        (DataType::Uint2, 10),
        (DataType::Uint4, 11),
        (DataType::Uint3, 12),
        (DataType::Uint6, 13),
        (DataType::Int32, 14),
        (DataType::Uint32, 15),
        (DataType::Fp8E4M3Fn, 16),
        (DataType::Fp8E5M2, 17),
    ];
    for (dtype, code) in rows {
        let mut writer = writer();
        let spec = BlobSpec::for_elements(dtype, 8).unwrap();
        append(&mut writer, dtype, 8, &vec![0; spec.byte_len() as usize]);
        assert_eq!(u32_at(&finish(writer), 68), code, "{dtype}");
    }
}

#[test]
fn packed_examples() {
    type Row = (DataType, BitWidth, &'static [u8], &'static [u8], u64);
    let rows: [Row; 4] = [
        (DataType::Uint4, BitWidth::Four, &[1, 2, 3], &[0x21, 0x03], 4),
        (DataType::Int4, BitWidth::Four, &[0xF, 7], &[0x7F], 0),
        (DataType::Uint3, BitWidth::Three, &[1, 2, 3], &[0xD1, 0x00], 7),
        (DataType::Uint1, BitWidth::One, &[1, 0, 1], &[0x05], 5),
    ];
    for (dtype, width, elements, payload, padding) in rows {
        let mut writer = writer();
        let packed = pack(elements, width).unwrap();
        append(&mut writer, dtype, elements.len() as u64, &packed);
        let bytes = finish(writer);
        assert_eq!(&bytes[128..], payload, "{dtype}");
        assert_eq!((u64_at(&bytes, 72), u64_at(&bytes, 88)), (payload.len() as u64, padding));
    }
}

#[test]
fn equal_content_of_one_type_is_stored_once() {
    let mut writer = writer();
    let f16 = BlobSpec::for_elements(DataType::Fp16, 2).unwrap();
    let i16 = BlobSpec::for_elements(DataType::Int16, 2).unwrap();
    let payload = [1, 2, 3, 4];
    let first = writer.append(f16, |out| out.write_all(&payload)).unwrap();
    let again = writer.append_unique(f16, |out| out.write_all(&payload)).unwrap();
    assert_eq!((first, false), again);
    let (other, is_new) = writer.append_unique(i16, |out| out.write_all(&payload)).unwrap();
    assert!(is_new && other != first);
    let twice = writer.append(f16, |out| out.write_all(&payload)).unwrap();
    assert_ne!(first, twice);
    assert_eq!(writer.count(), 3);
}

#[test]
fn what_was_there_leaves_no_trace() {
    let spec = BlobSpec::for_elements(DataType::Int8, 300_000).unwrap();
    let large = |x: u8| vec![x; 300_000];
    let file = |again: bool| {
        let mut writer = writer();
        for x in [1, 2] {
            writer.append_unique(spec, |out| out.write_all(&large(x))).unwrap();
            if again {
                writer.append_unique(spec, |out| out.write_all(&large(1))).unwrap();
            }
        }
        let done = writer.finish().unwrap();
        let mut bytes = done.inner.into_inner();
        bytes.truncate(done.byte_len as usize);
        (bytes, done.digest, done.count)
    };
    assert_eq!(file(true), file(false));
}

#[test]
fn a_payload_of_another_size_spoils_the_file() {
    let spec = BlobSpec::for_elements(DataType::Int8, 4).unwrap();
    let mut short = writer();
    let error = short.append(spec, |out| out.write_all(&[1])).unwrap_err();
    assert!(matches!(error, BlobWriteError::TooShort { declared: 4, written: 1 }));
    assert!(matches!(
        short.append(spec, |out| out.write_all(&[0; 4])),
        Err(BlobWriteError::Incomplete)
    ));
    assert!(matches!(short.finish(), Err(BlobWriteError::Incomplete)));
    let mut long = writer();
    let error = long.append(spec, |out| out.write_all(&[0; 5])).unwrap_err();
    assert!(matches!(error, BlobWriteError::TooLong { declared: 4 }));
}

#[test]
fn an_overrun_that_the_source_swallows_is_still_an_error() {
    let spec = BlobSpec::for_elements(DataType::Int8, 4).unwrap();
    let error = writer()
        .append(spec, |out| {
            out.write_all(&[0; 4])?;
            let _ = out.write_all(&[0]);
            Ok(())
        })
        .unwrap_err();
    assert!(matches!(error, BlobWriteError::TooLong { .. }));
}

#[test]
fn the_digest_of_a_file_follows_its_content() {
    let digest = |payload: &[u8]| {
        let mut writer = writer();
        append(&mut writer, DataType::Int8, 4, payload);
        writer.finish().unwrap().digest
    };
    assert_eq!(digest(&[1, 2, 3, 4]), digest(&[1, 2, 3, 4]));
    assert_ne!(digest(&[1, 2, 3, 4]), digest(&[1, 2, 3, 5]));
}

fn blob() -> impl Strategy<Value = (BlobSpec, Vec<u8>)> {
    let stored: Vec<DataType> =
        DataType::ALL.iter().copied().filter(|dtype| dtype.blob_code().is_some()).collect();
    (prop::sample::select(stored), 0u64..70).prop_flat_map(|(dtype, count)| {
        let spec = BlobSpec::for_elements(dtype, count).unwrap();
        (Just(spec), prop::collection::vec(any::<u8>(), spec.byte_len() as usize))
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(blobs in prop::collection::vec(blob(), 0..12)) {
        let mut writer = writer();
        let mut offsets = Vec::new();
        for (spec, payload) in &blobs {
            offsets.push(writer.append(*spec, |out| out.write_all(payload)).unwrap());
        }
        let finished = writer.finish().unwrap();
        let (byte_len, bytes) = (finished.byte_len, finished.inner.into_inner());
        prop_assert_eq!(byte_len, bytes.len() as u64);
        let reader = BlobReader::new(&bytes).unwrap();
        prop_assert_eq!(reader.count() as usize, blobs.len());
        let read: Vec<_> = reader.blobs().collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(read.len(), blobs.len());
        for ((blob, offset), (spec, payload)) in read.iter().zip(&offsets).zip(&blobs) {
            prop_assert_eq!(blob.offset(), *offset);
            prop_assert_eq!(blob.spec(), *spec);
            prop_assert_eq!(blob.payload(), payload.as_slice());
            prop_assert_eq!(reader.blob_at(*offset).unwrap(), *blob);
        }
    }

    #[test]
    fn a_cut_file_gives_an_error_and_no_wrong_blob(cut in 0usize..1000) {
        let mut writer = writer();
        for value in 0..4u8 {
            append(&mut writer, DataType::Uint8, 100, &[value; 100]);
        }
        let bytes = finish(writer);
        let kept = &bytes[..cut.min(bytes.len())];
        if let Ok(reader) = BlobReader::new(kept) {
            for (value, blob) in (0..4u8).zip(reader.blobs()) {
                if let Ok(blob) = blob {
                    prop_assert!(blob.payload() == [value; 100]);
                }
            }
            prop_assert_eq!(reader.blobs().all(|blob| blob.is_ok()), kept.len() == bytes.len());
        }
    }
}
