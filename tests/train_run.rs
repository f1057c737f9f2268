//! Runs of `rectify train`: killed and resumed, on one thread and on two, stopped where they diverge, refused where options
//! do not fit.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const NET: &str = "model tiny(image: f32[N, 1, 12, 12]) -> (logits: f32[N, 10]) {
    image |> conv(6, kernel: 3, pad: 1, stride: 2) as a |> batch_norm as a |> prelu as a
      |> conv(12, kernel: 3, pad: 1) as b |> prelu as b |> global_avg_pool |> flatten |> dropout(0.1) |> dense(10) as head
}";

/// A folder of this test alone, with the model in it.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rectify-train-{}", std::process::id())).join(name);
    let _old = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("net.rect"), NET).unwrap();
    folder
}

fn train(folder: &Path, run: &str, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rectify"));
    command.current_dir(folder).args([
        "train",
        "net.rect",
        "--data",
        "synth:shapes,n=300,size=12",
        "--run",
        run,
    ]);
    command.args(["--batch", "15", "--flip", "--crop", "2"]).args(options);
    if !options.contains(&"--seed") {
        command.args(["--seed", "4"]);
    }
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// What the command says when it is refused, and its exit code.
fn refused(command: &mut Command) -> (String, i32) {
    let output = command.output().unwrap();
    (String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap_or(-1))
}

/// Both weights files, and the metrics without times.
fn results(run: &Path) -> (Vec<u8>, Vec<u8>, Vec<serde_json::Value>) {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("seconds");
        line
    });
    let read = |name: &str| std::fs::read(run.join(name)).unwrap();
    (read("best.safetensors"), read("last.safetensors"), lines.collect())
}

#[test]
fn killed_ten_times_at_any_moment_and_resumed_a_run_ends_the_same() {
    let folder = folder("killed");
    // A plateau and its memory are among what has to come back.
    let options = [
        "--epochs",
        "150",
        "--checkpoint-every",
        "6",
        "--schedule",
        "plateau:1,0.5",
        "--clip",
        "2",
        "--threads",
        "1",
    ];
    done(&mut train(&folder, "whole", &options));
    let (mut kills, mut random) = (0, 1u64);
    while kills < 10 {
        // Moments from before the first checkpoint on (Knuth's linear congruential generator).
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let delay = 30 + (random >> 33) % 120;
        let mut command = train(&folder, "killed", &options);
        if folder.join("killed/config.json").exists() {
            command.arg("--resume");
        }
        let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        assert!(child.try_wait().unwrap().is_none(), "the run is over after {kills} kills");
        child.kill().unwrap();
        kills += 1;
        child.wait().unwrap();
    }
    let mut last = train(&folder, "killed", &options);
    if folder.join("killed/config.json").exists() {
        last.arg("--resume");
    }
    done(&mut last);
    assert!(results(&folder.join("killed")) == results(&folder.join("whole")));
    // Once more on a finished run: nothing is left to do.
    done(train(&folder, "killed", &options).arg("--resume"));
    assert!(results(&folder.join("killed")) == results(&folder.join("whole")));
}

#[test]
fn threads_do_not_change_a_bit() {
    let folder = folder("threads");
    for optimiser in ["caffe", "adamw"] {
        let run = |threads: &str| {
            let name = format!("{optimiser}{threads}");
            let options =
                ["--steps", "30", "--optimiser", optimiser, "--rate", "0.01", "--threads", threads, "--test"];
            done(&mut train(&folder, &name, &options));
            results(&folder.join(name))
        };
        let (one, two) = (run("1"), run("2"));
        assert!(one == two, "{optimiser}");
        let losses: Vec<f64> = one.2.iter().filter_map(|l| l["loss"].as_f64()).collect();
        assert!(losses.iter().all(|l| *l < 4.0) && one.2.last().unwrap()["kind"] == "test", "{losses:?}");
    }
}

#[test]
fn divergence_stops_with_the_layer_and_the_step() {
    let folder = folder("diverges");
    let (message, code) = refused(&mut train(&folder, "run", &["--rate", "1e8", "--epochs", "2"]));
    assert_eq!(code, 1, "{message}");
    assert!(message.contains("training stopped at step") && message.contains("layer `"), "{message}");
    assert!(message.contains("a lower rate"), "{message}");
    let metrics = std::fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap();
    assert!(metrics.lines().last().unwrap().contains("\"stopped\""), "{metrics}");
}

#[test]
fn weights_of_a_run_serve_the_model() {
    let folder = folder("weights");
    done(&mut train(&folder, "run", &["--steps", "20", "--freeze", "a.*"]));
    let initial = Command::new(env!("CARGO_BIN_EXE_rectify"))
        .current_dir(&folder)
        .args(["init", "net.rect", "--seed", "4", "-o", "initial.safetensors"])
        .output()
        .unwrap();
    assert!(initial.status.success());
    let read = |file: &str| {
        let file = rectify::data::read_all(&folder.join(file)).unwrap();
        file.into_iter()
            .map(|(name, t)| (name, t.view().to_f32_vec()))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let (before, after) = (read("initial.safetensors"), read("run/last.safetensors"));
    assert!(before.keys().eq(after.keys()));
    for (name, values) in &before {
        assert_eq!(after[name] == *values, name.starts_with("a."), "{name}");
    }
    // Fine-tuning begins with the weights of the run.
    let weights = ["--weights", "run/last.safetensors", "--steps", "1", "--rate", "1e-60"];
    done(&mut train(&folder, "fine", &weights));
    let tuned = read("fine/last.safetensors");
    assert!(
        tuned
            .iter()
            .filter(|(name, _)| !name.ends_with(".mean") && !name.ends_with(".var"))
            .all(|(n, v)| after[n] == *v)
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = folder("refused");
    let case = |command: &mut Command, code: i32, want: &str| {
        let (message, got) = refused(command);
        assert!(message.contains(want), "{message}\ndoes not say\n{want}");
        assert_eq!(got, code, "{message}");
    };
    let data = |spec: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rectify"));
        command.current_dir(&folder).args(["train", "net.rect", "--run", "no", "--data", spec]);
        command
    };
    case(&mut data("synth:blobs"), 1, "no such generated set");
    case(&mut data("nowhere"), 1, "no such file or folder");
    case(&mut data("synth:shapes,n=300,size=14"), 1, "axis 2 must be 12");
    let other = NET.replace("dense(10)", "dense(7)").replace("N, 10]", "N, 7]");
    std::fs::write(folder.join("seven.rect"), other).unwrap();
    let mut seven = data("synth:shapes,n=300,size=12");
    case(seven.args(["--batch", "10"]), 0, "");
    std::fs::remove_dir_all(folder.join("no")).unwrap();
    let mut seven = Command::new(env!("CARGO_BIN_EXE_rectify"));
    seven.current_dir(&folder).args([
        "train",
        "seven.rect",
        "--data",
        "synth:shapes,n=300,size=12",
        "--run",
        "no",
    ]);
    case(&mut seven, 1, "the model has 7 classes, but synth:shapes,n=300,size=12,noise=0.08,seed=0 has 10");
    case(&mut train(&folder, "no", &["--resume"]), 2, "no run to resume in no");
    case(
        &mut train(&folder, "no", &["--betas", "0.9,0.99"]),
        2,
        "--betas does nothing with --optimiser momentum",
    );
    case(&mut train(&folder, "no", &["--rate", "-1"]), 2, "the learning rate is a positive number");
    case(&mut train(&folder, "no", &["--freeze", "c.*"]), 2, "no parameter's name matches `c.*`");
    case(&mut train(&folder, "no", &["--smoothing", "2"]), 1, "label smoothing lies in 0..1");
    case(&mut train(&folder, "no", &["--validation", "300"]), 1, "cannot cut 300 samples off 300");
    assert!(!folder.join("no").exists());

    done(&mut train(&folder, "run", &["--steps", "3"]));
    case(&mut train(&folder, "run", &["--steps", "3"]), 2, "there is a run in run already");
    let resume = |options: &[&str]| {
        let mut command = train(&folder, "run", options);
        command.arg("--resume");
        command
    };
    let options = ["--steps", "3", "--rate", "0.5", "--threads", "2"];
    case(&mut resume(&options), 2, "begun with other options: rate was 0.05, now 0.5");
    let checkpoint = folder.join("run/checkpoint.safetensors");
    let whole = std::fs::read(&checkpoint).unwrap();
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        std::fs::write(&checkpoint, bytes).unwrap();
    };
    damaged(&|bytes| bytes.truncate(bytes.len() / 2));
    case(&mut resume(&["--steps", "3"]), 1, "checkpoint.safetensors");
    damaged(&|bytes| *bytes.last_mut().unwrap() ^= 1);
    case(&mut resume(&["--steps", "3"]), 1, "the checkpoint is damaged");
    std::fs::copy(folder.join("run/last.safetensors"), &checkpoint).unwrap();
    case(&mut resume(&["--steps", "3"]), 1, "not a checkpoint");
    std::fs::write(&checkpoint, &whole).unwrap();
    std::fs::write(folder.join("run/metrics.jsonl"), "").unwrap();
    case(&mut resume(&["--steps", "3"]), 1, "but the checkpoint was written after");
    std::fs::write(folder.join("run/config.json"), "{").unwrap();
    case(&mut resume(&["--steps", "3"]), 1, "no configuration of a run");
}

fn eval(folder: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rectify"));
    command
        .current_dir(folder)
        .args(["eval", "net.rect", "--data", "synth:shapes,n=300,size=12"])
        .args(options);
    command
}

#[test]
fn evaluation_agrees_with_the_run_s_own_test() {
    let folder = folder("eval");
    for seed in ["4", "5"] {
        let run = format!("run{seed}");
        done(&mut train(&folder, &run, &["--steps", "40", "--rate", "0.1", "--test", "--seed", seed]));
    }
    let json = |options: &[&str]| -> serde_json::Value {
        let output = done(eval(&folder, options).arg("--json"));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let own = results(&folder.join("run4")).2.pop().unwrap();
    let (want_loss, want_error) = (own["loss"].as_f64().unwrap(), own["error"].as_f64().unwrap());
    let alone = json(&["--weights", "run4/best.safetensors"]);
    assert_eq!(alone["images"], 60);
    assert!((alone["loss"].as_f64().unwrap() - want_loss).abs() < 1e-4, "{alone} and {own}");
    assert!((alone["error"].as_f64().unwrap() - want_error).abs() < 0.02, "{alone} and {own}");
    // Another normalisation than that of the training makes other numbers.
    let raw = json(&["--weights", "run4/best.safetensors", "--normalise", "none"]);
    assert!((raw["loss"].as_f64().unwrap() - want_loss).abs() > 1e-3, "{raw} and {own}");
    let ten = json(&["--weights", "run4/best.safetensors", "--views", "ten", "--side", "14"]);
    let pair = json(&["--weights", "run4/best.safetensors", "--member", "net.rect,run5/best.safetensors"]);
    let same = json(&["--weights", "run4/best.safetensors", "--member", "run4/best.safetensors"]);
    assert!(ten["loss"] != alone["loss"] && pair["models"] == 2 && pair["loss"] != alone["loss"]);
    assert!((same["loss"].as_f64().unwrap() - want_loss).abs() < 1e-4);
    let text =
        String::from_utf8(done(&mut eval(&folder, &["--weights", "run4/best.safetensors"])).stdout).unwrap();
    assert!(text.starts_with("accuracy  ") && text.contains(" on 60 images\n"), "{text}");

    let case = |options: &[&str], code: i32, want: &str| {
        let (message, got) = refused(&mut eval(&folder, options));
        assert!(message.contains(want) && got == code, "{code}: {message}\ndoes not say\n{want}");
    };
    case(&["--side", "14"], 2, "--side does nothing with these views");
    case(&["--views", "dense"], 1, "one spatial pyramid pooling");
    case(&["--weights", "run4/metrics.jsonl"], 1, "metrics.jsonl");
    case(&["--views", "ten", "--side", "9"], 2, "a side of 12 or more, not 9");
}
