//! What wgpu does not say of a browser's GPU: asked of the browser itself.

use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

/// Whether it was granted subgroups. wgpu cannot ask a browser for them yet
/// (its issue 5555); the page's scripts do (`www/worker-start.js`).
pub fn subgroups(device: &wgpu::Device) -> bool {
    let has = || {
        let features = get(device.as_webgpu()?.as_ref(), "features")?;
        let has: Function = get(&features, "has")?.dyn_into().ok()?;
        has.call1(&features, &"subgroups".into()).ok()?.as_bool()
    };
    has().unwrap_or(false)
}

/// The GPU's name: most browsers give a vendor and an architecture, few a description. wgpu
/// gives of an adapter the description alone, so the browser is asked for the same one again.
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

/// A property; `None` where there is none.
fn get(object: &JsValue, name: &str) -> Option<JsValue> {
    Reflect::get(object, &name.into()).ok().filter(|value| !value.is_undefined() && !value.is_null())
}
