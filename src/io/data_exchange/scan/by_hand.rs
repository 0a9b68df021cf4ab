//! For tests: a small file, spoilt as a test wants it, and parameters in one line.

use std::path::Path;

use ndarray::{Array1, Array3};

use crate::io::{DataExchangeParams, NanPolicy};

pub fn params(path: &str, rows: Option<Vec<usize>>) -> DataExchangeParams {
    DataExchangeParams { path: path.into(), rows, clamp: 1e-6, nan: NanPolicy::Error }
}

/// 4 angles, 5 rows, 3 columns of 16-bit counts; white 100 and 300 (mean 200), dark 0 in one frame.
pub fn small(folder: &Path, change: impl FnOnce(&hdf5::Group)) {
    let _ = std::fs::remove_file(folder.join("a.h5"));
    let file = hdf5::File::create(folder.join("a.h5")).unwrap();
    let exchange = file.create_group("exchange").unwrap();
    let data = Array3::from_shape_fn((4, 5, 3), |(a, r, c)| 100u16 + (20 * a + 4 * r + c) as u16);
    exchange.new_dataset_builder().with_data(&data).create("data").unwrap();
    let white = Array3::from_shape_fn((2, 5, 3), |(f, ..)| 100.0f32 + 200.0 * f as f32);
    exchange.new_dataset_builder().with_data(&white).create("data_white").unwrap();
    exchange.new_dataset_builder().with_data(&Array3::<f32>::zeros((1, 5, 3))).create("data_dark").unwrap();
    change(&exchange);
}

pub fn theta(exchange: &hdf5::Group, angles: &[f64]) -> hdf5::Dataset {
    exchange.new_dataset_builder().with_data(&Array1::from_vec(angles.to_vec())).create("theta").unwrap()
}
