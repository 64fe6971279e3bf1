//! Choice of the device to train on.

use candle_core::Device;

use super::TrainError;

/// Valid names: `auto` is the GPU if this build supports one and it can be opened, else the CPU.
pub const NAMES: [&str; 3] = ["auto", "cpu", "cuda"];

/// Opens the device of one of [`NAMES`].
///
/// # Errors
/// If the name is `cuda` and this build or this machine has no GPU.
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

/// The device's name among [`NAMES`].
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
