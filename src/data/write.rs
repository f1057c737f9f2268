//! Tensors to .npy and .npz files.

use rectify_runtime::TensorView;
use rectify_runtime::files::{npy, zip};
use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Writes one tensor. bf16, which numpy lacks, is written as its bits in u16.
pub fn write_npy(path: &Path, tensor: TensorView<'_>) -> io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    file.write_all(&npy::header_bytes(tensor.dtype(), tensor.shape()))?;
    file.write_all(&little_endian(tensor))?;
    file.flush()
}

/// Writes named tensors into one file.
pub fn write_npz<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, TensorView<'a>)>,
) -> io::Result<()> {
    let mut writer = zip::Writer::new(BufWriter::new(std::fs::File::create(path)?));
    for (name, tensor) in tensors {
        let header = npy::header_bytes(tensor.dtype(), tensor.shape());
        writer.add(&format!("{name}.npy"), &[&header, &little_endian(tensor)])?;
    }
    writer.finish()
}

fn little_endian(tensor: TensorView<'_>) -> Cow<'_, [u8]> {
    let bytes = tensor.bytes();
    if cfg!(target_endian = "little") {
        return bytes.into();
    }
    let mut swapped = bytes.to_vec();
    swapped.chunks_exact_mut(tensor.dtype().size_bytes()).for_each(<[u8]>::reverse);
    swapped.into()
}
