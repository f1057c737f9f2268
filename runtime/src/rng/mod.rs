//! Random parameter values: the same bits at any thread count, vector width, platform and layout.
//!
//! Element `i` of a parameter comes from word `i % 4` of Philox4x32-10 at counter `i / 4` (normals: words 2j and 2j+1 make
//! elements 2j and 2j+1), under a key hashed from the seed and the parameter's name ([`StreamKey::new`]). So any range of
//! elements can be generated alone: there is no state.

mod lanes;
mod matrix;
mod philox;
mod stream;
mod truncated;

pub use matrix::{MatrixError, dirac, orthogonal};
pub use philox::StreamKey;
pub use stream::Stream;
pub use truncated::truncated_std;

use crate::build::Build;
use lanes::{PER_COUNTER, Shape};
use truncated::Truncated;

/// A distribution whose elements are independent, as plain data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Normal with this mean and standard deviation.
    Normal { mean: f32, std: f32 },
    /// `mean + std · z` with z standard normal restricted to [lo, hi]; `lo < hi` are in standard deviations. `std` is the
    /// deviation before truncation; [`truncated_std`] gives the one after.
    TruncNormal { mean: f32, std: f32, lo: f32, hi: f32 },
    /// Uniform between the bounds.
    Uniform { lo: f32, hi: f32 },
    /// The same value everywhere.
    Constant(f32),
}

/// Writes elements `start .. start + out.len()` of parameter `name` into `out`.
pub fn fill(distribution: &Distribution, seed: u64, name: &str, start: u64, out: &mut [f32]) {
    fill_keyed(distribution, StreamKey::new(seed, name), start, out);
}

/// [`fill`] with the key of the stream at hand, for callers that generate a parameter in many pieces.
pub fn fill_keyed(distribution: &Distribution, key: StreamKey, start: u64, out: &mut [f32]) {
    let shape = match *distribution {
        Distribution::Normal { mean, std } => Shape::Normal { mean, std },
        Distribution::Uniform { lo, hi } => Shape::Uniform { lo, span: hi - lo },
        Distribution::Constant(value) => return out.fill(value),
        Distribution::TruncNormal { mean, std, lo, hi } => {
            let truncated = Truncated::new(f64::from(lo), f64::from(hi));
            let (mean, std) = (f64::from(mean), f64::from(std));
            return pieces(start, out, |counter, piece| {
                let mut words = [0; WORDS];
                for (i, part) in piece.chunks_mut(WORDS).enumerate() {
                    let counter = counter.wrapping_add((i * WORDS / PER_COUNTER) as u64);
                    Build::best().words(key, counter, &mut words[..part.len()]);
                    for (value, &word) in part.iter_mut().zip(&words) {
                        *value = (mean + std * truncated.sample(word)) as f32;
                    }
                }
            });
        }
    };
    let build = Build::best();
    pieces(start, out, |counter, piece| build.fill(shape, key, counter, piece));
}

/// Words drawn at a time for the truncated normal; a multiple of [`PER_COUNTER`].
const WORDS: usize = 256;

/// Splits a range of elements into pieces that begin at a counter and calls `fill(counter, piece)` for each.
///
/// A first element inside a counter's group of four is reached by generating the group aside.
fn pieces(start: u64, out: &mut [f32], fill: impl Fn(u64, &mut [f32])) {
    let skip = (start % PER_COUNTER as u64) as usize;
    let mut counter = start / PER_COUNTER as u64;
    let mut rest = out;
    if skip > 0 {
        let mut group = [0.0; PER_COUNTER];
        fill(counter, &mut group);
        let (head, tail) = rest.split_at_mut(rest.len().min(PER_COUNTER - skip));
        head.copy_from_slice(&group[skip..skip + head.len()]);
        rest = tail;
        counter += 1;
    }
    if !rest.is_empty() {
        fill(counter, rest);
    }
}

#[cfg(test)]
mod tests;
