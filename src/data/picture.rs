//! Pictures as tensors and tensors as pictures.

use super::{DataError, Want, io_message};
use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::codecs::png::{PngDecoder, PngEncoder};
use image::error::ImageFormatHint;
use image::imageops::{self, FilterType};
use image::{
    ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageResult, Limits, RgbImage,
};
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

/// Grey pictures have three equal channels; transparency is left out.
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<RgbImage, DataError> {
    let source = Cursor::new(bytes);
    // The decoders by name: the crate's general reader brings conversions of every format to every other into the program.
    let decoded = image::guess_format(bytes).and_then(|format| match format {
        ImageFormat::Png => PngDecoder::with_limits(source, limits()).and_then(rgb),
        ImageFormat::Jpeg => JpegDecoder::new(source).and_then(rgb),
        other => Err(ImageError::Unsupported(ImageFormatHint::Exact(other).into())),
    });
    decoded.map_err(|e| DataError::new(path, format!("not a readable picture: {e}")).at(0))
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    limits
}

fn rgb(mut decoder: impl ImageDecoder) -> ImageResult<RgbImage> {
    let mut limits = limits();
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let (width, height) = decoder.dimensions();
    let color = decoder.color_type();
    let mut raw = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut raw)?;
    let channels = usize::from(color.channel_count());
    if usize::from(color.bytes_per_pixel()) == 2 * channels {
        // 257 = 65535 / 255.
        let byte = |v: u16| (v / 257 + u16::from(v % 257 > 128)) as u8;
        raw = raw.chunks_exact(2).map(|v| byte(u16::from_ne_bytes([v[0], v[1]]))).collect();
    }
    let pixels =
        raw.chunks_exact(channels).flat_map(|p| if channels < 3 { [p[0]; 3] } else { [p[0], p[1], p[2]] });
    RgbImage::from_raw(width, height, pixels.collect()).ok_or_else(|| {
        ImageError::Limits(image::error::LimitError::from_kind(image::error::LimitErrorKind::DimensionError))
    })
}

fn sized(picture: RgbImage, resize: Option<Resize>, height: Option<usize>, width: Option<usize>) -> RgbImage {
    match resize {
        None => picture,
        Some(Resize::Exact { width, height }) => {
            imageops::resize(&picture, width, height, FilterType::Triangle)
        }
        Some(Resize::Shorter(side)) => {
            let (w, h) = (u64::from(picture.width()), u64::from(picture.height()));
            let scaled = |v: u64| {
                ((v * u64::from(side) + w.min(h) / 2) / w.min(h).max(1)).clamp(1, MAX_SIDE.into()) as u32
            };
            let picture = imageops::resize(&picture, scaled(w), scaled(h), FilterType::Triangle);
            let cut = |have: u32, want: Option<usize>| {
                want.and_then(|w| u32::try_from(w).ok()).map_or(have, |w| w.min(have))
            };
            let (w, h) = (cut(picture.width(), width), cut(picture.height(), height));
            let (left, top) = ((picture.width() - w) / 2, (picture.height() - h) / 2);
            imageops::crop_imm(&picture, left, top, w, h).to_image()
        }
    }
}

/// Pixels of each channel as 0 to 255; one channel is the luma of ITU-R BT.601, as in JPEG.
pub(super) fn planes(picture: &RgbImage, channels: usize) -> Vec<Vec<f32>> {
    if channels == 1 {
        return vec![picture.pixels().map(|p| luma(p.0)).collect()];
    }
    (0..channels).map(|c| picture.pixels().map(|p| f32::from(p.0[c])).collect()).collect()
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
    let (bytes, color): (Vec<u8>, _) = if classes {
        let class = |i: usize| if channels == 1 { values[i] as usize } else { greatest(&values, pixels, i) };
        ((0..pixels).flat_map(|i| colour(class(i), channels)).collect(), ExtendedColorType::Rgb8)
    } else {
        let value = |i: usize| byte(values[i % channels * pixels + i / channels]);
        let color = if channels == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        ((0..pixels * channels).map(value).collect(), color)
    };
    let mut file = Vec::new();
    match super::ending(path).as_str() {
        "png" => PngEncoder::new(&mut file).write_image(&bytes, w, h, color),
        "jpg" | "jpeg" => JpegEncoder::new(&mut file).write_image(&bytes, w, h, color),
        _ => return Err(fail("is no name of a picture".into()).help("known are .png, .jpg and .jpeg")),
    }
    .map_err(|e| fail(e.to_string()))?;
    std::fs::write(path, file).map_err(|e| fail(io_message(&e)))
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
    fn pictures_of_every_kind_are_read_as_the_general_reader_does() {
        use image::{DynamicImage, GrayAlphaImage, ImageBuffer};
        let sample = |i: u32| (i * 7919 % 65536) as u16;
        let deep = (0..12 * 5 * 4).map(sample).collect();
        let deep = DynamicImage::ImageRgba16(ImageBuffer::from_raw(12, 5, deep).unwrap());
        let grey = GrayAlphaImage::from_fn(12, 5, |x, y| image::LumaA([(x * 20 + y) as u8, 100])).into();
        let kinds = [
            deep.to_rgb16().into(),
            deep.to_luma16().into(),
            deep.to_luma8().into(),
            deep.to_rgb8().into(),
            grey,
            deep,
        ];
        for (picture, format) in kinds.iter().flat_map(|k| [(k, ImageFormat::Png), (k, ImageFormat::Jpeg)]) {
            let mut file = Cursor::new(Vec::new());
            // JPEG holds eight bits and no transparency.
            if picture.write_to(&mut file, format).is_err() {
                assert_eq!(format, ImageFormat::Jpeg);
                continue;
            }
            let file = file.into_inner();
            let general = image::load_from_memory(&file).unwrap().to_rgb8();
            assert_eq!(decode(Path::new("p"), &file).unwrap(), general, "{:?} {format:?}", picture.color());
            assert!(decode(Path::new("p"), &file[..file.len() / 2]).is_err());
        }
        let error = decode(Path::new("p"), b"GIF89a\x01\0\x01\0\0\0\0;").unwrap_err();
        assert!(error.to_string().contains("not a readable picture"), "{error}");
    }

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
