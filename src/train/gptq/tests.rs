use super::{matrix, *};
use crate::{
    bundle::{
        q4_0,
        quantize::{dequantize_rows, quantize_rows},
    },
    dtype::Dtype,
    train::{ops::check, scratch},
};

/// X^T X for X (rows, inputs) whose columns are mixtures of a few others, as activations are.
fn correlated(inputs: usize) -> Vec<f32> {
    let (rows, sources) = (4 * inputs, inputs / 8);
    let (causes, mixture) = (check::values(rows * sources, 0.1), check::values(sources * inputs, 0.7));
    let mut x = check::values(rows * inputs, 0.4);
    x.iter_mut().for_each(|x| *x *= 0.1);
    let (causes, mixture) = (View::new(&causes, rows, sources), View::new(&mixture, sources, inputs));
    product(causes, mixture, &mut x, inputs, true, Cores::One);
    let x = View::new(&x, rows, inputs);
    let mut products = vec![0.0; inputs * inputs];
    product(x.t(), x, &mut products, inputs, false, Cores::One);
    products
}

fn transposed(values: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|i| values[i % rows * cols + i / rows]).collect()
}

/// Squared norm of X D for the error D (in, out).
fn output_error(products: &[f32], errors: &[f32], inputs: usize) -> f64 {
    let outputs = errors.len() / inputs;
    let mut of_errors = vec![0.0; errors.len()];
    let (h, d) = (View::new(products, inputs, inputs), View::new(errors, inputs, outputs));
    product(h, d, &mut of_errors, outputs, false, Cores::One);
    of_errors.iter().zip(errors).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn difference(a: &[f32], b: &[f32]) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

#[test]
fn feedback_halves_the_error_of_outputs() {
    // Outputs that are no whole group of lanes.
    let (inputs, outputs) = (96, 41);
    let weight = check::values(inputs * outputs, 0.2);
    let products = correlated(inputs);

    let mut fed_back = weight.clone();
    let bytes = matrix::quantize(&mut fed_back, products.clone()).unwrap();
    let read = dequantize_rows(&bytes, Dtype::Q4_0).unwrap();
    let read = transposed(&read, outputs, inputs);
    for (read, replaced) in read.iter().zip(&fed_back) {
        assert!((read - replaced).abs() < 1e-6, "{read} {replaced}");
    }

    let plain = quantize_rows(&transposed(&weight, inputs, outputs), Dtype::Q4_0).unwrap();
    let plain = transposed(&dequantize_rows(&plain, Dtype::Q4_0).unwrap(), outputs, inputs);
    let [with, without] =
        [&fed_back, &plain].map(|stored| output_error(&products, &difference(&weight, stored), inputs));
    assert!(with < 0.5 * without, "{with} {without}");
}

#[test]
fn inputs_that_do_not_correlate_leave_plain_rounding() {
    let (inputs, outputs) = (64, 16);
    let weight = check::values(inputs * outputs, 0.2);
    let products: Vec<f32> =
        (0..inputs * inputs).map(|i| if i % (inputs + 1) == 0 { 4.0 } else { 0.0 }).collect();
    let bytes = matrix::quantize(&mut weight.clone(), products).unwrap();
    let plain = q4_0::quantize(&transposed(&weight, inputs, outputs));
    let errors = [&bytes, &plain].map(|bytes| {
        let read = transposed(&dequantize_rows(bytes, Dtype::Q4_0).unwrap(), outputs, inputs);
        difference(&weight, &read).iter().map(|x| f64::from(x * x)).sum::<f64>()
    });
    assert!((errors[0] - errors[1]).abs() < 1e-3 * errors[1], "{errors:?}");
}

#[test]
fn what_cannot_be_quantised_is_left_alone() {
    let mut weight = vec![1.0; 33 * 2];
    assert!(matrix::quantize(&mut weight, vec![1.0; 33 * 33]).is_none());
    let mut weight = vec![1.0; 32 * 2];
    assert!(matrix::quantize(&mut weight, vec![f32::NAN; 32 * 32]).is_none());
    assert_eq!(weight, [1.0; 64]);
    weight[5] = f32::INFINITY;
    assert!(matrix::quantize(&mut weight, vec![0.0; 32 * 32]).is_none());
}

#[test]
fn inputs_that_are_all_zero_are_rounded_plainly() {
    let mut weight = check::values(32 * 16, 0.2);
    let plain = q4_0::quantize(&transposed(&weight, 32, 16));
    let bytes = matrix::quantize(&mut weight, vec![0.0; 32 * 32]).unwrap();
    assert_eq!(bytes.len(), plain.len());
}

fn config() -> Config {
    Config {
        vocab_size: 301,
        n_positions: 40,
        n_embd: 64,
        n_layer: 2,
        n_head: 4,
        n_inner: 128,
        layer_norm_epsilon: 1e-5,
        embd_pdrop: 0.1,
        attn_pdrop: 0.1,
        resid_pdrop: 0.1,
        eos_token_id: 0,
    }
}

fn ids(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i % 997) * (i % 997) * 13 % 301).collect()
}

fn all(weights: &mut Weights, ids: &[u32]) -> Quantized {
    quantize(&config(), weights, ids, 40, |_| true, |_| false).unwrap().unwrap()
}

#[test]
fn every_matrix_is_quantised_for_the_layers_before_it() {
    let original = scratch::weights(&config(), 3);
    let mut stored = original.clone();
    let quantized = all(&mut stored, &ids(4000));
    assert_eq!(quantized.len(), 8);
    for (name, bytes) in &quantized {
        let shape = &original[name].shape;
        let read = transposed(&dequantize_rows(bytes, Dtype::Q4_0).unwrap(), shape[1], shape[0]);
        for (read, replaced) in read.iter().zip(&stored[name].data) {
            assert!((read - replaced).abs() < 1e-6, "{name}: {read} {replaced}");
        }
    }
    // The second layer's matrices differ when the first layer is not quantised.
    let second = |tensor: &names::Tensor| tensor.name.starts_with("h.1.");
    let of_exact = quantize(&config(), &mut original.clone(), &ids(4000), 40, second, |_| false);
    let of_exact = of_exact.unwrap().unwrap();
    assert_eq!(of_exact.len(), 4);
    assert!(of_exact.iter().all(|(name, bytes)| &quantized[name] != bytes));
}

#[test]
fn no_number_of_threads_changes_a_bit() {
    let weights = scratch::weights(&config(), 3);
    check::any_number_of_threads(|| {
        let quantized = all(&mut weights.clone(), &ids(4000));
        quantized.values().flatten().map(|&byte| f32::from(byte)).collect()
    });
}

#[test]
fn it_can_be_stopped_and_refuses_what_is_no_batch() {
    let mut weights = scratch::weights(&config(), 3);
    assert!(quantize(&config(), &mut weights, &ids(80), 40, |_| true, |_| true).unwrap().is_none());
    for (ids, context) in [(vec![1; 41], 41), (vec![1; 7], 3), (vec![], 3), (vec![301; 4], 2)] {
        assert!(quantize(&config(), &mut weights, &ids, context, |_| true, |_| false).is_err());
    }
}
