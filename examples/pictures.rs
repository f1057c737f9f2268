//! Draws the pictures that the examples and the README run on: rings, letter-like strokes and gradients.
//!
//! `cargo run --example pictures` writes them beside this file again, byte for byte: they are drawn with integers only.

use image::{GrayImage, ImageError, Luma, Rgb, RgbImage};
use std::path::Path;

fn main() -> Result<(), ImageError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    GrayImage::from_fn(96, 96, |x, y| Luma([grey(x as i64, y as i64, 96)])).save(folder.join("rings.png"))?;
    RgbImage::from_fn(224, 224, |x, y| Rgb(colour(x as i64, y as i64))).save(folder.join("shapes.png"))
}

/// Rings in the upper half that get finer outwards, strokes in the lower left, a ramp in the lower right.
fn grey(x: i64, y: i64, size: i64) -> u8 {
    let half = size / 2;
    if y < half {
        let (dx, dy) = (2 * x - size, 2 * y - half);
        return wave((dx * dx + dy * dy) * 32 / size);
    }
    if x < half { stroke(x, y - half) } else { (((x - half) * 160 + (y - half) * 80) / half) as u8 + 8 }
}

/// A triangle wave of period 256 between 16 and 239.
fn wave(phase: i64) -> u8 {
    let p = phase.rem_euclid(256);
    let up = if p < 128 { p } else { 255 - p };
    (16 + up * 223 / 127) as u8
}

/// Letters of a made-up alphabet, 5x7 dots in cells of 12x14 pixels, drawn two pixels a dot.
fn stroke(x: i64, y: i64) -> u8 {
    const LETTERS: [[u8; 7]; 5] = [
        [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
        [0b11110, 0b10001, 0b11110, 0b10001, 0b10001, 0b10001, 0b11110],
        [0b11111, 0b00010, 0b00100, 0b01000, 0b10000, 0b10001, 0b11111],
        [0b10001, 0b01010, 0b00100, 0b00100, 0b01010, 0b10001, 0b10001],
        [0b00100, 0b00100, 0b11111, 0b00100, 0b00100, 0b00100, 0b00100],
    ];
    let (column, row) = (x / 12, y / 16);
    let (dot, line) = ((x % 12) / 2, (y % 16) / 2);
    let letter = LETTERS[((column * 3 + row * 2) % 5) as usize];
    let ink = dot < 5 && line < 7 && letter[line as usize] >> (4 - dot) & 1 == 1;
    if ink { 24 } else { 232 }
}

/// A sky, a disc with rings, a striped square and a triangle.
fn colour(x: i64, y: i64) -> [u8; 3] {
    let (dx, dy) = (x - 80, y - 84);
    let distance = dx * dx + dy * dy;
    if distance < 52 * 52 {
        let ring = wave(distance / 6);
        return [230, ring, 40];
    }
    if (132..204).contains(&x) && (40..112).contains(&y) {
        return if (x + y) / 9 % 2 == 0 { [30, 90, 60] } else { [200, 220, 120] };
    }
    let height = y - 132;
    if height >= 0 && (x - 150).abs() * 2 < height && height < 84 {
        return [60, 40, (90 + height) as u8];
    }
    [(120 + y * 110 / 223) as u8, (160 + x * 60 / 223) as u8, (235 - y * 80 / 223) as u8]
}
