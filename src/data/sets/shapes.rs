//! `synth:shapes`: ten figures drawn by code, so that training needs no files.
//!
//! Place, size, rotation, contrast, background, clutter and noise are random, so that no pixel tells a class. Arithmetic is
//! that of [`Stream`], of sums, products and square roots: the same bits on every machine.

use super::{DataError, Dataset, Pixels, Sets, Store, Targets};
use rectify_runtime::rng::{Stream, StreamKey};
use std::path::PathBuf;

/// Which figures are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shapes {
    /// Images of the training set; the test set has a fifth as many.
    pub count: usize,
    /// Height and width.
    pub size: usize,
    /// Standard deviation of the noise, where black to white is 1.
    pub noise: f32,
    pub seed: u64,
}

impl Default for Shapes {
    fn default() -> Shapes {
        Shapes { count: 20_000, size: 28, noise: 0.08, seed: 0 }
    }
}

const CLASSES: [&str; 10] =
    ["disc", "ring", "square", "triangle", "cross", "star", "bar", "arc", "corner", "crescent"];
const SIZES: std::ops::RangeInclusive<usize> = 12..=256;
const MAX_BYTES: usize = 2 << 30;
/// Half the height of a figure, relative to the image's.
const RADIUS: [f32; 2] = [0.24, 0.4];
/// How much lighter or darker a figure is than its background.
const CONTRAST: [f32; 2] = [0.3, 0.6];

impl Shapes {
    pub(super) fn load(&self, source: PathBuf) -> Result<Sets, DataError> {
        let fail = |message: String| Err(DataError::new(&source, message));
        if !SIZES.contains(&self.size) {
            return fail(format!("size {} is not {} to {}", self.size, SIZES.start(), SIZES.end()));
        }
        if !(0.0..=1.0).contains(&self.noise) {
            return fail(format!("noise {} is not 0 to 1", self.noise));
        }
        let most = MAX_BYTES / (self.size * self.size);
        if !(CLASSES.len()..=most).contains(&self.count) {
            return fail(format!("n {} is not {} to {most}", self.count, CLASSES.len()));
        }
        let test = (self.count / 5).max(CLASSES.len());
        Ok(Sets {
            train: self.draw(source.clone(), "train", self.count)?,
            test: Some(self.draw(source, "test", test)?),
        })
    }

    fn draw(&self, source: PathBuf, set: &str, count: usize) -> Result<Dataset, DataError> {
        let key = StreamKey::new(self.seed, &format!("synth shapes {set}"));
        let mut pixels = vec![0; count * self.size * self.size];
        for (i, image) in pixels.chunks_exact_mut(self.size * self.size).enumerate() {
            self.image(&mut Stream::new(key, i as u64), class_of(i), image);
        }
        Dataset::new(Store {
            source,
            targets: Targets::Classes {
                names: CLASSES.map(String::from).to_vec(),
                labels: (0..count).map(|i| class_of(i) as u32).collect(),
            },
            shape: [1, self.size, self.size],
            pixels: Pixels::Bytes(pixels),
        })
    }

    fn image(&self, random: &mut Stream, class: usize, out: &mut [u8]) {
        let size = self.size as f32;
        let contrast = random.range(CONTRAST[0], CONTRAST[1]);
        // Dark on light or light on dark; the middle level leaves room for both.
        let sign = if random.coin() { 1.0 } else { -1.0 };
        let level = 0.5 - sign * contrast * random.range(0.35, 0.65);
        let (slope, steepness) = (random.direction(), random.range(0.0, 0.3) / size);
        let mut layers = Vec::new();
        for _ in 0..2 + random.below(3) {
            // Clutter is smaller and fainter than the figure, which is drawn over it.
            let radius = random.range(0.04, 0.09) * size;
            let place = [random.range(0.0, size), random.range(0.0, size)];
            let shade = random.range(-0.35, 0.35);
            let figure = random.below(CLASSES.len() as u32) as usize;
            layers.push(Layer::new(random, figure, radius, place, shade));
        }
        let radius = random.range(RADIUS[0], RADIUS[1]) * size;
        let room = (radius, size - radius);
        let place = [random.range(room.0, room.1), random.range(room.0, room.1)];
        layers.push(Layer::new(random, class, radius, place, sign * contrast));

        for (y, line) in out.chunks_exact_mut(self.size).enumerate() {
            for pair in 0..line.len().div_ceil(2) {
                let noise = random.normals();
                for (x, noise) in [(2 * pair, noise.0), (2 * pair + 1, noise.1)] {
                    let Some(pixel) = line.get_mut(x) else { continue };
                    let (px, py) = (x as f32 + 0.5, y as f32 + 0.5);
                    let along = slope.0 * (px - 0.5 * size) + slope.1 * (py - 0.5 * size);
                    let ground = level + steepness * along;
                    let mut value = ground;
                    for layer in &layers {
                        value += layer.coverage(px, py) * (ground + layer.shade - value);
                    }
                    *pixel = ((value + self.noise * noise).clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
                }
            }
        }
    }
}

/// Classes take turns, so that every set is balanced.
fn class_of(index: usize) -> usize {
    index % CLASSES.len()
}

/// A figure at its place.
struct Layer {
    figure: usize,
    radius: f32,
    place: [f32; 2],
    sin: f32,
    cos: f32,
    /// Added to the background.
    shade: f32,
}

impl Layer {
    fn new(random: &mut Stream, figure: usize, radius: f32, place: [f32; 2], shade: f32) -> Layer {
        let (sin, cos) = random.direction();
        Layer { figure, radius, place, sin, cos, shade }
    }

    /// How much of the pixel about (x, y) the figure covers: an edge is one pixel wide.
    fn coverage(&self, x: f32, y: f32) -> f32 {
        let (dx, dy) = ((x - self.place[0]) / self.radius, (y - self.place[1]) / self.radius);
        if dx * dx + dy * dy > 2.25 + 4.0 / (self.radius * self.radius) {
            return 0.0;
        }
        let turned = [self.cos * dx + self.sin * dy, self.cos * dy - self.sin * dx];
        (0.5 - distance(self.figure, turned) * self.radius).clamp(0.0, 1.0)
    }
}

/// Distance from the edge of a figure of radius one about the origin, negative inside; exact near the edge but for some corners.
fn distance(figure: usize, [x, y]: [f32; 2]) -> f32 {
    match CLASSES[figure] {
        "disc" => disc(x, y, 0.8),
        "ring" => disc(x, y, 0.75).abs() - 0.2,
        "square" => rectangle(x, y, 0.7, 0.7),
        "triangle" => polygon(x, y, &TRIANGLE),
        "cross" => rectangle(x, y, 0.95, 0.26).min(rectangle(x, y, 0.26, 0.95)),
        "star" => polygon(x, y, &STAR),
        "bar" => rectangle(x, y, 1.0, 0.22),
        "arc" if y > 0.0 => disc(x, y, 0.75).abs() - 0.2,
        "arc" => disc(x.abs() - 0.75, y, 0.2),
        "corner" => rectangle(x + 0.5, y, 0.24, 0.8).min(rectangle(x, y - 0.56, 0.74, 0.24)),
        _ => disc(x, y, 0.9).max(-disc(x - 0.5, y, 0.75)),
    }
}

fn disc(x: f32, y: f32, radius: f32) -> f32 {
    (x * x + y * y).sqrt() - radius
}

fn rectangle(x: f32, y: f32, half_width: f32, half_height: f32) -> f32 {
    let (dx, dy) = (x.abs() - half_width, y.abs() - half_height);
    disc(dx.max(0.0), dy.max(0.0), 0.0) + dx.max(dy).min(0.0)
}

const TRIANGLE: [[f32; 2]; 3] = [[0.0, -1.0], [0.866_025_4, 0.5], [-0.866_025_4, 0.5]];
/// Five points on the unit circle, and five between them at 0.42 of it.
const STAR: [[f32; 2]; 10] = [
    [0.0, -1.0],
    [0.246_869_81, -0.339_787_14],
    [0.951_056_5, -0.309_017],
    [0.399_443_75, 0.129_787_14],
    [0.587_785_24, 0.809_017],
    [0.0, 0.42],
    [-0.587_785_24, 0.809_017],
    [-0.399_443_75, 0.129_787_14],
    [-0.951_056_5, -0.309_017],
    [-0.246_869_81, -0.339_787_14],
];

fn polygon(x: f32, y: f32, corners: &[[f32; 2]]) -> f32 {
    let (mut nearest, mut inside) = (f32::MAX, false);
    for (i, &[ax, ay]) in corners.iter().enumerate() {
        let [bx, by] = corners[(i + 1) % corners.len()];
        let (ex, ey, px, py) = (bx - ax, by - ay, x - ax, y - ay);
        let along = ((px * ex + py * ey) / (ex * ex + ey * ey)).clamp(0.0, 1.0);
        let (dx, dy) = (px - along * ex, py - along * ey);
        nearest = nearest.min(dx * dx + dy * dy);
        // The ray to the right of the point crosses the edge.
        if (ay > y) != (by > y) && x < ax + ex * (y - ay) / ey {
            inside = !inside;
        }
    }
    if inside { -nearest.sqrt() } else { nearest.sqrt() }
}
