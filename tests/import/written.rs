//! An imported model written as a file of the language runs with the same bits.

use crate::corpus::network;
use crate::encode::Graph;
use rectify::import::rect::write;
use rectify::{Error, Model, Tensor, check_file, format_text};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rectify-written-{}-{name}", std::process::id()));
    // What an earlier run left is of no use.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The outputs for drawn inputs whose unknown sizes are all `size`.
fn outputs(model: &Model, size: usize) -> Vec<(String, Tensor)> {
    let compiled = model.compiler().threads(1).compile().unwrap();
    let tensor = |shape: Vec<usize>| {
        let values = (0..shape.iter().product::<usize>()).map(|i| (i * 29 % 83) as f32 / 41.0 - 1.0);
        Tensor::new(shape, values.collect::<Vec<f32>>()).unwrap()
    };
    let shape = |port: &rectify::PortInfo| {
        port.ty.shape.iter().map(|d| d.as_const().map_or(size, |n| n as usize)).collect()
    };
    let inputs: Vec<_> = model.inputs().iter().map(|port| (port.name.clone(), tensor(shape(port)))).collect();
    let views: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_ref(), tensor.view())).collect();
    let outputs = compiled.run(&views).unwrap();
    outputs
        .iter()
        .map(|(name, view)| {
            (name.to_owned(), Tensor::from_bytes(view.dtype(), view.shape(), view.bytes()).unwrap())
        })
        .collect()
}

fn same(onnx: &Path, rect: &Path, sizes: &[usize]) {
    let report = check_file(rect).unwrap();
    assert!(report.diagnostics().is_empty(), "{report}");
    let text = std::fs::read_to_string(rect).unwrap();
    assert_eq!(format_text("written", &text).unwrap(), text, "the text is formatted");
    let (imported, written) = (Model::open(onnx).unwrap(), Model::open(rect).unwrap());
    for size in sizes {
        for ((a, x), (b, y)) in outputs(&imported, *size).iter().zip(&outputs(&written, *size)) {
            assert_eq!((a, x.shape()), (b, y.shape()));
            assert!(x.view().bytes() == y.view().bytes(), "output {a} at size {size} has other bits");
        }
    }
}

#[test]
fn the_same_bits_at_any_size() {
    let folder = folder("bits");
    let (onnx, rect) = (folder.join("net.onnx"), folder.join("net.rect"));
    std::fs::write(&onnx, network().model()).unwrap();
    let written = write(&Model::open(&onnx).unwrap(), &rect, false).unwrap();
    assert_eq!(written.weights, Some(folder.join("net.safetensors")));
    // The slope's sign and the small convolution are known to rewrites only if they stand in the text.
    assert_eq!(written.tensors, 1);
    let text = std::fs::read_to_string(&rect).unwrap();
    for part in
        ["/// Imported from net.onnx (ONNX, operator set 17, by the test).", "the_c1", "@slope", "file("]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    same(&onnx, &rect, &[4, 7]);
    // A changed weight is noticed.
    let weights = folder.join("net.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let error = Model::open(&rect).unwrap().compiler().compile().unwrap_err().to_string();
    assert!(error.contains("not those that the model names"), "{error}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn files_that_exist_are_kept() {
    let folder = folder("kept");
    let onnx = folder.join("net.onnx");
    std::fs::write(&onnx, network().model()).unwrap();
    let model = Model::open(&onnx).unwrap();
    for name in ["net.rect", "net.safetensors"] {
        std::fs::write(folder.join(name), "mine").unwrap();
        let error = write(&model, &folder.join("net.rect"), false).unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
        assert!(error.help().is_some_and(|h| h.contains("--force")));
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), b"mine");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "nothing else was written");
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("net.rect"), "mine").unwrap();
    write(&model, &folder.join("net.rect"), true).unwrap();
    same(&onnx, &folder.join("net.rect"), &[5]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn models_that_cannot_be_written() {
    let folder = folder("refused");
    let open = Graph::default()
        .input("x", 1, &["2", "6"])
        .input("shape", 7, &["2"])
        .node("Reshape", &["x", "shape"], "y", &[])
        .output("y");
    let model = Model::from_bytes("open.onnx", &open.model()).unwrap();
    let error = write(&model, &folder.join("open.rect"), false).unwrap_err();
    assert!(error.to_string().contains("`shape`"), "{error}");
    let error =
        write(&Model::from_bytes("net.onnx", &network().model()).unwrap(), &folder.join("net.txt"), false);
    assert!(matches!(error, Err(Error::Option { .. })));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    std::fs::remove_dir_all(folder).unwrap();
}

/// External data go into the safetensors file; what lies outside of the model's folder is not read.
#[test]
fn weights_in_other_files() {
    let folder = folder("external");
    std::fs::create_dir(folder.join("models")).unwrap();
    let onnx = folder.join("models/net.onnx");
    let bytes: Vec<u8> = (0..2048).flat_map(|i| (i as f32 / 2048.0 - 0.5).to_le_bytes()).collect();
    let graph = |file: &str| {
        let graph = Graph::default().input("x", 1, &["N", "64"]).external("w", &[64, 32], file);
        graph.node("MatMul", &["x", "w"], "y", &[]).output("y").model()
    };
    std::fs::write(folder.join("models/w.bin"), &bytes).unwrap();
    std::fs::write(folder.join("secret.bin"), &bytes).unwrap();
    std::fs::write(&onnx, graph("w.bin")).unwrap();
    let rect = folder.join("models/net.rect");
    write(&Model::open(&onnx).unwrap(), &rect, false).unwrap();
    same(&onnx, &rect, &[3]);
    let mut refused = vec!["../secret.bin".to_owned(), folder.join("secret.bin").display().to_string()];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder.join("secret.bin"), folder.join("models/link.bin")).unwrap();
        std::os::unix::fs::symlink(&folder, folder.join("models/up")).unwrap();
        refused.extend(["link.bin".to_owned(), "up/secret.bin".to_owned()]);
    }
    for file in refused {
        std::fs::write(&onnx, graph(&file)).unwrap();
        let error = Model::open(&onnx).unwrap_err().to_string();
        assert!(error.contains("refused"), "{file}: {error}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// Real networks, where they are at hand.
#[test]
fn real_networks() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    let data = std::env::var_os("RECTIFY_TEST_DATA").map_or(beside, PathBuf::from);
    for name in ["mtcnn_pnet", "fsrcnn_small_x2_literal", "minifasnet_v2"] {
        let onnx = data.join("conformance/real").join(name).join("model.onnx");
        if !onnx.is_file() {
            println!("{name} is not there: skipped");
            continue;
        }
        let folder = folder(name);
        let rect = folder.join("net.rect");
        write(&Model::open(&onnx).unwrap(), &rect, false).unwrap();
        same(&onnx, &rect, &[14, 20]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
