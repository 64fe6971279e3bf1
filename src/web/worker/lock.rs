//! Web Locks: one tab at a time downloads a file to this device; the others wait and find it there.
//! The browser releases the lock of a tab that is closed.

use js_sys::{Function, Object, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

use super::{browser::navigator, storage::swallow};

// This interface is still unstable in web-sys.
#[wasm_bindgen]
extern "C" {
    type Locks;
    #[wasm_bindgen(method, catch, js_name = request)]
    fn request(this: &Locks, name: &str, options: &Object, granted: &Function) -> Result<Promise, JsValue>;
}

/// A Web Lock, held until dropped.
pub struct Lock {
    release: Function,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.release.call0(&JsValue::NULL);
    }
}

/// Waits for the lock; `waiting` is called if another tab has it. `None` if the browser has no
/// locks for this page.
pub async fn hold(name: &str, waiting: impl FnOnce()) -> Option<Lock> {
    let locks = locks()?;
    let at_once = Object::new();
    Reflect::set(&at_once, &"ifAvailable".into(), &true.into()).ok()?;
    if let Some(lock) = request(&locks, name, &at_once).await? {
        return Some(lock);
    }
    waiting();
    request(&locks, name, &Object::new()).await?
}

fn locks() -> Option<Locks> {
    navigator("locks").map(JsCast::unchecked_into)
}

/// `Some(None)`: not available now.
async fn request(locks: &Locks, name: &str, options: &Object) -> Option<Option<Lock>> {
    let mut release = None;
    // The lock is held while this promise is pending.
    let held = Promise::new(&mut |resolve, _| release = Some(resolve));
    let release = release?;
    let answer = Promise::new(&mut |resolve: Function, reject: Function| {
        let held = held.clone();
        let granted = Closure::once_into_js(move |lock: JsValue| {
            let _ = resolve.call1(&JsValue::NULL, &lock);
            if lock.is_null() { JsValue::UNDEFINED } else { held.into() }
        });
        match locks.request(name, options, granted.unchecked_ref()) {
            Ok(ended) => swallow(ended),
            Err(error) => {
                let _ = reject.call1(&JsValue::NULL, &error);
            }
        }
    });
    let lock = JsFuture::from(answer).await.ok()?;
    Some((!lock.is_null()).then_some(Lock { release }))
}
