//! Data sets by a short text, as on the command line.

use super::{DataError, Folder, Sets, Shapes, cifar, folder, idx, npz};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a data set comes from. Its `Display` is a text that parses to the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// `idx:DIR`: the MNIST family's files, plain or gzipped.
    Idx(PathBuf),
    /// `cifar10:DIR`: the binary form.
    Cifar10(PathBuf),
    /// `folder:DIR[,size=…][,channels=…]`: pictures, a folder a class.
    Folder(Folder),
    /// `npz:FILE`: arrays `x` and `y`.
    Npz(PathBuf),
    /// `synth:shapes[,n=…][,size=…][,noise=…][,seed=…]`: figures drawn by code.
    Shapes(Shapes),
}

const HELP: &str = "known are idx:DIR, cifar10:DIR, folder:DIR, npz:FILE and synth:shapes";
/// Sides of pictures.
const MAX_SIZE: usize = 4096;

impl Spec {
    /// Reads a spec; a path alone is recognised by what lies there.
    pub fn parse(text: &str) -> Result<Spec, DataError> {
        let fail = |message: &str| DataError::new(Path::new(text), message);
        let Some((kind, rest)) = text.split_once(':') else { return recognise(text) };
        let spec = match kind {
            "idx" => Spec::Idx(rest.into()),
            "cifar10" => Spec::Cifar10(rest.into()),
            "npz" => Spec::Npz(rest.into()),
            "folder" => {
                let (path, options) = Options::cut(text, rest);
                let mut folder = Folder { path: path.into(), size: None, channels: 3 };
                options.each(|name, value| match name {
                    "size" => value.number(1..=MAX_SIZE).map(|size| folder.size = Some(size)),
                    "channels" if matches!(value.text, "1" | "3") => {
                        value.number(1..=3).map(|c| folder.channels = c)
                    }
                    "channels" => Err(value.fail("is not 1 or 3")),
                    _ => Err(value.unknown("size and channels")),
                })?;
                Spec::Folder(folder)
            }
            "synth" => {
                let (figures, options) = Options::cut(text, rest);
                if figures != "shapes" {
                    return Err(fail("no such generated set").help("there is synth:shapes"));
                }
                let mut shapes = Shapes::default();
                options.each(|name, value| match name {
                    "n" => value.number(0..=usize::MAX).map(|n| shapes.count = n),
                    "size" => value.number(0..=usize::MAX).map(|size| shapes.size = size),
                    "noise" => value.parse().map(|noise| shapes.noise = noise),
                    "seed" => value.parse().map(|seed| shapes.seed = seed),
                    _ => Err(value.unknown("n, size, noise and seed")),
                })?;
                return Ok(Spec::Shapes(shapes));
            }
            _ => return recognise(text),
        };
        if rest.is_empty() { Err(fail("names no path").help(HELP)) } else { Ok(spec) }
    }

    /// Reads (or draws) the sets.
    pub fn load(&self) -> Result<Sets, DataError> {
        match self {
            Spec::Idx(path) => idx::load(path),
            Spec::Cifar10(path) => cifar::load(path),
            Spec::Folder(spec) => folder::load(spec),
            Spec::Npz(path) => npz::load(path),
            Spec::Shapes(shapes) => shapes.load(self.to_string().into()),
        }
    }
}

impl FromStr for Spec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Spec, DataError> {
        Spec::parse(text)
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Spec::Idx(path) => write!(f, "idx:{}", path.display()),
            Spec::Cifar10(path) => write!(f, "cifar10:{}", path.display()),
            Spec::Npz(path) => write!(f, "npz:{}", path.display()),
            Spec::Folder(Folder { path, size, channels }) => {
                write!(f, "folder:{}", path.display())?;
                size.map_or(Ok(()), |size| write!(f, ",size={size}"))?;
                write!(f, ",channels={channels}")
            }
            Spec::Shapes(Shapes { count, size, noise, seed }) => {
                write!(f, "synth:shapes,n={count},size={size},noise={noise},seed={seed}")
            }
        }
    }
}

fn recognise(text: &str) -> Result<Spec, DataError> {
    let path = Path::new(text);
    let fail = |message: &str| DataError::new(path, message);
    if path.is_file() && crate::data::ending(path) == "npz" {
        Ok(Spec::Npz(path.into()))
    } else if path.is_file() {
        Err(fail("is no data set").help(HELP))
    } else if idx::recognised(path) {
        Ok(Spec::Idx(path.into()))
    } else if cifar::recognised(path) {
        Ok(Spec::Cifar10(path.into()))
    } else if folder::recognised(path) {
        Ok(Spec::Folder(Folder { path: path.into(), size: None, channels: 3 }))
    } else if path.is_dir() {
        Err(fail("is a folder, but of no known data set").help(HELP))
    } else {
        Err(fail("no such file or folder, and no spec of a data set").help(HELP))
    }
}

/// The options at the end of a spec.
struct Options<'a> {
    spec: &'a str,
    options: Vec<(&'a str, &'a str)>,
}

/// What an option is given.
struct Value<'a> {
    spec: &'a str,
    name: &'a str,
    text: &'a str,
}

impl<'a> Options<'a> {
    /// Cuts `,name=value` off the end, as often as there is one: paths may have commas.
    fn cut(spec: &'a str, mut rest: &'a str) -> (&'a str, Options<'a>) {
        let mut options = Vec::new();
        while let Some((before, option)) = rest.rsplit_once(',')
            && let Some(option) = option.split_once('=')
        {
            options.push(option);
            rest = before;
        }
        options.reverse();
        (rest, Options { spec, options })
    }

    fn each(self, mut set: impl FnMut(&'a str, Value<'a>) -> Result<(), DataError>) -> Result<(), DataError> {
        self.options.into_iter().try_for_each(|(name, text)| set(name, Value { spec: self.spec, name, text }))
    }
}

impl Value<'_> {
    fn fail(&self, message: &str) -> DataError {
        DataError::new(Path::new(self.spec), format!("{} = `{}` {message}", self.name, self.text))
    }

    fn unknown(&self, known: &str) -> DataError {
        DataError::new(Path::new(self.spec), format!("no option `{}`", self.name))
            .help(format!("there are {known}"))
    }

    fn parse<T: FromStr>(&self) -> Result<T, DataError> {
        self.text.parse().map_err(|_| self.fail("is not a number that fits"))
    }

    fn number(&self, range: std::ops::RangeInclusive<usize>) -> Result<usize, DataError> {
        let value = self.parse()?;
        if range.contains(&value) {
            return Ok(value);
        }
        Err(self.fail(&format!("is not {} to {}", range.start(), range.end())))
    }
}
