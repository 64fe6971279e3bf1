//! What wgpu does not say of a device, natively: nothing.

/// Whether it was granted subgroups.
pub fn subgroups(device: &wgpu::Device) -> bool {
    device.features().contains(wgpu::Features::SUBGROUP)
}

/// The GPU's name.
pub async fn name(info: &wgpu::AdapterInfo) -> String {
    info.name.clone()
}
