//! What of an image a model looks at.

use crate::data::sets::Image;

/// How an image is looked at. Every view has the size of the model's input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Views {
    /// The image scaled and cut about its middle, as little as can be.
    Single,
    /// Four corners, the middle, and the mirror images of these, of the image with a shorter side of `side` pixels
    /// (Krizhevsky, Sutskever, Hinton 2012).
    Ten { side: usize },
    /// Every window, and its mirror image, of the image with each of these lengths as its shorter side. The layers before
    /// spatial pyramid pooling run once on the whole image; windows lie `stride` places of their result apart
    /// (He, Zhang, Ren, Sun 2014 and 2015).
    Dense { sides: Vec<usize>, stride: usize },
}

/// Ten views of `height` x `width` pixels.
pub(super) fn ten(image: &Image, side: usize, height: usize, width: usize) -> Vec<Image> {
    let (scaled_height, scaled_width) = image.with_shorter(side);
    let (bottom, right) = (scaled_height - height, scaled_width - width);
    let corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom / 2, right / 2)];
    let mut views = Vec::with_capacity(10);
    for (top, left) in corners {
        let view = image.resize_window((scaled_height, scaled_width), top..top + height, left..left + width);
        views.push(view.clone().flip());
        views.push(view);
    }
    views
}

/// Beginnings of windows of `size` places along `length`: every `stride`, and the last one.
pub(super) fn starts(length: usize, size: usize, stride: usize) -> Vec<usize> {
    let last = length.saturating_sub(size);
    let mut starts: Vec<usize> = (0..last).step_by(stride.max(1)).collect();
    starts.push(last);
    starts
}

/// Adds the softmax of a row of logits, times a share.
pub(super) fn add_softmax(logits: &[f32], share: f64, into: &mut [f64]) {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.iter().map(|v| f64::from(v - greatest).exp());
    let total: f64 = powers.clone().sum();
    into.iter_mut().zip(powers).for_each(|(sum, p)| *sum += share * p / total);
}
