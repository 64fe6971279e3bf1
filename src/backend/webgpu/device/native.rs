//! Native counterpart of `web.rs`: wgpu itself answers everything.

/// Returns whether subgroups were enabled on the device.
pub fn subgroups(device: &wgpu::Device) -> bool {
    device.features().contains(wgpu::Features::SUBGROUP)
}

/// Returns the GPU's name.
pub async fn name(info: &wgpu::AdapterInfo) -> String {
    info.name.clone()
}
