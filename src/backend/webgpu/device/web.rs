//! What wgpu does not say of a browser's device: asked of the device itself.

use js_sys::{Function, Reflect};
use wasm_bindgen::{JsCast, JsValue};

fn property(device: &wgpu::Device, name: &str) -> Option<JsValue> {
    Reflect::get(device.as_webgpu()?.as_ref(), &name.into()).ok()
}

/// Whether it was granted subgroups. wgpu cannot ask a browser for them yet
/// (its issue 5555); the page's scripts do (`www/worker-start.js`).
pub fn subgroups(device: &wgpu::Device) -> bool {
    let has = || {
        let features = property(device, "features")?;
        let has: Function = Reflect::get(&features, &"has".into()).ok()?.dyn_into().ok()?;
        has.call1(&features, &"subgroups".into()).ok()?.as_bool()
    };
    has().unwrap_or(false)
}

/// The GPU's name: most browsers give a vendor and an architecture, few a description.
pub fn name(device: &wgpu::Device, info: &wgpu::AdapterInfo) -> String {
    let words = ["vendor", "architecture", "description"].map(|part| {
        let found = property(device, "adapterInfo").filter(JsValue::is_object)?;
        Reflect::get(&found, &part.into()).ok()?.as_string().filter(|word| !word.is_empty())
    });
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() { info.name.clone() } else { words.join(" ") }
}
