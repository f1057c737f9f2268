//! Tests of data sets, and the files that they share.

mod formats;
mod loading;

use std::fs;
use std::path::PathBuf;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rectify-sets-{}-{name}", std::process::id()));
    let _absent = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[cfg(feature = "image")]
fn picture(path: &std::path::Path, height: usize, width: usize, value: f32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let tensor = rectify_runtime::Tensor::new([3, height, width], vec![value; 3 * height * width]).unwrap();
    crate::data::write_picture(path, tensor.view()).unwrap();
}
