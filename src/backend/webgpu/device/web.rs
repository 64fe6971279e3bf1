//! What wgpu does not report about a browser's GPU, asked of the browser itself.

use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Returns whether subgroups were enabled on the device. wgpu cannot request them from a browser
/// yet (its issue 5555); `www/worker-start.js` does.
pub fn subgroups(device: &wgpu::Device) -> bool {
    let has = || {
        let features = get(device.as_webgpu()?.as_ref(), "features")?;
        let has: Function = get(&features, "has")?.dyn_into().ok()?;
        has.call1(&features, &"subgroups".into()).ok()?.as_bool()
    };
    has().unwrap_or(false)
}

/// Returns the GPU's name. Most browsers give a vendor and an architecture, few a description;
/// wgpu exposes only the description, so the browser is asked for the same adapter again.
pub async fn name(info: &wgpu::AdapterInfo) -> String {
    let words = adapter_words().await.unwrap_or_default();
    if words.is_empty() { info.name.clone() } else { words.join(" ") }
}

async fn adapter_words() -> Option<Vec<String>> {
    let gpu = get(&get(&js_sys::global(), "navigator")?, "gpu")?;
    let wish = JsValue::from(Object::new());
    Reflect::set(&wish, &"powerPreference".into(), &"high-performance".into()).ok()?;
    let request: Function = get(&gpu, "requestAdapter")?.dyn_into().ok()?;
    let adapter: Promise = request.call1(&gpu, &wish).ok()?.dyn_into().ok()?;
    let info = get(&JsFuture::from(adapter).await.ok()?, "info")?;
    let words = ["vendor", "architecture", "description"].map(|part| get(&info, part)?.as_string());
    Some(words.into_iter().flatten().filter(|word| !word.is_empty()).collect())
}

/// Reads a property; `None` if it is missing or null.
fn get(object: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(object, &name.into()).ok().filter(|value| !value.is_undefined() && !value.is_null())
}
