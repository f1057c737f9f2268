//! Files of each format, sound and not; generators.

use super::*;
use rectify_runtime::Tensor;

fn folder(name: &str) -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("rectify-data-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn want<'a>(name: &'a str, dtype: DType, shape: &'a [Option<usize>]) -> Want<'a> {
    Want { name, dtype, shape }
}

fn load(path: &Path, want: &Want<'_>) -> Result<Tensor, DataError> {
    read(
        path,
        want,
        #[cfg(feature = "image")]
        &PictureOptions::default(),
    )
}

#[test]
fn arrays_round_trip_by_name() {
    let folder = folder("arrays");
    let a = Tensor::new([2, 3], vec![1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let b = Tensor::new([2], vec![7i64, -8]).unwrap();
    write_npy(&folder.join("a.npy"), a.view()).unwrap();
    write_npz(&folder.join("both.npz"), [("a", a.view()), ("b", b.view())]).unwrap();
    let any = want("a", DType::F32, &[None, Some(3)]);
    assert_eq!(load(&folder.join("a.npy"), &any).unwrap(), a);
    assert_eq!(load(&folder.join("both.npz"), &any).unwrap(), a);
    assert_eq!(read_all(&folder.join("both.npz")).unwrap(), [("a".to_owned(), a), ("b".to_owned(), b)]);

    let error = load(&folder.join("both.npz"), &want("c", DType::F32, &[None])).unwrap_err();
    assert!(error.to_string().ends_with("both.npz: holds no tensor `c`"), "{error}");
    assert_eq!(error.help.as_deref(), Some("it has `a`, `b`"));
    let error = load(&folder.join("a.npy"), &want("a", DType::F32, &[None, Some(4)])).unwrap_err();
    assert_eq!(error.message, "has shape [2, 3], but input `a` is [_, 4]");
    let error = load(&folder.join("a.npy"), &want("a", DType::I64, &[None, None])).unwrap_err();
    assert_eq!(error.message, "holds f32, but input `a` is i64");
    assert!(load(&folder.join("a.dat"), &any).unwrap_err().message.contains("no format"));
    assert!(load(&folder.join("none.npy"), &any).unwrap_err().message.contains("no such file"));
    std::fs::write(folder.join("short.npy"), &std::fs::read(folder.join("a.npy")).unwrap()[..140]).unwrap();
    assert!(load(&folder.join("short.npy"), &any).unwrap_err().to_string().contains("(at byte"));
}

/// A TensorProto by hand: dims 2 and 1, data_type and then the given fields.
fn proto_bytes(dtype: u8, rest: &[u8]) -> Vec<u8> {
    [&[0x08, 2, 0x08, 1, 0x10, dtype][..], rest].concat()
}

#[test]
fn tensor_protos_in_every_spelling() {
    let check = |bytes: Vec<u8>, want: Tensor| assert_eq!(proto::tensor(&bytes).unwrap(), want);
    let floats = Tensor::new([2, 1], vec![1f32, -2.0]).unwrap();
    let raw: Vec<u8> = [1f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    check(proto_bytes(1, &[&[0x4a, 8], &raw[..]].concat()), floats.clone());
    check(proto_bytes(1, &[&[0x22, 8], &raw[..]].concat()), floats);
    // int64_data, packed: 5 and -1; int32_data, one by one: 3 and 4 as i8.
    let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    check(
        proto_bytes(7, &[&[0x3a, 11, 5], &minus_one[..]].concat()),
        Tensor::new([2, 1], vec![5i64, -1]).unwrap(),
    );
    check(proto_bytes(3, &[0x28, 3, 0x28, 4]), Tensor::new([2, 1], vec![3i8, 4]).unwrap());
}

#[test]
fn bad_tensor_protos_name_the_byte() {
    let check = |bytes: &[u8], want: &str| {
        let fault = proto::tensor(bytes).unwrap_err();
        assert_eq!(format!("{} @{}", fault.message, fault.offset), want);
    };
    check(&[], "the TensorProto has no data_type @0");
    check(&[0x10, 8], "element type 8 of ONNX is not supported @0");
    check(&proto_bytes(1, &[0x4a, 4, 0, 0, 0, 0]), "f32 of shape [2, 1] takes 8 bytes, the tensor has 4 @8");
    check(&proto_bytes(1, &[0x4a, 200, 1]), "the file ends within a field @9");
    check(&proto_bytes(1, &[0x70, 1]), "the tensor's data lie in another file, which is not read here @6");
    let huge = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    check(
        &[&huge[..], &[0x08, 4, 0x10, 1]].concat(),
        "shape [9223372036854775807, 4] is larger than memory @0",
    );
    check(&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], "size -1 is negative @1");
}

#[test]
fn generators_fit_every_type() {
    for generator in [Generator::Random, Generator::Ramp, Generator::Zeros] {
        for dtype in DType::ALL {
            let tensor = generator.make("x", dtype, &[3, 5], 7).unwrap();
            assert_eq!((tensor.dtype(), tensor.shape()), (dtype, &[3, 5][..]));
            assert_eq!(tensor, generator.make("x", dtype, &[3, 5], 7).unwrap());
        }
    }
    let random = |name, seed| Generator::Random.make(name, DType::F32, &[1000], seed).unwrap();
    assert_ne!(random("x", 1), random("x", 2));
    assert_ne!(random("x", 1), random("y", 1));
    let values = random("x", 1).into_vec::<f32>().unwrap();
    assert!(values.iter().all(|v| (-1.0..1.0).contains(v)) && values.iter().sum::<f32>().abs() < 60.0);
    let ramp = Generator::Ramp.make("x", DType::F32, &[5], 0).unwrap();
    assert_eq!(ramp.into_vec::<f32>().unwrap(), [0.0, 0.25, 0.5, 0.75, 1.0]);
}

#[cfg(feature = "image")]
#[test]
fn pictures_become_tensors_and_back() {
    let folder = folder("pictures");
    let file = folder.join("p.png");
    let values: Vec<f32> = (0..3 * 4 * 6).map(|i| (i * 3) as f32 / 255.0).collect();
    let tensor = Tensor::new([1, 3, 4, 6], values.clone()).unwrap();
    write_picture(&file, tensor.view()).unwrap();
    let shape = [None, Some(3), None, None];
    let back = load(&file, &want("x", DType::F32, &shape)).unwrap();
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close(back.as_slice::<f32>().unwrap(), &values));

    let options =
        PictureOptions { layout: Layout::Nhwc, mean: vec![0.5], std: vec![0.5], ..Default::default() };
    let nhwc = read(&file, &want("x", DType::F32, &[None, None, None, Some(3)]), &options).unwrap();
    assert_eq!(nhwc.shape(), [1, 4, 6, 3]);
    assert!((nhwc.as_slice::<f32>().unwrap()[1] - (values[24] - 0.5) / 0.5).abs() < 1e-6);

    let grey = load(&file, &want("x", DType::F32, &[Some(1), Some(1), None, None])).unwrap();
    let luma = 0.299 * values[0] + 0.587 * values[24] + 0.114 * values[48];
    assert!((grey.as_slice::<f32>().unwrap()[0] - luma).abs() < 1e-6);

    let fixed = [None, Some(3), Some(2), Some(2)];
    let error = load(&file, &want("x", DType::F32, &fixed)).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("give --resize 2x2"));
    let resized = PictureOptions { resize: Some(Resize::Shorter(2)), ..Default::default() };
    assert_eq!(read(&file, &want("x", DType::F32, &fixed), &resized).unwrap().shape(), [1, 3, 2, 2]);
    let error = load(&file, &want("x", DType::F32, &[None, Some(7), None, None])).unwrap_err();
    assert_eq!(error.message, "a picture has 1 or 3 channels, but input `x` has 7");
    assert!("0x4".parse::<Resize>().is_err() && "640x480".parse::<Resize>().is_ok());
    std::fs::write(folder.join("bad.png"), b"\x89PNG\r\n\x1a\nnothing").unwrap();
    assert!(load(&folder.join("bad.png"), &want("x", DType::F32, &shape)).is_err());
    assert!(write_picture(&file, Tensor::new([2, 2], vec![0f32; 4]).unwrap().view()).is_err());
    // Two channels are scores of two classes: black and white.
    let scores = Tensor::new([2, 1, 2], vec![1f32, 0.0, 0.0, 1.0]).unwrap();
    write_picture(&file, scores.view()).unwrap();
    let mask = load(&file, &want("x", DType::F32, &[Some(1), Some(1), None, None])).unwrap();
    assert!(close(mask.as_slice::<f32>().unwrap(), &[0.0, 1.0]));
}
