//! Files of each format, sound and not.

#[cfg(feature = "image")]
use super::picture;
use super::{super::*, folder};
use rectify_runtime::Tensor;
use std::fs;

/// The error of a spec with the folder's path cut out, and its help.
fn fault(spec: &str, folder: &Path) -> (String, String) {
    let error = Spec::parse(spec).and_then(|spec| spec.load()).unwrap_err();
    let text = error.to_string().replace(&format!("{}/", folder.display()), "");
    (text.replace(&folder.display().to_string(), "."), error.help.unwrap_or_default())
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    // One stored block.
    let length = content.len() as u16;
    file.extend([&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), content].concat());
    file.extend(rectify_runtime::files::zip::crc32(content).to_le_bytes());
    file.extend((content.len() as u32).to_le_bytes());
    file
}

fn idx(sizes: &[u32], elements: &[u8]) -> Vec<u8> {
    let bytes = sizes.iter().flat_map(|s| s.to_be_bytes());
    [0, 0, 8, sizes.len() as u8].into_iter().chain(bytes).chain(elements.iter().copied()).collect()
}

fn write_idx(folder: &Path) {
    let pixels: Vec<u8> = (0..24).map(|i| i * 10).collect();
    fs::write(folder.join("train-images-idx3-ubyte.gz"), gzip(&idx(&[4, 2, 3], &pixels))).unwrap();
    fs::write(folder.join("train-labels-idx1-ubyte"), idx(&[4], &[2, 0, 1, 0])).unwrap();
    fs::write(folder.join("t10k-images.idx3-ubyte"), idx(&[1, 2, 3], &pixels[..6])).unwrap();
    fs::write(folder.join("t10k-labels-idx1-ubyte.gz"), gzip(&idx(&[1], &[1]))).unwrap();
}

#[test]
fn idx_files_plain_and_packed() {
    let folder = folder("idx");
    write_idx(&folder);
    let path = folder.display().to_string();
    let spec = Spec::parse(&path).unwrap();
    assert_eq!(spec, Spec::Idx(folder.clone()));
    assert_eq!(spec, spec.to_string().parse().unwrap());
    let sets = spec.load().unwrap();
    assert_eq!((sets.train.len(), sets.train.shape(), sets.train.classes().len()), (4, [1, 2, 3], 3));
    assert_eq!(sets.train.class_counts(), [2, 1, 1]);
    assert_eq!(sets.train.label(2), 1);
    let image = sets.train.image(1).unwrap();
    assert_eq!(image.values, [60.0, 70.0, 80.0, 90.0, 100.0, 110.0].map(|v| v / 255.0));
    assert_eq!(sets.test.unwrap().len(), 1);
}

#[test]
fn broken_idx_files_name_file_byte_and_cause() {
    let folder = folder("idx-broken");
    let spec = format!("idx:{}", folder.display());
    let (images, labels) = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    let check = |file: &str, content: &[u8], want: &str| {
        write_idx(&folder);
        // Plain names come before packed ones.
        fs::write(folder.join(file), content).unwrap();
        assert_eq!(fault(&spec, &folder).0, want);
        fs::remove_file(folder.join(file)).unwrap();
    };
    check(
        images,
        b"",
        &format!(
            "{images}: is no idx file: it does not begin with two zero bytes, a type and a rank (at byte 0)"
        ),
    );
    check(
        images,
        &[0, 0, 13, 3],
        &format!("{images}: has elements of type 0x0d, not unsigned bytes, 0x08 (at byte 2)"),
    );
    check(
        images,
        &[0, 0, 8, 3, 0, 0, 0, 1],
        &format!("{images}: ends within the sizes of its 3 axes (at byte 8)"),
    );
    check(
        images,
        &idx(&[4, 2, 3], &[0; 23]),
        &format!(
            "{images}: sizes [4, 2, 3] take 40 bytes, which a file of 39 bytes does not hold (at byte 4)"
        ),
    );
    check(
        images,
        &idx(&[4, 2, 3], &[0; 25]),
        &format!("{images}: has 41 bytes, but sizes [4, 2, 3] take 40 (at byte 41)"),
    );
    check(images, &idx(&[4, 0, 3], &[]), &format!("{images}: is empty: a size is 0 (at byte 8)"));
    check(
        images,
        &idx(&[u32::MAX; 3], &[]),
        &format!(
            "{images}: sizes [4294967295, 4294967295, 4294967295] take more than memory, which a file of 16 bytes does not hold (at byte 4)"
        ),
    );
    check(
        images,
        &idx(&[4, 6], &[0; 24]),
        &format!("{images}: holds an array of 2 axes; images have 3 or 4 (at byte 3)"),
    );
    check(
        labels,
        &idx(&[3], &[0; 3]),
        &format!("{labels}: 3 labels, but {images}.gz has 4 images (at byte 4)"),
    );
    check(
        labels,
        &idx(&[4, 1], &[0; 4]),
        &format!("{labels}: holds an array of 2 axes; labels have 1 (at byte 3)"),
    );
    check(
        "t10k-labels-idx1-ubyte",
        &idx(&[1], &[3]),
        "t10k-labels-idx1-ubyte: label 3, but the training set's end at 2 (at byte 8)",
    );
    check(
        "t10k-images-idx3-ubyte",
        &idx(&[1, 3, 2], &[0; 6]),
        &format!(
            "t10k-images-idx3-ubyte: images are [1, 3, 2], but those of {images}.gz [1, 2, 3] (at byte 4)"
        ),
    );

    let packed = gzip(&idx(&[4, 2, 3], &[7; 24]));
    let file = format!("{images}.gz");
    check(
        &file,
        &packed[..packed.len() - 20],
        &format!("{file}: the file ends within the gzip stream (at byte {})", packed.len() - 20),
    );
    let hostile = gzip(&idx(&[1 << 31, 1 << 10, 1 << 10], &[]));
    check(
        &file,
        &hostile,
        &format!(
            "{file}: sizes [2147483648, 1024, 1024] take 2251799813685264 bytes, which a file of {} bytes does not hold (at byte 4)",
            hostile.len()
        ),
    );
    check(
        &file,
        &gzip(&idx(&[4, 2, 3], &[7; 30])),
        &format!("{file}: unpacks to more than 40 bytes (at byte 69)"),
    );

    write_idx(&folder);
    fs::remove_file(folder.join(labels)).unwrap();
    assert_eq!(fault(&spec, &folder).0, ".: holds no file train-labels-idx1-ubyte, plain or .gz");
}

fn record(label: u8, first: u8) -> Vec<u8> {
    let mut record = vec![7; 3073];
    (record[0], record[1]) = (label, first);
    record
}

#[test]
fn cifar_records() {
    let folder = folder("cifar");
    let inner = folder.join("cifar-10-batches-bin");
    fs::create_dir(&inner).unwrap();
    for i in 1..=5 {
        let records = [record(i, 10 * i), record(9, 1)].concat();
        fs::write(inner.join(format!("data_batch_{i}.bin")), records).unwrap();
    }
    fs::write(inner.join("test_batch.bin"), record(3, 255)).unwrap();
    let spec = Spec::parse(&folder.display().to_string()).unwrap();
    assert_eq!(spec, Spec::Cifar10(folder.clone()));
    let sets = spec.load().unwrap();
    assert_eq!((sets.train.len(), sets.train.shape()), (10, [3, 32, 32]));
    assert_eq!((sets.train.label(4), sets.train.classes()[9].as_str()), (3, "truck"));
    assert_eq!(sets.train.image(4).unwrap().values[..2], [30.0 / 255.0, 7.0 / 255.0]);
    assert_eq!(sets.test.unwrap().image(0).unwrap().values[0], 1.0);

    let spec = spec.to_string();
    let broken = [record(1, 0), record(10, 0)].concat();
    fs::write(inner.join("data_batch_2.bin"), &broken).unwrap();
    let want = "data_batch_2.bin: label 10 of record 1; CIFAR-10's are 0 to 9 (at byte 3073)";
    assert_eq!(fault(&spec, &inner).0, want);
    fs::write(inner.join("data_batch_2.bin"), &broken[..4000]).unwrap();
    let want = "data_batch_2.bin: has 4000 bytes, not a number of records of 3073 (at byte 3073)";
    assert_eq!(fault(&spec, &inner).0, want);
    fs::remove_file(inner.join("data_batch_2.bin")).unwrap();
    assert_eq!(fault(&spec, &inner).0, "data_batch_2.bin: no such file or directory");
}

#[test]
fn npz_arrays() {
    let folder = folder("npz");
    let path = folder.join("set.npz");
    let spec = path.display().to_string();
    let write = |arrays: &[(&str, &Tensor)]| {
        crate::data::write_npz(&path, arrays.iter().map(|(name, t)| (*name, t.view()))).unwrap();
    };
    let bytes = Tensor::new([3, 2, 2], (0..12).map(|i| i * 20).collect::<Vec<u8>>()).unwrap();
    let floats = Tensor::new([1, 1, 2, 2], vec![-1.5f32, 0.0, 2.0, 9.0]).unwrap();
    let labels = Tensor::new([3, 1], vec![0i64, 2, 1]).unwrap();
    let one = Tensor::new([1], vec![2u8]).unwrap();
    write(&[("x_train", &bytes), ("y_train", &labels), ("x_test", &floats), ("y_test", &one)]);
    let sets = Spec::parse(&spec).unwrap().load().unwrap();
    assert_eq!((sets.train.len(), sets.train.shape(), sets.train.classes().len()), (3, [1, 2, 2], 3));
    assert_eq!(sets.train.image(2).unwrap().values[3], 220.0 / 255.0);
    let test = sets.test.unwrap();
    assert_eq!((test.image(0).unwrap().values[0], test.label(0)), (-1.5, 2));

    let check = |arrays: &[(&str, &Tensor)], want: &str| {
        write(arrays);
        assert_eq!(fault(&spec, &folder).0, format!("set.npz: {want}"));
    };
    check(&[("y", &labels)], "holds no array `x` or `x_train`");
    check(&[("x", &bytes)], "no tensor `y`");
    check(&[("x", &bytes), ("y", &one)], "array `y` has shape [1], but `x` has 3 images");
    check(&[("x", &one), ("y", &one)], "array `x` has shape [1]");
    check(
        &[("x", &bytes), ("y", &Tensor::new([3], vec![0i64, -1, 0]).unwrap())],
        "array `y`: label -1 at element 1",
    );
    check(
        &[("x", &bytes), ("y", &Tensor::new([3], vec![0u64, 1, 1 << 40]).unwrap())],
        "array `y`: label 1099511627776 at element 2",
    );
    check(&[("x", &bytes), ("y", &Tensor::new([3], vec![true; 3]).unwrap())], "array `y` holds bool");
    let values = Tensor::new([3, 2], vec![1f32, 2.0, 3.0, 4.0, 5.0, f32::INFINITY]).unwrap();
    check(&[("x", &bytes), ("y", &values)], "array `y`: inf at element 5");
    check(&[("x", &floats), ("y", &values)], "array `y` has shape [3, 2], but `x` has 1 images");
    let level = Tensor::new([1], vec![1f32]).unwrap();
    check(
        &[("x", &bytes), ("y", &labels), ("x_test", &floats), ("y_test", &level)],
        "one of `y` and `y_test` holds integers, the other floats",
    );
    let pairs = Tensor::new([3, 2], vec![1f32; 6]).unwrap();
    check(
        &[("x", &bytes), ("y", &pairs), ("x_test", &floats), ("y_test", &level)],
        "values of `y_test` are [], but those of `y` [2]",
    );
    check(&[("x", &Tensor::new([1, 1, 1], vec![0i64]).unwrap()), ("y", &one)], "array `x` holds i64");
    check(
        &[("x", &Tensor::new([1, 1, 2], vec![0f32, f32::NAN]).unwrap()), ("y", &one)],
        "array `x`: NaN at element 1",
    );
    check(
        &[("x", &Tensor::new([1, 0, 2], Vec::<f32>::new()).unwrap()), ("y", &one)],
        "array `x` has shape [1, 0, 2]",
    );
    let wide = Tensor::new([1, 1, 4], vec![0f32; 4]).unwrap();
    check(
        &[("x", &bytes), ("y", &labels), ("x_test", &wide), ("y_test", &one)],
        "images of `x_test` are [1, 1, 4], but those of `x` [1, 2, 2]",
    );
    let nine = Tensor::new([1], vec![9i32]).unwrap();
    check(
        &[("x", &bytes), ("y", &labels), ("x_test", &floats), ("y_test", &nine)],
        "array `y_test`: label 9 at element 0, but the training set's end at 2",
    );
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    assert!(fault(&spec, &folder).0.contains("(at byte"));
}

#[cfg(feature = "image")]
#[test]
fn folders_of_pictures() {
    let folder = folder("pictures");
    for (i, name) in
        ["train/cat/b.png", "train/cat/a.jpg", "train/dog/a.png", "val/dog/z.png"].iter().enumerate()
    {
        picture(&folder.join(name), 6, 8, 0.2 * i as f32);
    }
    fs::write(folder.join("train/cat/notes.txt"), "no picture").unwrap();
    let spec = Spec::parse(&folder.display().to_string()).unwrap();
    let sets = spec.load().unwrap();
    assert_eq!(
        (sets.train.shape(), sets.train.classes()),
        ([3, 6, 8], &["cat".to_owned(), "dog".into()][..])
    );
    assert_eq!((0..3).map(|i| sets.train.label(i)).collect::<Vec<_>>(), [0, 0, 1]);
    // By name: a.jpg, which was written second, comes first.
    assert!((sets.train.image(0).unwrap().values[0] - 0.2).abs() < 0.02);
    let test = sets.test.unwrap();
    assert_eq!((test.len(), test.label(0)), (1, 1));

    // Of another size: an error when it is read, or scaled where a size is given.
    picture(&folder.join("train/dog/tall.png"), 12, 9, 0.5);
    let sets = spec.load().unwrap();
    let error = sets.train.image(3).unwrap_err();
    assert!(
        error.to_string().ends_with("tall.png: is 9 x 12 pixels, but the first picture of the set 8 x 6")
    );
    let sized = Spec::parse(&format!("folder:{},size=5,channels=1", folder.display())).unwrap();
    assert_eq!(sized, sized.to_string().parse().unwrap());
    let sets = sized.load().unwrap();
    assert_eq!((sets.train.shape(), sets.train.image(3).unwrap().height), ([1, 5, 5], 12));
    let loader = Loader::new(sets.train, LoaderOptions::evaluation(4, Augment::default())).unwrap();
    let batch = loader.batch(0, 0).unwrap();
    assert_eq!(batch.images.shape(), [4, 1, 5, 5]);
    assert!(batch.images.as_slice::<f32>().unwrap()[75..].iter().all(|v| (v - 0.5).abs() < 0.01));

    let error = |sub: &str| fault(&format!("folder:{}{sub}", folder.display()), &folder).0;
    fs::create_dir(folder.join("val/bird")).unwrap();
    assert_eq!(error(""), "val/bird: is no class of the training set");
    fs::create_dir(folder.join("train/bird")).unwrap();
    assert_eq!(error(""), "train/bird: holds no .png, .jpg or .jpeg");
    assert_eq!(error("/train/cat"), "train/cat: holds no folders");
    assert_eq!(error("/none"), "none: no such file or directory");
    fs::remove_dir(folder.join("train/bird")).unwrap();
    fs::write(folder.join("train/cat/a.jpg"), b"\x89PNG").unwrap();
    let error = spec.load().unwrap_err().to_string();
    assert!(error.contains("a.jpg: not a readable picture"), "{error}");
}

#[test]
fn specs_that_mean_nothing() {
    let check = |spec: &str, want: (&str, &str)| {
        let (message, help) = fault(spec, Path::new("/nowhere"));
        assert_eq!((message.as_str(), help.as_str()), want);
    };
    let known = "known are idx:DIR, cifar10:DIR, folder:DIR, npz:FILE and synth:shapes";
    check("", (": no such file or folder, and no spec of a data set", known));
    check("nonesuch:x", ("nonesuch:x: no such file or folder, and no spec of a data set", known));
    check("idx:", ("idx:: names no path", known));
    check("src", ("src: is a folder, but of no known data set", known));
    check("Cargo.toml", ("Cargo.toml: is no data set", known));
    check("synth:cubes", ("synth:cubes: no such generated set", "there is synth:shapes"));
    check("synth:shapes,m=3", ("synth:shapes,m=3: no option `m`", "there are n, size, noise and seed"));
    check("synth:shapes,n=-3", ("synth:shapes,n=-3: n = `-3` is not a number that fits", ""));
    check(
        "synth:shapes,size=4",
        ("synth:shapes,n=20000,size=4,noise=0.08,seed=0: size 4 is not 12 to 256", ""),
    );
    check(
        "synth:shapes,noise=NaN",
        ("synth:shapes,n=20000,size=28,noise=NaN,seed=0: noise NaN is not 0 to 1", ""),
    );
    check(
        "synth:shapes,n=9999999999",
        ("synth:shapes,n=9999999999,size=28,noise=0.08,seed=0: n 9999999999 is not 10 to 2739137", ""),
    );
    check("folder:x,size=0", ("folder:x,size=0: size = `0` is not 1 to 4096", ""));
    check("folder:x,channels=2", ("folder:x,channels=2: channels = `2` is not 1 or 3", ""));
    let commas = Spec::parse("folder:a,b,size=3").unwrap();
    assert_eq!(commas, Spec::Folder(Folder { path: "a,b".into(), size: Some(3), channels: 3 }));
}

/// Real files, where they are present.
#[test]
fn the_mnist_family() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let root = std::env::var_os("RECTIFY_TEST_DATA").map_or(beside, PathBuf::from);
    for (name, mean, std) in [("mnist", 0.1307, 0.3081), ("fashion-mnist", 0.2860, 0.3530)] {
        let folder = root.join(name);
        if !folder.is_dir() {
            eprintln!("skipped: no {name}");
            continue;
        }
        let sets = Spec::parse(&folder.display().to_string()).unwrap().load().unwrap();
        let test = sets.test.unwrap();
        assert_eq!((sets.train.len(), test.len(), sets.train.shape()), (60_000, 10_000, [1, 28, 28]));
        assert_eq!((sets.train.classes().len(), test.classes().len()), (10, 10));
        assert!(test.class_counts().iter().all(|&count| count > 800));
        // As others have published them.
        let normalise = Normalise::per_channel(&sets.train).unwrap();
        assert!(
            (normalise.mean[0] - mean).abs() < 1e-4 && (normalise.std[0] - std).abs() < 1e-4,
            "{normalise:?}"
        );
    }
}
