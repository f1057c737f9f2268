//! Inputs of a run: from files, pictures and generators, and sizes that follow from them.

use super::failure::{Failure, note};
use rectify::data::{self, Generator, Layout, PictureOptions, Resize, Want};
use rectify::{PortInfo, Tensor, TensorView};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(next_help_heading = "Inputs")]
pub struct InputArgs {
    /// An input: a .npy, .npz, .safetensors, .pb, .png or .jpg file, or random, ramp or zeros. The name may be left out
    /// where the model has one input. Inputs that are not given are random from the seed
    #[arg(short, long, value_name = "NAME=FILE")]
    pub input: Vec<String>,
    /// Pictures: factor on pixels of 0 to 255, a number or a fraction [default: 1/255]
    #[arg(long, value_parser = fraction)]
    scale: Option<f32>,
    /// Pictures: subtracted after scaling, one number or one a channel
    #[arg(long, value_delimiter = ',', value_name = "A,B,C", allow_negative_numbers = true)]
    mean: Vec<f32>,
    /// Pictures: divided by after that, one number or one a channel
    #[arg(long, value_delimiter = ',', value_name = "A,B,C")]
    std: Vec<f32>,
    /// Pictures: nchw or nhwc [default: nchw]
    #[arg(long)]
    layout: Option<Layout>,
    /// Pictures: WIDTHxHEIGHT, or the shorter side alone
    #[arg(long, value_name = "SIZE")]
    resize: Option<Resize>,
}

/// Tensors for a model's inputs, in its order.
pub struct Inputs {
    pub names: Vec<String>,
    pub tensors: Vec<Tensor>,
}

/// Where one input comes from.
enum Origin {
    File(PathBuf),
    Made(Generator),
    Ready(Tensor),
}

impl InputArgs {
    /// Reads and makes all inputs. `ready` are tensors that stand in where the options give none.
    pub fn load(
        &self,
        ports: &[PortInfo],
        sizes: &[(String, i64)],
        seed: u64,
        ready: impl Fn(&str) -> Option<Tensor>,
    ) -> Result<Inputs, Failure> {
        let mut origins: Vec<Option<Origin>> = ports.iter().map(|_| None).collect();
        for text in &self.input {
            let (at, value) = assign(text, ports)?;
            let origin = value.parse().map_or_else(|()| Origin::File(PathBuf::from(value)), Origin::Made);
            if origins[at].replace(origin).is_some() {
                return Err(Failure::usage(format!("the input `{}` is given twice", ports[at].name)));
            }
        }
        let is_picture = |o: &Option<Origin>| matches!(o, Some(Origin::File(path)) if picture_file(path));
        if !origins.iter().any(is_picture) {
            self.refuse_picture_options()?;
        }
        let pictures = self.picture_options();
        let mut known: BTreeMap<String, i64> = sizes.iter().cloned().collect();
        let mut tensors: Vec<Option<Tensor>> = Vec::new();
        for (port, origin) in ports.iter().zip(&mut origins) {
            if origin.is_none() {
                *origin = ready(&port.name).map(Origin::Ready);
            }
            let tensor = match origin.take() {
                Some(Origin::File(path)) => Some(read(&path, port, &known, &pictures)?),
                Some(Origin::Ready(tensor)) => Some(tensor),
                made => {
                    *origin = made;
                    None
                }
            };
            if let Some(tensor) = &tensor {
                learn(port, tensor.shape(), &mut known);
            }
            tensors.push(tensor);
        }
        // Generated inputs come last: their sizes may follow from those of the others.
        let mut finished = Vec::new();
        for ((port, origin), tensor) in ports.iter().zip(origins).zip(tensors) {
            let tensor = match (tensor, origin) {
                (Some(tensor), _) => tensor,
                (None, Some(Origin::Made(generator))) => generate(port, generator, &known, seed)?,
                (None, _) => {
                    let tensor = generate(port, Generator::Random, &known, seed)?;
                    note(&format!("input {}: random {:?} from seed {seed}", port.name, tensor.shape()));
                    tensor
                }
            };
            finished.push(tensor);
        }
        Ok(Inputs { names: ports.iter().map(|p| p.name.to_string()).collect(), tensors: finished })
    }

    fn picture_options(&self) -> PictureOptions {
        let default = PictureOptions::default();
        let or = |given: &Vec<f32>, default| if given.is_empty() { default } else { given.clone() };
        PictureOptions {
            scale: self.scale.unwrap_or(default.scale),
            mean: or(&self.mean, default.mean),
            std: or(&self.std, default.std),
            layout: self.layout.unwrap_or(default.layout),
            resize: self.resize,
        }
    }

    /// An option that does nothing is likely a mistake.
    fn refuse_picture_options(&self) -> Result<(), Failure> {
        let given = [
            ("--scale", self.scale.is_some()),
            ("--mean", !self.mean.is_empty()),
            ("--std", !self.std.is_empty()),
            ("--layout", self.layout.is_some()),
            ("--resize", self.resize.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(Failure::usage(format!("{option} does nothing: no input is a picture"))),
            None => Ok(()),
        }
    }
}

impl Inputs {
    /// Forgets those that are not among `ports`.
    pub fn keep(&mut self, ports: &[PortInfo]) {
        let all = self.names.drain(..).zip(self.tensors.drain(..));
        let kept = all.filter(|(name, _)| ports.iter().any(|p| p.name.as_ref() == name));
        (self.names, self.tensors) = kept.collect::<Vec<_>>().into_iter().unzip();
    }

    /// Names with views, as runs take them.
    pub fn views(&self) -> Vec<(&str, TensorView<'_>)> {
        self.names.iter().map(String::as_str).zip(self.tensors.iter().map(Tensor::view)).collect()
    }
}

/// Which input `NAME=VALUE` speaks of, and the value.
fn assign<'t>(text: &'t str, ports: &[PortInfo]) -> Result<(usize, &'t str), Failure> {
    let find = |name: &str| ports.iter().position(|p| p.name.as_ref() == name);
    match text.split_once('=') {
        Some((name, value)) if find(name).is_some() => Ok((find(name).unwrap_or(0), value)),
        None if ports.len() == 1 => Ok((0, text)),
        // A file whose name has a `=`.
        Some(_) if ports.len() == 1 && Path::new(text).exists() => Ok((0, text)),
        Some((name, _)) => {
            let near = rectify::diag::suggest(name, ports.iter().map(|p| p.name.as_ref()));
            let failure = Failure::usage(format!("the model has no input `{name}`"));
            Err(failure.help(near.unwrap_or_else(|| format!("its inputs are {}", list(ports)))))
        }
        None => {
            let failure = Failure::usage(format!("which input is `{text}` for?"));
            Err(failure.help(format!("write NAME={text}; the inputs are {}", list(ports))))
        }
    }
}

fn list(ports: &[PortInfo]) -> String {
    ports.iter().map(|p| format!("`{}`", p.name)).collect::<Vec<_>>().join(", ")
}

fn picture_file(path: &Path) -> bool {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    matches!(ending.as_str(), "png" | "jpg" | "jpeg")
}

fn read(
    path: &Path,
    port: &PortInfo,
    known: &BTreeMap<String, i64>,
    pictures: &PictureOptions,
) -> Result<Tensor, Failure> {
    let shape: Vec<_> = port
        .ty
        .shape
        .iter()
        .map(|d| d.eval(&|name| known.get(name).copied()).ok().and_then(|v| usize::try_from(v).ok()))
        .collect();
    let want = Want { name: &port.name, dtype: port.ty.dtype, shape: &shape };
    Ok(data::read(path, &want, pictures)?)
}

/// Remembers sizes that stand alone in the input's type.
fn learn(port: &PortInfo, shape: &[usize], known: &mut BTreeMap<String, i64>) {
    for (dim, size) in port.ty.shape.iter().zip(shape) {
        if let Some(name) = dim.as_sym() {
            known.entry(name.to_owned()).or_insert(*size as i64);
        }
    }
}

fn generate(
    port: &PortInfo,
    generator: Generator,
    known: &BTreeMap<String, i64>,
    seed: u64,
) -> Result<Tensor, Failure> {
    let mut shape = Vec::new();
    for dim in &port.ty.shape {
        let value = dim.eval(&|name| known.get(name).copied());
        let size = value.ok().and_then(|v| usize::try_from(v).ok());
        shape.push(size.ok_or_else(|| {
            let mut names = std::collections::BTreeSet::new();
            dim.collect_symbols(&mut names);
            let missing: Vec<_> = names.iter().filter(|n| !known.contains_key(n.as_ref())).collect();
            let help = missing.iter().map(|n| format!("--set {n}=…")).collect::<Vec<_>>().join(" ");
            let message = format!("the size {dim} of input `{}` ({}) is not known", port.name, port.ty);
            Failure::usage(message).help(format!("give {help}, or an input file"))
        })?);
    }
    let tensor = generator.make(&port.name, port.ty.dtype, &shape, seed);
    tensor.map_err(|e| Failure::Library(e.into()))
}

fn fraction(text: &str) -> Result<f32, String> {
    let number = |t: &str| t.trim().parse::<f32>().map_err(|_| format!("`{t}` is not a number"));
    let value = match text.split_once('/') {
        Some((a, b)) => number(a)? / number(b)?,
        None => number(text)?,
    };
    if value.is_finite() { Ok(value) } else { Err("not a finite number".into()) }
}
