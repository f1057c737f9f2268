//! Tensors at the border of the library: a shape and a row-major slice, owned or borrowed.

mod element;
mod view;

pub use element::Element;
pub use view::{TensorView, TensorViewMut};

pub(crate) use element::with_element;
use element::{Data, Wide};
use rectify_ir::DType;

/// An owned tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    /// As many elements as the product of `shape`.
    data: Data,
}

/// Why a tensor cannot be made of, or seen as, what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    #[error("shape {shape:?} has {want} elements, the data has {got}")]
    Length { shape: Vec<usize>, want: usize, got: usize },
    #[error("shape {shape:?} has more elements than memory can hold")]
    Overflow { shape: Vec<usize> },
    #[error("the tensor holds {got}, not {want}")]
    DType { want: DType, got: DType },
    #[error("shape {shape:?} of {dtype} takes {want} bytes, the data has {got}")]
    Bytes { shape: Vec<usize>, dtype: DType, want: usize, got: usize },
    #[error("the data is not aligned to {align} bytes, which {dtype} needs")]
    Alignment { dtype: DType, align: usize },
    #[error("byte {value} at element {index} is not a bool")]
    Bool { index: usize, value: u8 },
}

impl Tensor {
    /// A tensor of these elements; `shape` must have as many.
    pub fn new<T: Element>(shape: impl Into<Vec<usize>>, data: Vec<T>) -> Result<Tensor, TensorError> {
        let shape = shape.into();
        check_length(&shape, data.len())?;
        Ok(Tensor { shape, data: T::wrap(data) })
    }

    /// All elements zero (or false).
    pub fn zeros(dtype: DType, shape: impl Into<Vec<usize>>) -> Result<Tensor, TensorError> {
        let shape = shape.into();
        let elements = element_count(&shape)?;
        let data =
            Data::zeros(dtype, elements).ok_or_else(|| TensorError::Overflow { shape: shape.clone() })?;
        Ok(Tensor { shape, data })
    }

    /// A tensor without dimensions, which has one element.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        Tensor { shape: Vec::new(), data: T::wrap(vec![value]) }
    }

    /// Elements from their bytes, in this machine's byte order and of any alignment.
    pub fn from_bytes(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        bytes: &[u8],
    ) -> Result<Tensor, TensorError> {
        let mut tensor = Tensor::zeros_for(dtype, shape.into(), bytes.len())?;
        if dtype == DType::Bool {
            check_bools(bytes)?;
        }
        let mut view = tensor.view_mut();
        // Safety: as many bytes as the elements take, and if the elements are bools they have been checked.
        unsafe { view.bytes_mut() }.copy_from_slice(bytes);
        Ok(tensor)
    }

    /// [`zeros`](Self::zeros) where the number of bytes is known, so that a wrong shape allocates nothing.
    fn zeros_for(dtype: DType, shape: Vec<usize>, bytes: usize) -> Result<Tensor, TensorError> {
        check_bytes(dtype, &shape, bytes)?;
        Tensor::zeros(dtype, shape)
    }

    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.data.len()
    }

    pub fn view(&self) -> TensorView<'_> {
        TensorView::from_raw(self.dtype(), &self.shape, self.data.as_ptr())
    }

    pub fn view_mut(&mut self) -> TensorViewMut<'_> {
        TensorViewMut::from_raw(self.data.dtype(), &self.shape, self.data.as_mut_ptr())
    }

    /// The elements, if they are of type `T`.
    pub fn as_slice<T: Element>(&self) -> Result<&[T], TensorError> {
        self.view().as_slice()
    }

    /// The elements, if they are of type `T`.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T], TensorError> {
        self.view_mut().into_slice()
    }

    /// The elements, if they are of type `T`; nothing is copied.
    pub fn into_vec<T: Element>(self) -> Result<Vec<T>, TensorError> {
        let got = self.dtype();
        T::unwrap(self.data).ok_or(TensorError::DType { want: T::DTYPE, got })
    }

    /// The same elements under another shape.
    pub fn reshape(self, shape: impl Into<Vec<usize>>) -> Result<Tensor, TensorError> {
        let shape = shape.into();
        check_length(&shape, self.elements())?;
        Ok(Tensor { shape, data: self.data })
    }

    /// The first `size` slices along an axis; all of them if there are no more.
    pub fn first(&self, axis: usize, size: usize) -> Result<Tensor, TensorError> {
        let mut shape = self.shape.clone();
        let Some(all) = shape.get(axis).copied().filter(|all| size < *all) else { return Ok(self.clone()) };
        shape[axis] = size;
        let slice = shape[axis + 1..].iter().product::<usize>() * self.dtype().size_bytes();
        let mut cut = Tensor::zeros(self.dtype(), shape)?;
        let view = self.view();
        let mut to = cut.view_mut();
        // Safety: the bytes are those of whole elements of the same type.
        let to = unsafe { to.bytes_mut() };
        let rows = to.chunks_exact_mut((size * slice).max(1));
        for (to, from) in rows.zip(view.bytes().chunks_exact((all * slice).max(1))) {
            to.copy_from_slice(&from[..to.len()]);
        }
        Ok(cut)
    }

    /// The elements as another type, see [`TensorView::convert`].
    pub fn convert(&self, dtype: DType) -> Result<Tensor, TensorError> {
        self.view().convert(dtype)
    }
}

/// Number of elements of a shape.
pub fn element_count(shape: &[usize]) -> Result<usize, TensorError> {
    // A zero anywhere makes the tensor empty, whatever the other sizes multiply to.
    if shape.contains(&0) {
        return Ok(0);
    }
    let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    product.ok_or_else(|| TensorError::Overflow { shape: shape.to_vec() })
}

fn check_length(shape: &[usize], got: usize) -> Result<(), TensorError> {
    let want = element_count(shape)?;
    if want != got {
        return Err(TensorError::Length { shape: shape.to_vec(), want, got });
    }
    Ok(())
}

fn check_bytes(dtype: DType, shape: &[usize], got: usize) -> Result<(), TensorError> {
    let want = element_count(shape)?.checked_mul(dtype.size_bytes());
    let want = want.ok_or_else(|| TensorError::Overflow { shape: shape.to_vec() })?;
    if want != got {
        return Err(TensorError::Bytes { shape: shape.to_vec(), dtype, want, got });
    }
    Ok(())
}

fn check_bools(bytes: &[u8]) -> Result<(), TensorError> {
    match bytes.iter().position(|&b| b > 1) {
        Some(index) => Err(TensorError::Bool { index, value: bytes[index] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
