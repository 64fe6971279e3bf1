//! Which device a network is trained on.

use candle_core::Device;

use super::TrainError;

/// What can be asked for: `auto` is the GPU where this build has one, else the processor.
pub const NAMES: [&str; 3] = ["auto", "cpu", "cuda"];

/// The device of one of [`NAMES`].
///
/// # Errors
/// Where `cuda` is asked for and this build or this machine has none.
pub fn open(name: &str) -> Result<Device, TrainError> {
    match name {
        "cuda" if !cfg!(feature = "cuda") => Err(TrainError::NoCuda {
            reason: "this build is for processors alone: build with `--features cuda`".into(),
        }),
        "cuda" => {
            Device::new_cuda(0).map_err(|error| TrainError::NoCuda { reason: first_line(&error.to_string()) })
        }
        "auto" if candle_core::utils::cuda_is_available() => Ok(Device::new_cuda(0).unwrap_or(Device::Cpu)),
        _ => Ok(Device::Cpu),
    }
}

/// As one of [`NAMES`].
pub fn name(device: &Device) -> &'static str {
    if device.is_cuda() { "cuda" } else { "cpu" }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_for_processors_has_no_gpu_and_says_so() {
        assert!(open("cpu").unwrap().is_cpu());
        if !cfg!(feature = "cuda") {
            assert!(open("auto").unwrap().is_cpu());
            let error = open("cuda").unwrap_err().to_string();
            assert!(error.contains("--features cuda") && error.contains("--device cpu"), "{error}");
        }
    }
}
