//! `rectify train` and `eval` on values instead of classes: pictures from pictures, and numbers from vectors.

use rectify::Tensor;
use std::path::{Path, PathBuf};
use std::process::Command;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rectify-values-{}", std::process::id())).join(name);
    let _old = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn write(path: &Path, arrays: &[(&str, &Tensor)]) {
    rectify::data::write_npz(path, arrays.iter().map(|(name, t)| (*name, t.view()))).unwrap();
}

/// The JSON object on stdout, or the message and the exit code.
fn run(folder: &Path, args: &[&str]) -> Result<serde_json::Value, (String, i32)> {
    let output = Command::new(env!("CARGO_BIN_EXE_rectify")).current_dir(folder).args(args).output().unwrap();
    if output.status.success() {
        return Ok(serde_json::from_slice(&output.stdout).unwrap_or_default());
    }
    Err((String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap_or(-1)))
}

/// Waves in `count` directions, on `size` x `size` pixels; and the means of every 2 x 2 of these.
fn waves(count: usize, size: usize, from: usize) -> (Tensor, Tensor) {
    let mut large = Vec::with_capacity(count * size * size);
    for sample in from..from + count {
        let (angle, phase) = (sample as f32 * 2.4, sample as f32 * 0.7);
        for (row, column) in (0..size * size).map(|i| (i / size, i % size)) {
            let along = row as f32 * angle.sin() + column as f32 * angle.cos();
            large.push(0.5 + 0.4 * (0.9 * along + phase).sin());
        }
    }
    let half = size / 2;
    let mean = |sample: usize, row: usize, column: usize| {
        let at = |r: usize, c: usize| large[(sample * size + 2 * row + r) * size + 2 * column + c];
        (at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0
    };
    let small: Vec<f32> =
        (0..count * half * half).map(|i| mean(i / (half * half), i / half % half, i % half)).collect();
    (Tensor::new([count, 1, half, half], small).unwrap(), Tensor::new([count, 1, size, size], large).unwrap())
}

#[test]
fn super_resolution_beats_repeating_pixels() {
    let folder = folder("fsrcnn");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fsrcnn.rect");
    let ((x, y), (x_test, y_test)) = (waves(160, 16, 0), waves(32, 16, 1000));
    write(&folder.join("waves.npz"), &[("x", &x), ("y", &y), ("x_test", &x_test), ("y_test", &y_test)]);
    let (small, large) = (x_test.view().to_f32_vec(), y_test.view().to_f32_vec());
    let repeated = |i: usize| small[i / 256 * 64 + i % 256 / 16 / 2 * 8 + i % 16 / 2];
    let nearest = large.iter().enumerate().map(|(i, v)| f64::from(v - repeated(i)).powi(2)).sum::<f64>()
        / large.len() as f64;
    let model = model.to_str().unwrap();
    let options =
        ["--loss", "mse", "--optimiser", "adamw", "--rate", "0.003", "--normalise", "none", "--batch", "16"];
    let begin = [
        "train",
        model,
        "--data",
        "npz:waves.npz",
        "--steps",
        "400",
        "--validation",
        "32",
        "--test",
        "--json",
    ];
    let trained =
        run(&folder, &[&begin[..], &options[..], &["--run", "run", "--threads", "1"]].concat()).unwrap();
    let (loss, error) =
        (trained["test"]["loss"].as_f64().unwrap(), trained["test"]["error"].as_f64().unwrap());
    assert!(loss < nearest / 2.0, "{loss}, by repeated pixels {nearest}");
    assert!((error - loss.sqrt()).abs() < 1e-9 && trained["test"]["top5_error"].is_null(), "{trained}");
    let page = std::fs::read_to_string(folder.join("run/report.html")).unwrap();
    assert!(page.contains("root of the mean squared error") && !page.contains("cross-entropy"));

    let eval = ["eval", model, "--data", "npz:waves.npz", "--json", "--weights", "run/best.safetensors"];
    let alone = run(&folder, &eval).unwrap();
    assert_eq!(alone["images"], 32);
    assert!((alone["mean_square"].as_f64().unwrap() / loss - 1.0).abs() < 1e-3, "{alone} and {trained}");
    let both = run(&folder, &[&eval[..], &["--member", "run/last.safetensors"]].concat()).unwrap();
    assert_eq!(both["models"], 2);

    let case = |args: &[&str], code: i32, want: &str| {
        let (message, got) = run(&folder, args).unwrap_err();
        assert!(message.contains(want) && got == code, "{code}: {message}\ndoes not say\n{want}");
    };
    let train = ["train", model, "--data", "npz:waves.npz", "--run", "no", "--batch", "16"];
    let more = |options: &[&'static str]| [&train[..], options].concat();
    case(&more(&[]), 2, "has values to be predicted, and no classes");
    case(&more(&["--loss", "l1", "--flip"]), 2, "do not follow its augmentation");
    case(&more(&["--loss", "l1", "--smoothing", "0.1"]), 2, "--smoothing does nothing with this loss");
    let classes = ["train", model, "--data", "synth:shapes,n=100,size=12", "--run", "no", "--loss", "mse"];
    case(&classes, 2, "has classes, and no values to be predicted");
    case(&[&eval[..], &["--views", "ten"]].concat(), 2, "one view of each");
}

#[test]
fn a_perceptron_learns_a_function_of_vectors() {
    let folder = folder("vectors");
    let text =
        "model f(x: f32[N, 3]) -> (y: f32[N, 1]) { x |> dense(32) as a |> prelu as a |> dense(1) as b }";
    std::fs::write(folder.join("f.rect"), text).unwrap();
    let x: Vec<f32> = (0..1200).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
    let y: Vec<f32> = x.chunks_exact(3).map(|v| v[0].abs() - 0.5 * v[1] + 0.2 * v[2]).collect();
    let arrays = [("x", Tensor::new([400, 3], x).unwrap()), ("y", Tensor::new([400], y).unwrap())];
    write(&folder.join("f.npz"), &[(arrays[0].0, &arrays[0].1), (arrays[1].0, &arrays[1].1)]);
    let options =
        ["--loss", "l1", "--epochs", "60", "--batch", "36", "--validation", "40", "--optimiser", "adamw"];
    let begin = ["train", "f.rect", "--data", "f.npz", "--run", "run", "--rate", "0.01", "--json"];
    let trained = run(&folder, &[&begin[..], &options[..]].concat()).unwrap();
    // The values' own mean deviation is about a third.
    assert!(trained["best"]["error"].as_f64().unwrap() < 0.05, "{trained}");
    let eval = [
        "eval",
        "f.rect",
        "--data",
        "f.npz",
        "--part",
        "train",
        "--weights",
        "run/best.safetensors",
        "--json",
    ];
    let found = run(&folder, &eval).unwrap();
    assert!(found["mean_absolute"].as_f64().unwrap() < 0.05 && found["images"] == 400, "{found}");
    let two = text.replace("dense(1)", "dense(2)").replace("N, 1]", "N, 2]");
    std::fs::write(folder.join("two.rect"), two).unwrap();
    let (message, code) =
        run(&folder, &["train", "two.rect", "--data", "f.npz", "--run", "no", "--loss", "mse"]).unwrap_err();
    assert!(
        message.contains("the model gives [2] a sample, but npz:f.npz has values of []") && code == 1,
        "{message}"
    );
}
