//! Little-endian bytes of any alignment into numbers.

use rectify_ir::DType;

use crate::tensor::{Element, Tensor, TensorError, with_element};

/// Little-endian elements of any alignment as the nearest f32. `bytes` holds as many elements of `dtype` as `out`.
pub fn to_f32(dtype: DType, bytes: &[u8], out: &mut [f32]) {
    with_element!(dtype, T => {
        for (value, bytes) in out.iter_mut().zip(bytes.chunks_exact(size_of::<T>())) {
            *value = T::read_le(bytes).to_f32();
        }
    });
}

/// The elements as an own tensor. Bools other than 0 and 1 are errors.
pub(super) fn to_tensor(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorError> {
    if dtype == DType::Bool {
        return Tensor::from_bytes(dtype, shape, bytes);
    }
    with_element!(dtype, T => {
        let values: Vec<T> = bytes.chunks_exact(size_of::<T>()).map(T::read_le).collect();
        Tensor::new(shape, values)
    })
}
