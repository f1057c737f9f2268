//! Pictures as tensors and tensors as pictures.

use super::{DataError, Want, io_message};
use image::{DynamicImage, ImageReader, Limits, imageops::FilterType};
use rectify_ir::DType;
use rectify_runtime::{Tensor, TensorView};
use std::io::Cursor;
use std::path::Path;
use std::str::FromStr;

/// How pixels become elements: `(pixel · scale − mean) / std` for pixels of 0 to 255.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureOptions {
    pub scale: f32,
    /// One number, or one a channel.
    pub mean: Vec<f32>,
    pub std: Vec<f32>,
    pub layout: Layout,
    pub resize: Option<Resize>,
}

/// Where the channels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// [N, C, H, W]
    Nchw,
    /// [N, H, W, C]
    Nhwc,
}

/// A new size for a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    Exact {
        width: u32,
        height: u32,
    },
    /// Keeps the proportions; the longer side is then cut to the model's size about the middle, where the model has one.
    Shorter(u32),
}

impl Default for PictureOptions {
    fn default() -> PictureOptions {
        PictureOptions {
            scale: 1.0 / 255.0,
            mean: vec![0.0],
            std: vec![1.0],
            layout: Layout::Nchw,
            resize: None,
        }
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Layout, String> {
        match text {
            "nchw" => Ok(Layout::Nchw),
            "nhwc" => Ok(Layout::Nhwc),
            _ => Err("a layout is nchw or nhwc".into()),
        }
    }
}

impl FromStr for Resize {
    type Err = String;

    fn from_str(text: &str) -> Result<Resize, String> {
        let side = |s: &str| s.parse().ok().filter(|v| (1..=MAX_SIDE).contains(v));
        let error = || format!("a size is 640x480, or the shorter side alone; each at most {MAX_SIDE}");
        match text.split_once('x') {
            Some((w, h)) => {
                let (width, height) = (side(w).ok_or_else(error)?, side(h).ok_or_else(error)?);
                Ok(Resize::Exact { width, height })
            }
            None => side(text).map(Resize::Shorter).ok_or_else(error),
        }
    }
}

const MAX_SIDE: u32 = 16384;
const MAX_DECODED_BYTES: u64 = 512 << 20;

/// The axes of channels, height and width in an input.
struct Axes {
    channel: Option<usize>,
    height: usize,
    width: usize,
}

pub(super) fn read(
    path: &Path,
    bytes: &[u8],
    want: &Want<'_>,
    options: &PictureOptions,
) -> Result<Tensor, DataError> {
    let fail = |message: String| DataError::new(path, message);
    let axes = axes(want, options.layout).map_err(fail)?;
    let channels = match axes.channel.map(|c| want.shape[c]) {
        None | Some(Some(1)) => 1,
        Some(None | Some(3)) => 3,
        Some(Some(n)) => {
            return Err(fail(format!("a picture has 1 or 3 channels, but input `{}` has {n}", want.name)));
        }
    };
    let mean = per_channel(&options.mean, channels)
        .ok_or_else(|| fail("--mean is one number, or one a channel".into()))?;
    let std = per_channel(&options.std, channels)
        .ok_or_else(|| fail("--std is one number, or one a channel".into()))?;
    let picture =
        sized(decode(path, bytes)?, options.resize, want.shape[axes.height], want.shape[axes.width]);
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    for (axis, have, name) in [(axes.height, height, "high"), (axes.width, width, "wide")] {
        if let Some(wanted) = want.shape[axis].filter(|w| *w != have) {
            let message =
                format!("the picture is {have} pixels {name}, but input `{}` wants {wanted}", want.name);
            let size = |axis: usize, have| want.shape[axis].unwrap_or(have);
            let help = format!("give --resize {}x{}", size(axes.width, width), size(axes.height, height));
            return Err(fail(message).help(help));
        }
    }
    let element = |pixel: f32, c: usize| (pixel * options.scale - mean[c]) / std[c];
    let planes = planes(&picture, channels);
    let pixels = width * height;
    let mut values = vec![0f32; pixels * channels];
    for (c, plane) in planes.iter().enumerate() {
        for (i, pixel) in plane.iter().enumerate() {
            let at = if options.layout == Layout::Nchw { c * pixels + i } else { i * channels + c };
            values[at] = element(*pixel, c);
        }
    }
    let shape: Vec<usize> = (0..want.shape.len())
        .map(|i| match i {
            i if Some(i) == axes.channel => channels,
            i if i == axes.height => height,
            i if i == axes.width => width,
            _ => 1,
        })
        .collect();
    let tensor = Tensor::new(shape, values).map_err(|e| fail(e.to_string()))?;
    if want.dtype == DType::F32 {
        Ok(tensor)
    } else {
        tensor.convert(want.dtype).map_err(|e| fail(e.to_string()))
    }
}

fn axes(want: &Want<'_>, layout: Layout) -> Result<Axes, String> {
    let nchw = layout == Layout::Nchw;
    match want.shape.len() {
        2 => Ok(Axes { channel: None, height: 0, width: 1 }),
        rank @ (3 | 4) => {
            let first = rank - 3;
            let (channel, height) = if nchw { (first, first + 1) } else { (first + 2, first) };
            Ok(Axes { channel: Some(channel), height, width: height + 1 })
        }
        rank => Err(format!("a picture fits no input of {rank} axes, as `{}` is", want.name)),
    }
}

fn per_channel(values: &[f32], channels: usize) -> Option<Vec<f32>> {
    match values {
        [one] => Some(vec![*one; channels]),
        values => (values.len() == channels).then(|| values.to_vec()),
    }
}

pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<DynamicImage, DataError> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| DataError::new(path, io_message(&e)))?;
    reader.limits(limits);
    reader.decode().map_err(|e| DataError::new(path, format!("not a readable picture: {e}")).at(0))
}

fn sized(
    picture: DynamicImage,
    resize: Option<Resize>,
    height: Option<usize>,
    width: Option<usize>,
) -> DynamicImage {
    match resize {
        None => picture,
        Some(Resize::Exact { width, height }) => picture.resize_exact(width, height, FilterType::Triangle),
        Some(Resize::Shorter(side)) => {
            let (w, h) = (u64::from(picture.width()), u64::from(picture.height()));
            let scaled = |v: u64| {
                ((v * u64::from(side) + w.min(h) / 2) / w.min(h).max(1)).clamp(1, MAX_SIDE.into()) as u32
            };
            let picture = picture.resize_exact(scaled(w), scaled(h), FilterType::Triangle);
            let cut = |have: u32, want: Option<usize>| {
                want.and_then(|w| u32::try_from(w).ok()).map_or(have, |w| w.min(have))
            };
            let (w, h) = (cut(picture.width(), width), cut(picture.height(), height));
            picture.crop_imm((picture.width() - w) / 2, (picture.height() - h) / 2, w, h)
        }
    }
}

/// Pixels of each channel as 0 to 255; one channel is the luma of ITU-R BT.601, as in JPEG.
pub(super) fn planes(picture: &DynamicImage, channels: usize) -> Vec<Vec<f32>> {
    let rgb = picture.to_rgb8();
    let pixels = rgb.pixels();
    if channels == 1 {
        return vec![pixels.map(|p| luma(p.0)).collect()];
    }
    (0..channels).map(|c| rgb.pixels().map(|p| f32::from(p.0[c])).collect()).collect()
}

/// Grey pixels stay exact: the weights are whole thousandths that sum to one.
fn luma([r, g, b]: [u8; 3]) -> f32 {
    (299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b)) as f32 / 1000.0
}

/// Writes a [1, C, H, W] or [C, H, W] tensor as an 8-bit picture; the file's ending tells the format.
///
/// One channel is grey and three are red, green and blue: values 0 to 1, others are clipped. Any other number of channels
/// are scores of classes, as segmentation makes them: each pixel gets the colour of its greatest channel. Class 0, which is
/// the background in most models, is black; of two classes the other is white. Whole numbers of one channel are
/// classes too.
pub fn write_picture(path: &Path, tensor: TensorView<'_>) -> Result<(), DataError> {
    let fail = |message: String| DataError::new(path, message);
    let shape = tensor.shape();
    let (channels, height, width) = match *shape {
        [1, c, h, w] | [c, h, w] if c > 0 => (c, h, w),
        _ => {
            return Err(fail(format!("a tensor of shape {shape:?} is no picture"))
                .help("pictures are [1, C, H, W] or [C, H, W]"));
        }
    };
    let classes = channels != 1 && channels != 3 || channels == 1 && tensor.dtype().is_int();
    let values =
        tensor.convert(DType::F32).and_then(Tensor::into_vec::<f32>).map_err(|e| fail(e.to_string()))?;
    let byte = |v: f32| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
    let pixels = height * width;
    let (w, h) = (u32::try_from(width), u32::try_from(height));
    let (Ok(w), Ok(h)) = (w, h) else { return Err(fail("the picture is too large".into())) };
    let picture = if classes {
        let class = |i: usize| if channels == 1 { values[i] as usize } else { greatest(&values, pixels, i) };
        let bytes = (0..pixels).flat_map(|i| colour(class(i), channels)).collect();
        image::RgbImage::from_raw(w, h, bytes).map(DynamicImage::ImageRgb8)
    } else {
        let bytes =
            (0..pixels * channels).map(|i| byte(values[i % channels * pixels + i / channels])).collect();
        if channels == 1 {
            image::GrayImage::from_raw(w, h, bytes).map(DynamicImage::ImageLuma8)
        } else {
            image::RgbImage::from_raw(w, h, bytes).map(DynamicImage::ImageRgb8)
        }
    };
    let picture = picture.ok_or_else(|| fail("the picture is too large".into()))?;
    picture.save(path).map_err(|e| fail(e.to_string()))
}

/// The channel with the greatest value at a pixel; the first of equal ones.
fn greatest(values: &[f32], pixels: usize, pixel: usize) -> usize {
    let mut best = 0;
    for (channel, plane) in values.chunks_exact(pixels).enumerate() {
        if plane[pixel] > values[best * pixels + pixel] {
            best = channel;
        }
    }
    best
}

/// Colours whose hues are a golden angle apart, so that neighbouring classes look different.
fn colour(class: usize, classes: usize) -> [u8; 3] {
    match (class, classes) {
        (0, _) => [0; 3],
        (_, 2) => [255; 3],
        (class, _) => {
            let hue = (class - 1) as f32 * 0.618_034 % 1.0 * 6.0;
            [5.0, 3.0, 1.0].map(|offset: f32| {
                let k = (offset + hue) % 6.0;
                (255.0 * (1.0 - k.min(4.0 - k).clamp(0.0, 1.0))) as u8
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_become_colours_of_classes() {
        let values = [0.0, 3.0, 1.0, 2.0, 1.0, 1.0, 0.5, f32::NAN];
        assert_eq!([0, 1, 2, 3].map(|pixel| greatest(&values, 4, pixel)), [1, 0, 0, 0]);
        assert_eq!([colour(0, 2), colour(1, 2), colour(1, 21)], [[0; 3], [255; 3], [255, 0, 0]]);
        let mut all: Vec<_> = (0..21).map(|class| colour(class, 21)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 21);
    }
}
