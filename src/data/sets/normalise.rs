//! Subtraction of a mean and division by a standard deviation, both measured on a training set.

use super::{DataError, Dataset, Image};

/// `(value − mean) / std`.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalise {
    /// One a channel, or one a pixel of a channel.
    pub mean: Vec<f32>,
    /// One a channel.
    pub std: Vec<f32>,
}

impl Normalise {
    /// Mean and standard deviation of each channel over a whole set, which is read once.
    pub fn per_channel(set: &Dataset) -> Result<Normalise, DataError> {
        let [channels, height, width] = set.shape();
        let sums = Sums::of(set)?;
        let count = set.len() as f64 * (height * width) as f64;
        let plane = |values: &[f64], c: usize| {
            values[c * height * width..(c + 1) * height * width].iter().sum::<f64>() / count
        };
        let means: Vec<f64> = (0..channels).map(|c| plane(&sums.values, c)).collect();
        let std = means.iter().enumerate().map(|(c, mean)| deviation(plane(&sums.squares, c) - mean * mean));
        Ok(Normalise { std: std.collect(), mean: means.iter().map(|&m| m as f32).collect() })
    }

    /// The mean of each pixel, and the standard deviation of what is left in each channel.
    pub fn per_pixel(set: &Dataset) -> Result<Normalise, DataError> {
        let [_, height, width] = set.shape();
        let sums = Sums::of(set)?;
        let count = set.len() as f64;
        let means: Vec<f64> = sums.values.iter().map(|sum| sum / count).collect();
        let variances: Vec<f64> =
            sums.squares.iter().zip(&means).map(|(square, mean)| square / count - mean * mean).collect();
        let planes = variances.chunks_exact(height * width);
        let std = planes.map(|plane| deviation(plane.iter().sum::<f64>() / plane.len() as f64)).collect();
        Ok(Normalise { mean: means.into_iter().map(|m| m as f32).collect(), std })
    }

    /// With one mean a channel, that of its pixels: for images of any size.
    pub fn by_channel(&self) -> Normalise {
        let plane = self.mean.len() / self.std.len().max(1);
        let mean =
            |values: &[f32]| values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len().max(1) as f64;
        let means = self.mean.chunks(plane.max(1)).map(|values| mean(values) as f32).collect();
        Normalise { mean: means, std: self.std.clone() }
    }

    /// Whether it has as many numbers as images of this shape need, and divides by none that is 0.
    pub(crate) fn check(&self, [channels, height, width]: [usize; 3]) -> Result<(), String> {
        let pixels = channels * height * width;
        if ![channels, pixels].contains(&self.mean.len()) || self.std.len() != channels {
            return Err(format!(
                "normalisation has {} means and {} deviations; images of {channels} x {height} x {width} take \
                 {channels} or {pixels} and {channels}",
                self.mean.len(),
                self.std.len()
            ));
        }
        if self.std.iter().any(|s| !s.is_normal() || *s < 0.0) || self.mean.iter().any(|m| !m.is_finite()) {
            return Err("normalisation needs finite means and positive deviations".into());
        }
        Ok(())
    }

    /// The image normalised; it has the shape that this was made for.
    pub fn apply(&self, mut image: Image) -> Image {
        let plane = image.height * image.width;
        for (c, values) in image.values.chunks_exact_mut(plane.max(1)).enumerate() {
            let factor = 1.0 / self.std[c];
            if self.mean.len() == self.std.len() {
                values.iter_mut().for_each(|v| *v = (*v - self.mean[c]) * factor);
            } else {
                let means = &self.mean[c * plane..(c + 1) * plane];
                values.iter_mut().zip(means).for_each(|(v, mean)| *v = (*v - mean) * factor);
            }
        }
        image
    }
}

/// Of something constant, 1, so that nothing is divided by 0.
fn deviation(variance: f64) -> f32 {
    let std = variance.max(0.0).sqrt() as f32;
    if std > 1e-6 { std } else { 1.0 }
}

/// Sums over a set for each pixel of each channel; in f64, in the set's order.
struct Sums {
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    fn of(set: &Dataset) -> Result<Sums, DataError> {
        let [channels, height, width] = set.shape();
        let zeros = vec![0.0; channels * height * width];
        let mut sums = Sums { values: zeros.clone(), squares: zeros };
        for index in 0..set.len() {
            let image = set.image(index)?.fit(height, width);
            for ((sum, square), value) in sums.values.iter_mut().zip(&mut sums.squares).zip(&image.values) {
                let value = f64::from(*value);
                *sum += value;
                *square += value * value;
            }
        }
        Ok(sums)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Pixels, Store, Targets, numbered};
    use super::*;

    /// Two images of two channels of two pixels.
    fn set() -> Dataset {
        let values = vec![0.0, 1.0, 5.0, 5.0, 2.0, 3.0, 5.0, 5.0];
        let targets = Targets::Classes { names: numbered(1), labels: vec![0, 0] };
        let store = Store { source: "set".into(), targets, shape: [2, 1, 2], pixels: Pixels::Floats(values) };
        Dataset::new(store).unwrap()
    }

    #[test]
    fn channels_get_mean_0_and_deviation_1() {
        let normalise = Normalise::per_channel(&set()).unwrap();
        // Mean 1.5, variance (2.25 + 0.25 + 0.25 + 2.25) / 4; the other channel is constant.
        assert_eq!((normalise.mean, normalise.std), (vec![1.5, 5.0], vec![1.25f32.sqrt(), 1.0]));
    }

    #[test]
    fn pixels_have_means_of_their_own() {
        let normalise = Normalise::per_pixel(&set()).unwrap();
        assert_eq!((&normalise.mean[..], &normalise.std[..]), (&[1.0, 2.0, 5.0, 5.0][..], &[1.0, 1.0][..]));
        let image = normalise.apply(set().image(1).unwrap());
        assert_eq!(image.values, [1.0, 1.0, 0.0, 0.0]);
        let half = Normalise { mean: vec![1.0, 5.0], std: vec![2.0, 1.0] };
        assert_eq!(half.apply(set().image(1).unwrap()).values, [0.5, 1.0, 0.0, 0.0]);
        assert!(half.check([2, 1, 2]).is_ok() && half.check([1, 1, 2]).is_err());
    }
}
