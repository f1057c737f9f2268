//! The command line end to end: exit codes, and what stands on stdout and stderr.
//!
//! Each file of `tests/filetests/cli` holds cases: `==== name`, files to write (`>>>> NAME` and the lines of it), commands
//! (`$ rectify …`), then `----` and the expected output of all commands. `RECTIFY_BLESS=1` writes the present outputs into
//! the files. Every case runs in a folder of its own, in which also the files of [`fixtures`] lie.

use rectify::{Tensor, data};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn main() {
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    if std::env::args().any(|a| a == "--list") {
        println!("command_line: test");
        return;
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests/cli");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the folder").map(|e| e.expect("an entry").path()).collect();
    files.sort();
    let (mut run, mut failed) = (0, Vec::new());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file of cases");
        let mut blessed = String::new();
        for case in Case::all(&text) {
            let chosen = filter.as_ref().is_none_or(|f| case.name.contains(f.as_str()));
            let got = if chosen { case.run() } else { case.expected.clone() };
            run += usize::from(chosen);
            let _ = write!(blessed, "==== {}\n{}----\n{got}", case.name, case.input);
            if got != case.expected {
                failed.push(format!("{}\nexpected:\n{}\ngot:\n{got}", case.name, case.expected));
            }
        }
        if std::env::var_os("RECTIFY_BLESS").is_some() && blessed != text {
            std::fs::write(&file, blessed).expect("the cases can be written");
        }
    }
    if std::env::var_os("RECTIFY_BLESS").is_none() && !failed.is_empty() {
        eprintln!("{}", failed.join("\n"));
        eprintln!("{} of {run} cases failed; RECTIFY_BLESS=1 writes the present outputs", failed.len());
        std::process::exit(101);
    }
    println!("{run} cases of the command line passed");
}

struct Case {
    name: String,
    /// Files and commands as written.
    input: String,
    expected: String,
}

impl Case {
    fn all(text: &str) -> Vec<Case> {
        let parts = text.split("==== ").skip(1);
        parts
            .map(|part| {
                let (name, rest) = part.split_once('\n').expect("a name");
                let (input, expected) = rest.split_once("----\n").expect("a line ----");
                Case { name: name.to_owned(), input: input.to_owned(), expected: expected.to_owned() }
            })
            .collect()
    }

    fn run(&self) -> String {
        let folder =
            std::env::temp_dir().join(format!("rectify-cli-{}", std::process::id())).join(&self.name);
        std::fs::create_dir_all(&folder).expect("a folder");
        fixtures(&folder);
        let mut commands = Vec::new();
        let mut file: Option<(PathBuf, String)> = None;
        for line in self.input.lines() {
            let ends = line.starts_with(">>>> ") || line.starts_with("$ ");
            if let Some((path, text)) = file.take_if(|_| ends) {
                std::fs::write(path, text).expect("a file of the case");
            }
            if let Some(name) = line.strip_prefix(">>>> ") {
                file = Some((folder.join(name), String::new()));
            } else if let Some(command) = line.strip_prefix("$ rectify ") {
                commands.push(command);
            } else if let Some((_, text)) = &mut file {
                text.push_str(line);
                text.push('\n');
            }
        }
        let mut out = String::new();
        for command in commands {
            out.push_str(&execute(command, &folder));
        }
        std::fs::remove_dir_all(&folder).expect("the folder can go");
        out
    }
}

fn execute(command: &str, folder: &Path) -> String {
    let (command, stdin) = match command.split_once(" < ") {
        Some((command, file)) => {
            (command, Stdio::from(std::fs::File::open(folder.join(file)).expect("the file of stdin")))
        }
        None => (command, Stdio::null()),
    };
    let output = Command::new(env!("CARGO_BIN_EXE_rectify"))
        .args(command.split_whitespace())
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .stdin(stdin)
        .output()
        .expect("rectify starts");
    let mut text = String::new();
    if !output.status.success() {
        let _ =
            writeln!(text, "exit {}", output.status.code().map_or("by a signal".into(), |c| c.to_string()));
    }
    for bytes in [&output.stdout, &output.stderr] {
        let part = String::from_utf8_lossy(bytes);
        for line in part.lines() {
            text.push_str(&machine_free(line.trim_end()));
            text.push('\n');
        }
    }
    text
}

/// A line without what differs between machines: rounding errors and the CPU's level.
fn machine_free(line: &str) -> String {
    let line = line.split_once(", greatest difference ").map_or(line, |(before, _)| before);
    let native = format!("it runs {} and", rectify::machine::native_level());
    line.replace(&native, "it runs NATIVE and")
}

/// Small models, arrays and weights; and damaged ones.
fn fixtures(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("a fixture");
    write(
        "net.rect",
        b"rect 1\nmodel net(x: f32[N, 3]) -> (y: f32[N, 2]) {\n    x |> dense(4) as a |> prelu as a |> dense(2) as b\n}\n",
    );
    write(
        "image.rect",
        b"rect 1\nmodel image(x: f32[N, 1, H, W]) -> (y: f32[N, 1, H, W]) {\n    x |> conv(1, kernel: 3, pad: 1) as c\n}\n",
    );
    let array = |name: &str, shape: &[usize]| {
        let values = (0..shape.iter().product::<usize>()).map(|i| i as f32 / 8.0).collect::<Vec<_>>();
        data::write_npy(&folder.join(name), Tensor::new(shape, values).expect("a tensor").view())
            .expect("an array");
    };
    array("x.npy", &[2, 3]);
    array("wrong_rank.npy", &[3]);
    array("wrong_size.npy", &[2, 4]);
    let doubles = Tensor::new([1, 3], vec![0.0f64; 3]).expect("a tensor");
    data::write_npy(&folder.join("doubles.npy"), doubles.view()).expect("an array");
    let npy = std::fs::read(folder.join("x.npy")).expect("x.npy");
    write("short.npy", &npy[..140]);
    write("text.npy", b"1.0 2.0 3.0\n");
    write("bad.png", b"\x89PNG\r\n\x1a\nnothing of a picture");
    write("x.dat", &[0; 24]);
    write("empty.pb", b"");
    write("empty.onnx", b"");
    write("text.onnx", b"no model\n");
    write("binary.rect", &[0xff, 0xfe, 0, 1, 2]);
    let weights = |names: &[(&str, &[usize])]| {
        let tensors: Vec<_> = names
            .iter()
            .map(|(name, shape)| {
                let count = shape.iter().product();
                (*name, Tensor::new(*shape, vec![0.25f32; count]).expect("a tensor"))
            })
            .collect();
        safetensors_bytes(&tensors)
    };
    let right: &[(&str, &[usize])] = &[
        ("a.weight", &[4, 3]),
        ("a.bias", &[4]),
        ("a.slope", &[4]),
        ("b.weight", &[2, 4]),
        ("b.bias", &[2]),
    ];
    let good = weights(right);
    write("good.safetensors", &good);
    write("truncated.safetensors", &good[..good.len() - 9]);
    write("short_header.safetensors", &good[..20]);
    write("huge_header.safetensors", &[&[0xff; 7][..], &[0x7f], b"{}"].concat());
    write("missing.safetensors", &weights(&right[1..]));
    let renamed: Vec<_> =
        right.iter().map(|(n, s)| (if *n == "a.slope" { "a.slopes" } else { n }, *s)).collect();
    write("renamed.safetensors", &weights(&renamed));
    write(
        "transposed.safetensors",
        &weights(&[("a.weight", &[3, 4]), right[1], right[2], right[3], right[4]]),
    );
    let (a, b) = (Tensor::new([2, 2], vec![0f32; 4]), Tensor::new([1], vec![1f32]));
    let (a, b) = (a.expect("a tensor"), b.expect("a tensor"));
    let nodes = Tensor::new([2, 4], vec![0.25f32; 8]).expect("a tensor");
    data::write_npz(&folder.join("nodes.npz"), [("a.dense", nodes.view())]).expect("an archive");
    data::write_npz(&folder.join("zeros.npz"), [("y", a.view())]).expect("an archive");
    data::write_npz(&folder.join("strange.npz"), [("y", a.view()), ("z", b.view())]).expect("an archive");
}

/// A safetensors file by hand: the length of the header, the header, the numbers.
fn safetensors_bytes(tensors: &[(&str, Tensor)]) -> Vec<u8> {
    let (mut header, mut values) = (String::from("{"), Vec::new());
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        let start = values.len();
        values.extend_from_slice(tensor.view().bytes());
        let comma = if i == 0 { "" } else { "," };
        let (shape, end) = (tensor.shape(), values.len());
        let _ = write!(
            header,
            r#"{comma}"{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        );
    }
    header.push('}');
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &values].concat()
}
