//! Constructors that refuse, views and conversions.

use half::{bf16, f16};

use super::*;

#[test]
fn lengths_are_checked() {
    let error = Tensor::new([2, 3], vec![0.0f32; 5]).unwrap_err();
    assert_eq!(error.to_string(), "shape [2, 3] has 6 elements, the data has 5");
    let error = TensorView::new(&[usize::MAX, 2], &[0u8; 4]).unwrap_err();
    assert!(matches!(error, TensorError::Overflow { .. }));
    assert!(matches!(Tensor::zeros(DType::F64, [1 << 40, 1 << 20]), Err(TensorError::Overflow { .. })));
    assert_eq!(Tensor::zeros(DType::F64, [usize::MAX, 0, 7]).unwrap().elements(), 0);
    assert_eq!(Tensor::scalar(3i64).as_slice::<i64>().unwrap(), [3]);
    assert!(TensorView::new::<f32>(&[0, usize::MAX, 2], &[]).unwrap().as_slice::<f32>().unwrap().is_empty());
}

#[test]
fn types_are_checked() {
    let tensor = Tensor::new([2], vec![1.0f32, 2.0]).unwrap();
    let error = tensor.as_slice::<i32>().unwrap_err();
    assert_eq!(error.to_string(), "the tensor holds f32, not i32");
    assert_eq!(tensor.clone().into_vec::<f32>().unwrap(), [1.0, 2.0]);
    assert!(tensor.into_vec::<f64>().is_err());
}

#[test]
fn bytes_round_trip_and_are_checked() {
    let tensor = Tensor::new([2, 2], vec![1i16, -2, 300, i16::MIN]).unwrap();
    let bytes = tensor.view().bytes().to_vec();
    assert_eq!(Tensor::from_bytes(DType::I16, [2, 2], &bytes).unwrap(), tensor);
    assert!(matches!(
        Tensor::from_bytes(DType::I16, [2, 3], &bytes),
        Err(TensorError::Bytes { want: 12, got: 8, .. })
    ));
    let error = Tensor::from_bytes(DType::Bool, [3], &[0, 1, 2]).unwrap_err();
    assert_eq!(error, TensorError::Bool { index: 2, value: 2 });
    let words = [0u64; 2];
    let bytes = Tensor::new([2], words.to_vec()).unwrap();
    let shifted = &bytes.view().bytes()[1..9];
    assert!(matches!(
        TensorView::from_bytes(DType::F64, &[1], shifted),
        Err(TensorError::Alignment { align: 8, .. })
    ));
}

#[test]
fn views_write_through() {
    let mut data = [0.0f32; 4];
    let mut view = TensorViewMut::new(&[2, 2], &mut data).unwrap();
    view.as_mut_slice::<f32>().unwrap()[3] = 5.0;
    let source = Tensor::new([2, 2], vec![1.0f32; 4]).unwrap();
    assert_eq!(view.view().as_slice::<f32>().unwrap(), [0.0, 0.0, 0.0, 5.0]);
    view.copy_from(source.view()).unwrap();
    assert!(view.copy_from(source.clone().reshape([4]).unwrap().view()).is_err());
    assert_eq!(data, [1.0; 4]);
    assert!(source.reshape([3]).is_err());
}

#[test]
fn every_type_converts_small_numbers_to_every_other() {
    let numbers = Tensor::new([4], vec![0.0f64, 1.0, 0.0, 1.0]).unwrap();
    for from in DType::ALL {
        for to in DType::ALL {
            let there = numbers.convert(from).unwrap().convert(to).unwrap();
            assert_eq!(there.dtype(), to);
            assert_eq!(there.convert(DType::F64).unwrap(), numbers, "{from} to {to}");
        }
    }
}

#[test]
fn conversions_round_and_saturate() {
    let convert = |v: f64, dtype| Tensor::scalar(v).convert(dtype).unwrap();
    assert_eq!(convert(-3.9, DType::I8), Tensor::scalar(-3i8));
    assert_eq!(convert(1e9, DType::U16), Tensor::scalar(u16::MAX));
    assert_eq!(convert(f64::NAN, DType::I32), Tensor::scalar(0i32));
    assert_eq!(convert(1.0 + 1e-3, DType::BF16), Tensor::scalar(bf16::from_f32(1.0)));
    assert_eq!(convert(65504.0, DType::F16), Tensor::scalar(f16::MAX));
    let big = Tensor::scalar(i64::MAX - 1);
    assert_eq!(big.convert(DType::U64).unwrap(), Tensor::scalar(i64::MAX as u64 - 1));
    assert_eq!(Tensor::scalar(f16::from_f32(0.5)).view().to_f32_vec(), [0.5]);
    assert_eq!(Tensor::scalar(true).view().to_f64_vec(), [1.0]);
}
