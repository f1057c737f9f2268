//! Masks of dropouts, drawn for each step.

use crate::error::Error;
use rectify_passes::training::Mask;
use rectify_runtime::Tensor;
use rectify_runtime::rng::{Distribution, StreamKey, fill_keyed};

/// A mask and its stream, which the seed and the mask's name decide. A step's values depend on its number alone.
pub(super) struct MaskDraw {
    mask: Mask,
    key: StreamKey,
    values: Tensor,
}

impl MaskDraw {
    pub fn new(mask: Mask, seed: u64) -> Result<MaskDraw, Error> {
        let key = StreamKey::new(seed, &format!("dropout {}", mask.input));
        let values = Tensor::zeros(mask.ty.dtype, mask.ty.const_shape().unwrap_or_default())?;
        Ok(MaskDraw { mask, key, values })
    }

    pub fn input(&self) -> &str {
        &self.mask.input
    }

    pub fn bytes(&self) -> &[u8] {
        self.values.view().bytes()
    }

    pub fn draw(&mut self, step: u64) -> Result<(), Error> {
        let values = self.values.as_mut_slice::<f32>()?;
        let start = step.wrapping_mul(values.len().next_multiple_of(4) as u64);
        fill_keyed(&Distribution::Uniform { lo: 0.0, hi: 1.0 }, self.key, start, values);
        let (p, kept) = (self.mask.p as f32, (1.0 / (1.0 - self.mask.p)) as f32);
        values.iter_mut().for_each(|v| *v = if *v < p { 0.0 } else { kept });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rectify_ir::TensorType;

    #[test]
    fn masks_keep_the_mean_and_depend_on_the_step_alone() {
        let mask = Mask { input: "mask0.d".into(), ty: TensorType::f32([100.into(), 101.into()]), p: 0.25 };
        let mut draw = MaskDraw::new(mask.clone(), 7).unwrap();
        let mut of = |step| {
            draw.draw(step).unwrap();
            draw.values.as_slice::<f32>().unwrap().to_vec()
        };
        let (first, second) = (of(0), of(1));
        assert_ne!(first, second);
        assert_eq!(of(0), first);
        assert!(first.iter().all(|v| *v == 0.0 || *v == 4.0 / 3.0));
        let zeros = first.iter().filter(|v| **v == 0.0).count();
        // Five standard deviations of a binomial count of 10,100.
        assert!(zeros.abs_diff(2525) < 218, "{zeros}");
        let mut other = MaskDraw::new(mask, 8).unwrap();
        other.draw(0).unwrap();
        assert_ne!(other.values.as_slice::<f32>().unwrap(), first);
    }
}
