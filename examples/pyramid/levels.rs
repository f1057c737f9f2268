//! Pictures in many sizes, and how long a network of symbolic sizes takes on each.

use rectify::data::{self, PictureOptions, Resize, Want};
use rectify::{Compiled, DType, Outputs, Tensor};
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

/// Each level is smaller than the one before by this factor.
const SHRINK: f64 = 0.84;

/// A level of the pyramid: what went in, what came out, and how long it took.
pub struct Level {
    pub input: Tensor,
    pub outputs: Outputs,
    /// Of the first run with this size.
    pub first: Duration,
    /// Of the fastest of several runs after it.
    pub again: Duration,
}

/// The picture in `levels` sizes, the first `height` high.
pub fn pictures(path: &Path, levels: usize, height: u32) -> Result<Vec<Tensor>, Box<dyn Error>> {
    let one = |level: usize| {
        let side = (f64::from(height) * SHRINK.powi(level as i32)).round() as u32;
        let want = Want { name: "picture", dtype: DType::F32, shape: &[Some(1), Some(3), None, None] };
        let options = PictureOptions {
            scale: 1.0 / 128.0,
            mean: vec![127.5 / 128.0],
            resize: Some(Resize::Exact { width: side + side / 3, height: side }),
            ..PictureOptions::default()
        };
        Ok(data::read(path, &want, &options)?)
    };
    (0..levels).map(one).collect()
}

/// Runs a network of one input on every picture, each several times.
pub fn run(network: &Compiled, pictures: Vec<Tensor>) -> Result<Vec<Level>, Box<dyn Error>> {
    let name = network.inputs()[0].name.clone();
    let mut levels = Vec::new();
    for input in pictures {
        let timed = || -> Result<(Duration, Outputs), Box<dyn Error>> {
            let start = Instant::now();
            let outputs = network.run(&[(&name, input.view())])?;
            Ok((start.elapsed(), outputs))
        };
        let (first, outputs) = timed()?;
        let mut again = Duration::MAX;
        for _ in 0..8 {
            again = again.min(timed()?.0);
        }
        levels.push(Level { input, outputs, first, again });
    }
    Ok(levels)
}

/// Prepares the network for the sizes of all pictures.
pub fn prepare(network: &Compiled, pictures: &[Tensor]) -> Result<(), Box<dyn Error>> {
    let name = network.inputs()[0].name.clone();
    for picture in pictures {
        let sizes = network.sizes_of(&[(&name, picture.view())])?;
        let sizes: Vec<(&str, i64)> = sizes.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        network.prepare(&sizes)?;
    }
    Ok(())
}

/// A line a level, in milliseconds.
pub fn table(levels: &[Level]) -> String {
    let line = |level: &Level| {
        let (first, again) = (level.first.as_secs_f64() * 1e3, level.again.as_secs_f64() * 1e3);
        let [.., height, width] = level.input.shape() else { return String::new() };
        let places = level.outputs.iter().map(|(_, t)| t.shape().iter().product::<usize>()).sum::<usize>();
        let more = first - again;
        format!(
            "{width:>4} x {height:<4} first {first:7.3} ms, again {again:7.3} ms, more {more:6.3} ms, {places} results\n"
        )
    };
    levels.iter().map(line).collect()
}
