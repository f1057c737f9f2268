//! Round trips, hostile files, and the messages of both.

use half::f16;

use super::*;
use crate::files::zip::crc32;
use crate::rng::{Distribution, fill};

/// A safetensors file of this header text and data.
fn safetensors_bytes(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

fn refused(bytes: Vec<u8>) -> String {
    WeightFile::from_bytes("w.st", bytes).unwrap_err().to_string()
}

/// An npz archive of named files, deflated where asked.
fn zip_bytes(files: &[(&str, &[u8], bool)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, content, deflate) in files {
        let mut packed = content.to_vec();
        if *deflate {
            packed = miniz_oxide::deflate::compress_to_vec(content, 1);
        }
        let mut common = vec![20, 0, 0, 0, if *deflate { 8 } else { 0 }, 0, 0, 0, 0, 0];
        for number in [crc32(content), packed.len() as u32, content.len() as u32] {
            common.extend(number.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        let local = bytes.len() as u32;
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(name.as_bytes());
        bytes.extend(packed);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&common);
        directory.extend([0; 10]);
        directory.extend(local.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = bytes.len() as u32;
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    for _ in 0..2 {
        bytes.extend((files.len() as u16).to_le_bytes());
    }
    bytes.extend((directory.len() as u32).to_le_bytes());
    bytes.extend(start.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn npy_bytes(dict: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((dict.len() as u16).to_le_bytes());
    bytes.extend(dict.as_bytes());
    bytes.extend(data);
    bytes
}

fn f32_le(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn written_files_read_back() {
    let folder = std::env::temp_dir().join(format!("rectify-weights-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("net.safetensors");
    let distribution = Distribution::Normal { mean: 0.0, std: 1.0 };
    let elements = 3 * 100_003;
    let mut generate = |start: u64, out: &mut [f32]| {
        fill(&distribution, 1, "big", start, out);
        Ok(())
    };
    let halves: Vec<u8> = [0.5f32, -2.0].iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    let mut entries = [
        SaveEntry {
            name: "big",
            dtype: DType::F32,
            shape: &[3, 100_003],
            source: Source::F32(&mut generate),
        },
        SaveEntry { name: "a \"half\"", dtype: DType::F16, shape: &[2], source: Source::Bytes(&halves) },
        SaveEntry { name: "empty", dtype: DType::I64, shape: &[0, 5], source: Source::Bytes(&[]) },
    ];
    save_safetensors(&path, &mut entries, &[("made by", "a test")]).unwrap();
    let file = WeightFile::open(&path).unwrap();
    assert_eq!(file.names().collect::<Vec<_>>(), ["a \"half\"", "big", "empty"]);
    let big = file.require("big").unwrap();
    assert_eq!((big.dtype(), big.shape(), big.elements()), (DType::F32, &[3, 100_003][..], elements));
    let mut want = vec![0.0; elements];
    fill(&distribution, 1, "big", 0, &mut want);
    assert_eq!(big.to_tensor().unwrap().as_slice::<f32>().unwrap(), want);
    let mut part = [0.0; 100];
    big.read_f32(262_100, &mut part).unwrap();
    assert_eq!(part, want[262_100..262_200]);
    let mut halves = [0.0; 2];
    file.require("a \"half\"").unwrap().read_f32(0, &mut halves).unwrap();
    assert_eq!(halves, [0.5, -2.0]);
    assert_eq!(file.require("empty").unwrap().to_tensor().unwrap().elements(), 0);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no temporary file is left");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = std::env::temp_dir().join(format!("rectify-save-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("w.safetensors");
    std::fs::write(&path, b"old").unwrap();
    let mut fails = |_: u64, _: &mut [f32]| Err(std::io::Error::other("no values"));
    let mut entries =
        [SaveEntry { name: "w", dtype: DType::F32, shape: &[4], source: Source::F32(&mut fails) }];
    assert_eq!(save_safetensors(&path, &mut entries, &[]).unwrap_err().to_string(), "no values");
    let mut short =
        [SaveEntry { name: "w", dtype: DType::F32, shape: &[4], source: Source::Bytes(&[0; 15]) }];
    let error = save_safetensors(&path, &mut short, &[]).unwrap_err().to_string();
    assert_eq!(error, "cannot write tensor `w`: its shape and its data do not agree");
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn missing_files_and_tensors_are_errors() {
    assert!(matches!(WeightFile::open("/no/such/file"), Err(LoadError::Io { .. })));
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let file = WeightFile::from_bytes("w.st", safetensors_bytes(header, &f32_le(&[1.0, 2.0]))).unwrap();
    assert_eq!(file.require("v").err().unwrap().to_string(), "w.st has no tensor `v`");
    let w = file.require("w").unwrap();
    for (start, count) in [(1, 2), (2, 1), (u64::MAX, 1), (u64::MAX / 4, 1)] {
        let error = w.read_f32(start, &mut vec![0.0; count]).unwrap_err();
        assert!(matches!(error, LoadError::Range { elements: 2, .. }), "{error}");
    }
    w.read_f32(2, &mut []).unwrap();
}

#[test]
fn hostile_safetensors_are_refused_with_the_place() {
    let entry = |name: &str, dtype: &str, shape: &str, begin: u64, end: u64| {
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let file = |entries: &[String], data: usize| {
        safetensors_bytes(&format!("{{{}}}", entries.join(",")), &vec![0; data])
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "w.st: not a weight file: 0 bytes are less than any header (at byte 0)"),
        (vec![1, 2, 3], "w.st: not a weight file: 3 bytes are less than any header (at byte 0)"),
        (
            (1u64 << 63).to_le_bytes().into(),
            "the header should have 9223372036854775808 bytes, 0 follow (at byte 0)",
        ),
        (u64::MAX.to_le_bytes().into(), "the header should have 18446744073709551615 bytes"),
        (safetensors_bytes("{", &[]), "w.st: the header is not valid JSON: EOF"),
        (safetensors_bytes("{\"a\":}", &[]), "(at byte 13)"),
        (safetensors_bytes("[]", &[]), "the header is not"),
        (safetensors_bytes("{\"\u{e9}\":1}", &[]), "tensor `\u{e9}`: the entry needs"),
        (safetensors_bytes(&"[".repeat(100_000), &[]), "the header is not a JSON object"),
        (safetensors_bytes(&"{\"a\":".repeat(100_000), &[]), "the header is not valid JSON: recursion limit"),
        (
            file(&[entry("a", "F32", "[2]", 0, 8)], 7),
            "w.st: tensor `a`: the file is truncated: data ends at 7, the tensor at 8 (at byte 62)",
        ),
        (
            file(&[entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 4, 12)], 12),
            "tensor `b`: overlaps the tensor before it: begins at 4, expected 8",
        ),
        (
            file(&[entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 12, 20)], 20),
            "tensor `b`: leaves a gap before it: begins at 12, expected 8",
        ),
        (file(&[entry("a", "F32", "[2]", 0, 8)], 9), "1 bytes follow the last tensor (at byte 70)"),
        (
            file(&[entry("a", "F32", "[2]", 0, 4)], 4),
            "tensor `a`: shape [2] of F32 takes 8 bytes, offsets 0 to 4 hold 4",
        ),
        (file(&[entry("a", "F32", "[2]", 8, 0)], 8), "tensor `a`: data offsets 8 to 0 run backwards"),
        (
            file(&[entry("a", "F32", "[4294967296,4294967296,4294967296]", 0, 8)], 8),
            "tensor `a`: shape [4294967296, 4294967296, 4294967296] overflows",
        ),
        (file(&[entry("a", "F99", "[2]", 0, 8)], 8), "tensor `a`: unknown type `F99`"),
        (file(&[entry("a", "F8_E4M3", "[8]", 0, 8)], 8), "tensor `a`: type F8_E4M3 is not supported"),
        (
            file(&[entry("a", "F32", &format!("[{}2]", "1,".repeat(40)), 0, 8)], 8),
            "tensor `a`: 41 dimensions, at most 32 are accepted",
        ),
        (file(&[entry("a", "F32", "[-2]", 0, 8)], 8), "tensor `a`: the entry needs `dtype`, `shape`"),
        (file(&[entry("a", "F32", "[1e30]", 0, 8)], 8), "tensor `a`: the entry needs `dtype`, `shape`"),
        (file(&[entry("a", "F32", "[2]", 0, u64::MAX)], 8), "tensor `a`"),
        (
            safetensors_bytes(&" ".repeat(5 << 20), &[]),
            "the header has 5242880 bytes, at most 4194304 are accepted",
        ),
    ];
    for (bytes, want) in cases {
        let got = refused(bytes);
        assert!(got.contains(want), "want: {want}\n got: {got}");
    }
}

#[test]
fn every_truncation_of_every_format_is_refused() {
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    let npy = npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", &f32_le(&[1.0, 2.0]));
    for whole in [
        safetensors_bytes(header, &[0; 8]),
        zip_bytes(&[("w.npy", &npy, true), ("v.npy", &npy, false)]),
        npy.clone(),
    ] {
        assert!(WeightFile::from_bytes("w", whole.clone()).is_ok());
        for length in 0..whole.len() {
            assert!(
                WeightFile::from_bytes("w", whole[..length].to_vec()).is_err(),
                "{length} of {} bytes",
                whole.len()
            );
        }
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let npy = npy_bytes("{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3), }\n", &f32_le(&[1.0; 6]));
    let header = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
    for whole in
        [zip_bytes(&[("w.npy", &npy, true), ("v.npy", &npy, false)]), npy, safetensors_bytes(header, &[0; 8])]
    {
        for at in 0..whole.len() {
            for change in [1u8, 0x80, 0xFF] {
                let mut bytes = whole.clone();
                bytes[at] ^= change;
                if let Ok(file) = WeightFile::from_bytes("w", bytes) {
                    for tensor in file.tensors() {
                        // Damaged data may well be readable; it must only not be read out of bounds.
                        let _ = tensor.to_tensor();
                    }
                }
            }
        }
    }
}

#[test]
fn npz_arrays_in_every_form_read_the_same() {
    let want: Vec<f32> = (0..6).map(|i| i as f32 - 2.5).collect();
    let plain = npy_bytes("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", &f32_le(&want));
    let big: Vec<u8> = want.iter().flat_map(|v| v.to_be_bytes()).collect();
    let big = npy_bytes("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3)}", &big);
    let columns: Vec<f32> = [0, 3, 1, 4, 2, 5].map(|i: usize| want[i]).to_vec();
    let fortran = npy_bytes("{'descr': '<f4', 'fortran_order': True, 'shape': (2L, 3L)}", &f32_le(&columns));
    let doubles: Vec<u8> = want.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
    let doubles = npy_bytes("{\"shape\": (2,3,), \"fortran_order\": False, \"descr\": \"<f8\"}", &doubles);
    let forms: [&[u8]; 4] = [&plain, &big, &fortran, &doubles];
    for deflate in [false, true] {
        for form in forms {
            let archive = zip_bytes(&[("layer.weight.npy", form, deflate), ("other.npy", &plain, !deflate)]);
            let file = WeightFile::from_bytes("w.npz", archive).unwrap();
            let tensor = file.require("layer.weight").unwrap();
            assert_eq!(tensor.shape(), [2, 3]);
            let mut got = [0.0; 6];
            tensor.read_f32(0, &mut got).unwrap();
            assert_eq!(got[..], want);
            let mut part = [0.0; 2];
            tensor.read_f32(3, &mut part).unwrap();
            assert_eq!(part, want[3..5]);
        }
    }
}

#[test]
fn hostile_npz_and_npy_are_refused() {
    let dict = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}");
    let good = npy_bytes(&dict("(1,)"), &[0; 4]);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (
            npy_bytes(&dict("(1099511627776,)"), &[0; 4]),
            "the array has 4 bytes, shape [1099511627776] of f32 takes 4398046511104",
        ),
        (npy_bytes(&dict("(4294967296, 4294967296, 4294967296)"), &[]), "is larger than memory"),
        (npy_bytes(&dict("(99999999999999999999,)"), &[]), "expected a size that fits 64 bits"),
        (npy_bytes(&dict(&format!("({}1)", "1,".repeat(100))), &[0; 4]), "more than 32 axes"),
        (npy_bytes(&dict("(-1,)"), &[]), "expected a size"),
        (
            npy_bytes("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", &[]),
            "element type '|O' is not supported",
        ),
        (npy_bytes("{'descr': [('a', '<f4')], 'shape': ()}", &[]), "the .npy header has no"),
        (npy_bytes("{'descr': 'é', 'fortran_order': False, 'shape': (1,)}", &[]), "is not supported"),
        (npy_bytes("{'descr': '<f4', 'shape': (1,)}", &[]), "lacks 'descr', 'fortran_order' or 'shape'"),
        (npy_bytes(&"(".repeat(15_000), &[]), "a .npy header of 15000 bytes is not believed"),
        (zip_bytes(&[("readme.txt", b"hello", false)]), "tensor `readme.txt`: not an npy array"),
        (zip_bytes(&[("w.npy", &good, false), ("w.npy", &good, false)]), "two arrays of this name"),
        (zip_bytes(&[("w.npy", b"no magic", true)]), "tensor `w`: not a .npy file"),
    ];
    for (bytes, want) in cases {
        let got = refused(bytes);
        assert!(got.contains(want), "want: {want}\n got: {got}");
    }
    // A member that claims to inflate to four gigabytes of what a few bytes could never hold.
    let mut bomb = zip_bytes(&[("w.npy", &good, true)]);
    let directory = bomb.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    bomb[directory + 24..directory + 28].copy_from_slice(&0xFFFF_FFF0u32.to_le_bytes());
    assert!(refused(bomb).contains("tensor `w`: the array has"));
    // A wrong checksum shows when the array is used.
    let mut damaged = zip_bytes(&[("w.npy", &good, true)]);
    let directory = damaged.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
    damaged[directory + 16] ^= 1;
    let file = WeightFile::from_bytes("w.npz", damaged).unwrap();
    let error = file.require("w").unwrap().read_f32(0, &mut [0.0]).unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn everything_that_does_not_fit_is_listed_at_once() {
    let header = concat!(
        r#"{"module.conv1.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"#,
        r#""conv2.weigth":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},"#,
        r#""fc.bias":{"dtype":"F32","shape":[1,2],"data_offsets":[12,20]},"#,
        r#""fc.half":{"dtype":"BF16","shape":[2],"data_offsets":[20,24]},"#,
        r#""fc.count":{"dtype":"I32","shape":[1],"data_offsets":[24,28]},"#,
        r#""leftover":{"dtype":"F32","shape":[],"data_offsets":[28,32]}}"#,
    );
    let file = WeightFile::from_bytes("w.st", safetensors_bytes(header, &[0; 32])).unwrap();
    let expected = |name, shape| Expected { name, shape, dtype: DType::F32 };
    let model = [
        expected("conv1.weight", &[2]),
        expected("conv2.weight", &[1]),
        expected("fc.bias", &[2]),
        expected("fc.half", &[2]),
        expected("fc.count", &[1]),
        expected("prelu3.slope", &[64]),
    ];
    let error = check_names(&model, &file).unwrap_err();
    let want = "w.st: 8 tensors do not fit the model:
  missing `conv1.weight` [2]; did you mean `module.conv1.weight`?
  missing `conv2.weight` [1]; did you mean `conv2.weigth`?
  missing `prelu3.slope` [64]
  `fc.bias` has shape [1, 2], the model needs [2]
  `fc.count` holds i32, the model needs f32
  unknown `conv2.weigth` [1]; did you mean `conv2.weight`?
  unknown `leftover` []
  unknown `module.conv1.weight` [2]; did you mean `conv1.weight`?";
    assert_eq!(error.to_string(), want);
    assert!(check_names(&[], &WeightFile::from_bytes("e", safetensors_bytes("{}", &[])).unwrap()).is_ok());
}
