//! Borrowed tensors: a shape and a slice, both the caller's. Making one allocates nothing.

use std::fmt;
use std::marker::PhantomData;

use rectify_ir::DType;

use super::element::with_element;
use super::{Element, Tensor, TensorError, Wide, check_bools, check_bytes, check_length};

/// A tensor that somebody else owns, to read.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    dtype: DType,
    shape: &'a [usize],
    /// Points to as many elements of `dtype` as the product of `shape`, aligned, readable for `'a`.
    data: *const u8,
    owner: PhantomData<&'a [u8]>,
}

/// A tensor that somebody else owns, to write.
pub struct TensorViewMut<'a> {
    dtype: DType,
    shape: &'a [usize],
    /// As in [`TensorView`], writable and reached by nobody else for `'a`.
    data: *mut u8,
    owner: PhantomData<&'a mut [u8]>,
}

// Safety: a view is a shared reference to plain numbers.
unsafe impl Send for TensorView<'_> {}
// Safety: as above.
unsafe impl Sync for TensorView<'_> {}
// Safety: a mutable view is an exclusive reference to plain numbers.
unsafe impl Send for TensorViewMut<'_> {}
// Safety: as above.
unsafe impl Sync for TensorViewMut<'_> {}

impl<'a> TensorView<'a> {
    /// A tensor of these elements; `shape` must have as many.
    pub fn new<T: Element>(shape: &'a [usize], data: &'a [T]) -> Result<TensorView<'a>, TensorError> {
        check_length(shape, data.len())?;
        Ok(TensorView::from_raw(T::DTYPE, shape, data.as_ptr().cast()))
    }

    /// A tensor of elements in these bytes, in this machine's byte order. They must be aligned as the type needs.
    pub fn from_bytes(
        dtype: DType,
        shape: &'a [usize],
        bytes: &'a [u8],
    ) -> Result<TensorView<'a>, TensorError> {
        check_bytes(dtype, shape, bytes.len())?;
        check_alignment(dtype, bytes.as_ptr())?;
        if dtype == DType::Bool {
            check_bools(bytes)?;
        }
        Ok(TensorView::from_raw(dtype, shape, bytes.as_ptr()))
    }

    /// The invariant of `data` is the caller's.
    pub(super) fn from_raw(dtype: DType, shape: &'a [usize], data: *const u8) -> TensorView<'a> {
        TensorView { dtype, shape, data, owner: PhantomData }
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        elements_of(self.shape)
    }

    /// The elements, if they are of type `T`.
    pub fn as_slice<T: Element>(&self) -> Result<&'a [T], TensorError> {
        if T::DTYPE != self.dtype {
            return Err(TensorError::DType { want: T::DTYPE, got: self.dtype });
        }
        // Safety: the invariant of `data`, and the type is the one it was made of.
        Ok(unsafe { std::slice::from_raw_parts(self.data.cast(), self.elements()) })
    }

    /// The elements' bytes, in this machine's byte order.
    pub fn bytes(&self) -> &'a [u8] {
        // Safety: the invariant of `data`; element types have no padding.
        unsafe { std::slice::from_raw_parts(self.data, self.elements() * self.dtype.size_bytes()) }
    }

    /// A copy that owns its elements.
    pub fn to_tensor(&self) -> Tensor {
        with_element!(self.dtype, T => {
            let values = self.values::<T>().to_vec();
            Tensor { shape: self.shape.to_vec(), data: T::wrap(values) }
        })
    }

    /// The elements as another type: floats round to nearest, floats to integers truncate and saturate, integers to narrower
    /// integers wrap, numbers to bools ask for "not zero".
    pub fn convert(&self, dtype: DType) -> Result<Tensor, TensorError> {
        if dtype == self.dtype {
            return Ok(self.to_tensor());
        }
        with_element!(self.dtype, From => with_element!(dtype, To => {
            let values = self.values::<From>().iter().map(|v| To::narrow(v.widen())).collect();
            Tensor::new::<To>(self.shape, values)
        }))
    }

    /// Every element as the nearest f32.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        with_element!(self.dtype, T => self.values::<T>().iter().map(|v| v.to_f32()).collect())
    }

    /// Every element as f64; exact but for 64-bit integers beyond 2^53.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        with_element!(self.dtype, T => self.values::<T>().iter().map(|v| match v.widen() {
            Wide::Float(v) => v,
            Wide::Signed(v) => v as f64,
            Wide::Unsigned(v) => v as f64,
        }).collect())
    }

    /// The elements; `T` is the type of `self.dtype`.
    fn values<T: Element>(&self) -> &'a [T] {
        debug_assert_eq!(T::DTYPE, self.dtype);
        // Safety: the invariant of `data`; every caller is inside `with_element!(self.dtype, T => ..)`.
        unsafe { std::slice::from_raw_parts(self.data.cast(), self.elements()) }
    }
}

impl<'a> TensorViewMut<'a> {
    /// A tensor of these elements; `shape` must have as many.
    pub fn new<T: Element>(shape: &'a [usize], data: &'a mut [T]) -> Result<TensorViewMut<'a>, TensorError> {
        check_length(shape, data.len())?;
        Ok(TensorViewMut::from_raw(T::DTYPE, shape, data.as_mut_ptr().cast()))
    }

    /// The invariant of `data` is the caller's.
    pub(super) fn from_raw(dtype: DType, shape: &'a [usize], data: *mut u8) -> TensorViewMut<'a> {
        TensorViewMut { dtype, shape, data, owner: PhantomData }
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        elements_of(self.shape)
    }

    /// The same tensor, to read.
    pub fn view(&self) -> TensorView<'_> {
        TensorView::from_raw(self.dtype, self.shape, self.data)
    }

    /// The same tensor for a shorter time.
    pub fn reborrow(&mut self) -> TensorViewMut<'_> {
        TensorViewMut::from_raw(self.dtype, self.shape, self.data)
    }

    /// The elements, if they are of type `T`.
    pub fn as_mut_slice<T: Element>(&mut self) -> Result<&mut [T], TensorError> {
        self.reborrow().into_slice()
    }

    /// The elements, if they are of type `T`.
    pub fn into_slice<T: Element>(self) -> Result<&'a mut [T], TensorError> {
        if T::DTYPE != self.dtype {
            return Err(TensorError::DType { want: T::DTYPE, got: self.dtype });
        }
        // Safety: the invariant of `data`, and the type is the one it was made of.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.data.cast(), self.elements()) })
    }

    /// The elements' bytes, in this machine's byte order.
    ///
    /// # Safety
    /// If the elements are bools, only 0 and 1 may be written.
    pub unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // Safety: the invariant of `data`; all bytes are values of the other types.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.elements() * self.dtype.size_bytes()) }
    }

    /// As [`bytes_mut`](Self::bytes_mut), for as long as the tensor is lent.
    ///
    /// # Safety
    /// If the elements are bools, only 0 and 1 may be written.
    pub unsafe fn into_bytes(self) -> &'a mut [u8] {
        // Safety: the invariant of `data`; all bytes are values of the other types.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.elements() * self.dtype.size_bytes()) }
    }

    /// Copies elements from a tensor of the same type and shape.
    pub fn copy_from(&mut self, source: TensorView<'_>) -> Result<(), TensorError> {
        if source.dtype != self.dtype {
            return Err(TensorError::DType { want: self.dtype, got: source.dtype });
        }
        if source.shape != self.shape {
            let (want, got) = (self.elements(), source.elements());
            return Err(TensorError::Length { shape: self.shape.to_vec(), want, got });
        }
        // Safety: the source holds values of the same type.
        unsafe { self.bytes_mut() }.copy_from_slice(source.bytes());
        Ok(())
    }
}

impl fmt::Debug for TensorView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorView({}{:?})", self.dtype, self.shape)
    }
}

impl fmt::Debug for TensorViewMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorViewMut({}{:?})", self.dtype, self.shape)
    }
}

impl<'a> From<&'a Tensor> for TensorView<'a> {
    fn from(tensor: &'a Tensor) -> TensorView<'a> {
        tensor.view()
    }
}

/// The product of a shape that has been checked; an empty tensor's other sizes may multiply to anything.
fn elements_of(shape: &[usize]) -> usize {
    if shape.contains(&0) { 0 } else { shape.iter().product() }
}

fn check_alignment(dtype: DType, data: *const u8) -> Result<(), TensorError> {
    let align = with_element!(dtype, T => align_of::<T>());
    if !data.addr().is_multiple_of(align) {
        return Err(TensorError::Alignment { dtype, align });
    }
    Ok(())
}
