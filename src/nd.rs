//! Conversions between this library's tensors and `ndarray`'s arrays.

use crate::error::Error;
use ndarray::{ArrayD, ArrayViewD, IxDyn};
use rectify_runtime::{Element, Tensor, TensorView};

/// The array's elements in row-major order, copied.
pub fn from_array<T: Element>(array: ArrayViewD<'_, T>) -> Result<Tensor, Error> {
    Ok(Tensor::new(array.shape().to_vec(), array.iter().copied().collect::<Vec<T>>())?)
}

/// The tensor as an array; its memory moves, nothing is copied.
pub fn into_array<T: Element>(tensor: Tensor) -> Result<ArrayD<T>, Error> {
    let shape = IxDyn(tensor.shape());
    ArrayD::from_shape_vec(shape, tensor.into_vec()?).map_err(|e| Error::internal("ndarray", e))
}

/// The tensor as an array's view.
pub fn as_array<'a, T: Element>(tensor: TensorView<'a>) -> Result<ArrayViewD<'a, T>, Error> {
    let shape = IxDyn(tensor.shape());
    ArrayViewD::from_shape(shape, tensor.as_slice()?).map_err(|e| Error::internal("ndarray", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_any_order_round_trip() {
        let rows = ArrayD::from_shape_fn(IxDyn(&[2, 3]), |i| (i[0] * 3 + i[1]) as f32);
        let columns = rows.clone().reversed_axes();
        let tensor = from_array(columns.view()).unwrap();
        assert_eq!(tensor.shape(), [3, 2]);
        assert_eq!(tensor.as_slice::<f32>().unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(as_array::<f32>(tensor.view()).unwrap(), columns);
        assert_eq!(into_array::<f32>(tensor).unwrap(), columns);
    }
}
