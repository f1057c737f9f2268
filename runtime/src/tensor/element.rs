//! The Rust types of tensor elements and what they have in common.

use std::fmt::Debug;

use half::{bf16, f16};
use rectify_ir::DType;

/// A Rust type that tensors hold.
///
/// Sealed: the element types are those of [`DType`].
pub trait Element: Copy + Default + PartialEq + Debug + Send + Sync + 'static + sealed::Sealed {
    const DTYPE: DType;

    /// The nearest f32; bools are 0 and 1.
    fn to_f32(self) -> f32;

    /// Two's complement and IEEE 754 bytes, the least significant first. `bytes` holds one element.
    #[doc(hidden)]
    fn read_le(bytes: &[u8]) -> Self;
    #[doc(hidden)]
    fn widen(self) -> Wide;
    #[doc(hidden)]
    fn narrow(value: Wide) -> Self;
    #[doc(hidden)]
    fn wrap(values: Vec<Self>) -> Data;
    #[doc(hidden)]
    fn unwrap(data: Data) -> Option<Vec<Self>>;
}

mod sealed {
    pub trait Sealed {}
}

/// A number without loss, on the way between two element types.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub enum Wide {
    Float(f64),
    Signed(i64),
    Unsigned(u64),
}

/// One row an element type: variant, type, width of its kind, and the conversions from the wide forms.
macro_rules! elements {
    ($($variant:ident $type:ty, $wide:ident $to_wide:expr, $to_f32:expr, $from_float:expr, $from_signed:expr, $from_unsigned:expr;)*) => {
        /// Elements of any one type.
        #[doc(hidden)]
        #[derive(Clone, Debug, PartialEq)]
        pub enum Data { $($variant(Vec<$type>),)* }

        impl Data {
            pub(super) fn dtype(&self) -> DType {
                match self { $(Data::$variant(_) => DType::$variant,)* }
            }

            pub(super) fn len(&self) -> usize {
                match self { $(Data::$variant(v) => v.len(),)* }
            }

            pub(super) fn as_ptr(&self) -> *const u8 {
                match self { $(Data::$variant(v) => v.as_ptr().cast(),)* }
            }

            pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
                match self { $(Data::$variant(v) => v.as_mut_ptr().cast(),)* }
            }

            /// None if there is not that much memory.
            pub(super) fn zeros(dtype: DType, elements: usize) -> Option<Data> {
                match dtype { $(DType::$variant => {
                    // Asked for first, as the zeroing allocation below aborts where there is no memory.
                    Vec::<$type>::new().try_reserve_exact(elements).ok()?;
                    Some(Data::$variant(vec![<$type>::default(); elements]))
                })* }
            }
        }

        $(
            impl sealed::Sealed for $type {}

            impl Element for $type {
                const DTYPE: DType = DType::$variant;

                #[inline]
                fn to_f32(self) -> f32 {
                    ($to_f32)(self)
                }

                #[inline]
                fn read_le(bytes: &[u8]) -> Self {
                    from_le_bytes!($variant, bytes)
                }

                #[inline]
                fn widen(self) -> Wide {
                    Wide::$wide(($to_wide)(self))
                }

                #[inline]
                fn narrow(value: Wide) -> Self {
                    match value {
                        Wide::Float(v) => ($from_float)(v),
                        Wide::Signed(v) => ($from_signed)(v),
                        Wide::Unsigned(v) => ($from_unsigned)(v),
                    }
                }

                fn wrap(values: Vec<Self>) -> Data {
                    Data::$variant(values)
                }

                fn unwrap(data: Data) -> Option<Vec<Self>> {
                    match data {
                        Data::$variant(values) => Some(values),
                        _ => None,
                    }
                }
            }
        )*
    };
}

macro_rules! from_le_bytes {
    (Bool, $bytes:expr) => {
        $bytes[0] != 0
    };
    ($variant:ident, $bytes:expr) => {{
        let mut array = [0; size_of::<Self>()];
        array.copy_from_slice($bytes);
        Self::from_le_bytes(array)
    }};
}

elements! {
    F32 f32, Float f64::from, |v| v, |v| v as f32, |v| v as f32, |v| v as f32;
    F64 f64, Float |v| v, |v| v as f32, |v| v, |v| v as f64, |v| v as f64;
    F16 f16, Float f64::from, f32::from, f16::from_f64, |v| f16::from_f64(v as f64), |v| f16::from_f64(v as f64);
    BF16 bf16, Float f64::from, f32::from, bf16::from_f64, |v| bf16::from_f64(v as f64), |v| bf16::from_f64(v as f64);
    I8 i8, Signed i64::from, f32::from, |v| v as i8, |v| v as i8, |v| v as i8;
    I16 i16, Signed i64::from, f32::from, |v| v as i16, |v| v as i16, |v| v as i16;
    I32 i32, Signed i64::from, |v| v as f32, |v| v as i32, |v| v as i32, |v| v as i32;
    I64 i64, Signed |v| v, |v| v as f32, |v| v as i64, |v| v, |v| v as i64;
    U8 u8, Unsigned u64::from, f32::from, |v| v as u8, |v| v as u8, |v| v as u8;
    U16 u16, Unsigned u64::from, f32::from, |v| v as u16, |v| v as u16, |v| v as u16;
    U32 u32, Unsigned u64::from, |v| v as f32, |v| v as u32, |v| v as u32, |v| v as u32;
    U64 u64, Unsigned |v| v, |v| v as f32, |v| v as u64, |v| v as u64, |v| v;
    Bool bool, Unsigned u64::from, |v| f32::from(u8::from(v)), |v| v != 0.0, |v| v != 0, |v| v != 0;
}

/// Runs `$body` with `$type` bound to the Rust type of a [`DType`].
macro_rules! with_element {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $dtype {
            rectify_ir::DType::F32 => {
                type $type = f32;
                $body
            }
            rectify_ir::DType::F64 => {
                type $type = f64;
                $body
            }
            rectify_ir::DType::F16 => {
                type $type = half::f16;
                $body
            }
            rectify_ir::DType::BF16 => {
                type $type = half::bf16;
                $body
            }
            rectify_ir::DType::I8 => {
                type $type = i8;
                $body
            }
            rectify_ir::DType::I16 => {
                type $type = i16;
                $body
            }
            rectify_ir::DType::I32 => {
                type $type = i32;
                $body
            }
            rectify_ir::DType::I64 => {
                type $type = i64;
                $body
            }
            rectify_ir::DType::U8 => {
                type $type = u8;
                $body
            }
            rectify_ir::DType::U16 => {
                type $type = u16;
                $body
            }
            rectify_ir::DType::U32 => {
                type $type = u32;
                $body
            }
            rectify_ir::DType::U64 => {
                type $type = u64;
                $body
            }
            rectify_ir::DType::Bool => {
                type $type = bool;
                $body
            }
        }
    };
}
pub(crate) use with_element;
