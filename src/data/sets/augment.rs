//! Random changes to training images that leave the class as it is.
//!
//! Each has a stream of its own, keyed by (seed, epoch, sample), so that switching one on changes none of the others.

use super::{Image, Normalise};
use rectify_runtime::rng::{Stream, StreamKey};

/// What is done to an image, in this order; by default it is only brought to the set's size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Augment {
    pub jitter: Option<ScaleJitter>,
    pub crop: Option<PaddedCrop>,
    /// Mirrors half of the images, left to right.
    pub flip: bool,
    pub colour: Option<ColourJitter>,
    pub normalise: Option<Normalise>,
}

/// Scales the shorter side to a random length of `shortest..=longest` pixels and cuts a random window of the set's size
/// (He et al. 2015: 256 to 512, and 224). Both are at least the set's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleJitter {
    pub shortest: usize,
    pub longest: usize,
}

/// Adds a border of so many zero pixels and cuts a random window of the size before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PaddedCrop {
    pub border: usize,
}

/// Scales brightness, contrast and saturation by random factors of 1 ± the strength given, which is 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColourJitter {
    pub brightness: f32,
    pub contrast: f32,
    pub saturation: f32,
}

/// Which random numbers a sample gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    pub seed: u64,
    pub epoch: u64,
    pub sample: u32,
}

impl Draw {
    fn stream(self, what: &str) -> Stream {
        // An epoch beyond 2³² repeats an earlier one.
        Stream::new(StreamKey::new(self.seed, what), self.epoch << 32 | u64::from(self.sample))
    }
}

impl Augment {
    /// Why it does not fit images of a shape, if it does not.
    pub(super) fn check(&self, shape: [usize; 3]) -> Result<(), String> {
        let [_, height, width] = shape;
        if let Some(ScaleJitter { shortest, longest }) = self.jitter
            && (shortest < height.max(width) || longest < shortest || longest > MAX_SIDE)
        {
            return Err(format!(
                "scale jitter of {shortest} to {longest} pixels: it begins at {} or later, and ends before {MAX_SIDE}",
                height.max(width)
            ));
        }
        if let Some(PaddedCrop { border }) = self.crop
            && border >= height.min(width)
        {
            return Err(format!("a border of {border} pixels is as large as the image, {height} x {width}"));
        }
        if let Some(ColourJitter { brightness, contrast, saturation }) = self.colour
            && ![brightness, contrast, saturation].iter().all(|v| (0.0..=1.0).contains(v))
        {
            return Err("colour jitter has strengths of 0 to 1".into());
        }
        self.normalise.as_ref().map_or(Ok(()), |n| n.check(shape))
    }

    pub(super) fn apply(&self, image: Image, [_, height, width]: [usize; 3], draw: Draw) -> Image {
        let mut image = match self.jitter {
            Some(jitter) => jitter.apply(&image, height, width, &mut draw.stream("augment jitter")),
            None if (image.height, image.width) == (height, width) => image,
            None => image.fit(height, width),
        };
        if let Some(crop) = self.crop {
            image = crop.apply(&image, &mut draw.stream("augment crop"));
        }
        if self.flip && draw.stream("augment flip").coin() {
            image = image.flip();
        }
        if let Some(colour) = self.colour {
            image = colour.apply(image, &mut draw.stream("augment colour"));
        }
        if let Some(normalise) = &self.normalise {
            image = normalise.apply(image);
        }
        image
    }
}

/// Of a scaled image's shorter side.
const MAX_SIDE: usize = 4096;

impl ScaleJitter {
    /// A window of `height` x `width`.
    pub fn apply(self, image: &Image, height: usize, width: usize, random: &mut Stream) -> Image {
        let side = self.shortest + pick(random, self.longest - self.shortest);
        let scaled = image.with_shorter(side);
        let top = pick(random, scaled.0.saturating_sub(height));
        let left = pick(random, scaled.1.saturating_sub(width));
        image.resize_window(scaled, top..top + height, left..left + width)
    }
}

impl PaddedCrop {
    /// The same size, shifted by up to `border` pixels each way.
    pub fn apply(self, image: &Image, random: &mut Stream) -> Image {
        let mut shift = || pick(random, 2 * self.border) as isize - self.border as isize;
        let (top, left) = (shift(), shift());
        image.crop(top, left, image.height, image.width)
    }
}

/// One of `0..=most`.
fn pick(random: &mut Stream, most: usize) -> usize {
    random.below(u32::try_from(most).unwrap_or(u32::MAX).saturating_add(1)) as usize
}

impl ColourJitter {
    /// The same picture in another light; values stay within 0 to 1.
    pub fn apply(self, mut image: Image, random: &mut Stream) -> Image {
        let mut factor = |strength: f32| random.range(1.0 - strength, 1.0 + strength);
        let (brightness, contrast) = (factor(self.brightness), factor(self.contrast));
        let saturation = factor(self.saturation);
        let mean = image.values.iter().sum::<f32>() / image.values.len().max(1) as f32;
        let pixels = image.height * image.width;
        for pixel in 0..pixels {
            let channels = (0..image.channels).map(|c| image.values[c * pixels + pixel]);
            let grey = channels.sum::<f32>() / image.channels as f32;
            for c in 0..image.channels {
                let value = &mut image.values[c * pixels + pixel];
                let coloured = grey + saturation * (*value - grey);
                *value = (brightness * (mean + contrast * (coloured - mean))).clamp(0.0, 1.0);
            }
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(lane: u64) -> Stream {
        Stream::new(StreamKey::new(1, "test"), lane)
    }

    fn numbered(channels: usize, height: usize, width: usize) -> Image {
        let values = (1..=channels * height * width).map(|i| i as f32 / 1000.0).collect();
        Image { channels, height, width, values }
    }

    #[test]
    fn padded_crops_reach_every_shift_and_no_other() {
        let image = numbered(2, 5, 4);
        let mut seen = std::collections::BTreeSet::new();
        for lane in 0..400 {
            let cut = PaddedCrop { border: 2 }.apply(&image, &mut stream(lane));
            let shifts = (-2..=2).flat_map(|top| (-2..=2).map(move |left| (top, left)));
            let shift = shifts.into_iter().find(|&(top, left)| image.crop(top, left, 5, 4) == cut);
            seen.insert(shift.expect("a shift of the image"));
        }
        assert_eq!(seen.len(), 25);
        assert_eq!(PaddedCrop { border: 0 }.apply(&image, &mut stream(0)), image);
    }

    #[test]
    fn half_of_the_images_are_mirrored() {
        let (image, augment) = (numbered(1, 3, 3), Augment { flip: true, ..Augment::default() });
        let apply = |sample, epoch| augment.apply(image.clone(), [1, 3, 3], Draw { seed: 9, epoch, sample });
        let mirrored = (0..1000).filter(|&sample| apply(sample, 0) != image).count();
        assert!((420..580).contains(&mirrored), "{mirrored}");
        assert!((0..1000).all(|s| apply(s, 0) == image || apply(s, 0) == image.clone().flip()));
        assert!((0..50).any(|epoch| apply(0, epoch) != apply(0, 0)));
    }

    #[test]
    fn scale_jitter_cuts_a_window_of_a_scaled_image() {
        let image = numbered(1, 6, 9);
        let jitter = ScaleJitter { shortest: 4, longest: 12 };
        let mut seen = std::collections::BTreeSet::new();
        for lane in 0..300 {
            let cut = jitter.apply(&image, 4, 4, &mut stream(lane));
            assert_eq!((cut.height, cut.width), (4, 4));
            let found = (4..=12).find(|&side| {
                let (height, width) = image.with_shorter(side);
                let whole = image.resize(height, width);
                let places = (0..=height - 4).flat_map(|top| (0..=width - 4).map(move |left| (top, left)));
                places.into_iter().any(|(top, left)| whole.crop(top as isize, left as isize, 4, 4) == cut)
            });
            seen.insert(found.expect("a window"));
        }
        assert_eq!(seen, (4..=12).collect());
    }

    #[test]
    fn colours_change_within_their_strengths() {
        let image = Image { channels: 3, height: 1, width: 2, values: vec![0.2, 0.4, 0.3, 0.5, 0.4, 0.6] };
        let none = ColourJitter { brightness: 0.0, contrast: 0.0, saturation: 0.0 };
        let close = |a: &Image, b: &Image| a.values.iter().zip(&b.values).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(&none.apply(image.clone(), &mut stream(0)), &image));
        for lane in 0..50 {
            let bright = ColourJitter { brightness: 0.5, ..none }.apply(image.clone(), &mut stream(lane));
            let factor = bright.values[0] / image.values[0];
            assert!((0.5..=1.5).contains(&factor));
            let scaled = image.values.iter().map(|v| v * factor).collect();
            assert!(close(&bright, &Image { values: scaled, ..image.clone() }));
            let grey = ColourJitter { saturation: 1.0, ..none }.apply(image.clone(), &mut stream(lane));
            let sum = |image: &Image| image.values[0] + image.values[2] + image.values[4];
            assert!((sum(&grey) - sum(&image)).abs() < 1e-5, "the grey part stays");
            let contrast = ColourJitter { contrast: 1.0, ..none }.apply(image.clone(), &mut stream(lane));
            let mean = |image: &Image| image.values.iter().sum::<f32>() / 6.0;
            assert!((mean(&contrast) - mean(&image)).abs() < 1e-5, "the mean stays");
            assert!(!close(&contrast, &image) && !close(&grey, &image));
        }
        let all = ColourJitter { brightness: 1.0, contrast: 1.0, saturation: 1.0 };
        assert!(all.apply(image, &mut stream(3)).values.iter().all(|v| (0.0..=1.0).contains(v)));
    }
}
