//! The protocol of He et al. 2015 for ImageNet, end to end on a folder of small pictures: scale jitter, random windows, flips and
//! colours in training; one view, ten, every window at several sizes, and six models together in evaluation.

use rectify::Tensor;
use rectify::data::write_picture;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Model A in small: a wide first layer, PReLUs, a spatial pyramid, fully connected layers with dropout.
const NET: &str = "model net(image: f32[N, 3, 24, 24]) -> (logits: f32[N, 3]) {
    image |> conv(8, kernel: 5, stride: 2, pad: 2) as conv1 |> prelu as conv1
      |> conv(16, kernel: 3, pad: 1) as conv2 |> prelu as conv2
      |> spp(bins: [4, 2, 1]) |> flatten
      |> dense(24) as fc1 |> prelu as fc1 |> dropout(0.5) |> dense(3) as fc2
}";

/// `train` and `val` with a folder for each of three patterns: rows, columns and a chequered one, in colours and sizes that differ.
fn pictures() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rectify-imagenet-{}", std::process::id()));
    let _old = std::fs::remove_dir_all(&folder);
    for (part, count, first) in [("train", 32, 0), ("val", 12, 100)] {
        for (class, name) in ["rows", "columns", "squares"].into_iter().enumerate() {
            let place = folder.join("set").join(part).join(name);
            std::fs::create_dir_all(&place).unwrap();
            for i in first..first + count {
                let picture = picture(class, i);
                write_picture(&place.join(format!("{i:03}.png")), picture.view()).unwrap();
            }
        }
    }
    std::fs::write(folder.join("net.rect"), NET).unwrap();
    folder
}

fn picture(class: usize, i: usize) -> Tensor {
    let (height, width) = (28 + i * 7 % 23, 28 + i * 11 % 23);
    let (phase, period) = (i * 5 % 9, 4 + i % 3);
    let colour = |channel: usize| 0.2 + ((i * (channel + 3)) % 10) as f32 / 20.0;
    let wave = |at: usize| ((at + phase) as f32 * std::f32::consts::PI / period as f32).sin().signum() * 0.25;
    let mut values = Vec::with_capacity(3 * height * width);
    for (channel, row, column) in
        (0..3).flat_map(|c| (0..height * width).map(move |p| (c, p / width, p % width)))
    {
        let pattern = match class {
            0 => wave(row),
            1 => wave(column),
            _ => 4.0 * wave(row) * wave(column),
        };
        values.push((colour(channel) + pattern).clamp(0.0, 1.0));
    }
    Tensor::new([3, height, width], values).unwrap()
}

fn json(folder: &Path, args: &[&str]) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_rectify"))
        .current_dir(folder)
        .args(args)
        .arg("--json")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_whole_protocol_on_pictures_of_three_patterns() {
    let folder = pictures();
    let runs: Vec<String> = (0..6).map(|seed| format!("run{seed}")).collect();
    for (seed, run) in runs.iter().enumerate() {
        let recipe = "train net.rect --data folder:set,size=24 --jitter 26,40 --flip --colour 0.4,0.4,0.4 --normalise pixel \
                      --optimiser caffe --rate 0.005 --schedule plateau:5,0.1 --epochs 20 --batch 12 --validation 12 --no-signals";
        let seed = seed.to_string();
        let options: Vec<&str> = recipe.split_whitespace().chain(["--run", run, "--seed", &seed]).collect();
        json(&folder, &options);
    }
    let weights: Vec<String> = runs.iter().map(|run| format!("{run}/best.safetensors")).collect();
    let eval = |views: &str, members: &[String]| {
        let fixed = "eval net.rect --data folder:set,size=24 --weights run0/best.safetensors";
        let members = members.iter().flat_map(|m| ["--member", m.as_str()]);
        let options: Vec<&str> =
            fixed.split_whitespace().chain(views.split_whitespace()).chain(members).collect();
        let found = json(&folder, &options);
        assert_eq!(found["images"], 36);
        found
    };
    let number = |found: &serde_json::Value, name: &str| found[name].as_f64().unwrap();
    let views = ["", "--views ten --side 28", "--views dense --sides 24,28,34 --stride 2"];
    let alone: Vec<serde_json::Value> = views.iter().map(|views| eval(views, &[])).collect();
    for found in &alone {
        assert!(number(found, "accuracy") > 0.8, "{found}");
    }
    assert!(alone[0]["loss"] != alone[1]["loss"] && alone[1]["loss"] != alone[2]["loss"], "{alone:?}");
    let together = eval(views[2], &weights[1..]);
    assert_eq!(together["models"], 6);
    assert!(number(&together, "accuracy") > 0.9, "{together}");
    std::fs::remove_dir_all(folder).unwrap();
}
