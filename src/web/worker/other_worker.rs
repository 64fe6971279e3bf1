//! A second worker, for the one thing that this one must not do: compute a
//! foreign file's logits on the processor. WebAssembly memory never shrinks, so
//! the weights go where they can be dropped with everything else.

use std::{cell::RefCell, rc::Rc};

use futures_channel::oneshot;
use gloo::worker::Spawnable;
use wasm_bindgen::JsCast;
use web_sys::{BroadcastChannel, UrlSearchParams, WorkerGlobalScope};

use super::{browser, failure::WorkerError};
use crate::web::protocol::{BackendChoice, Command, Json, LoadRequest, News, Order, Report, WorkerSide};

/// It loads the file again, from the browser's cache or the network.
const PATIENCE_MS: u32 = 600_000;

/// Loads the bot in a worker of its own, and gives the logits behind a prompt.
pub async fn logits(request: &LoadRequest, prompt: &[u32]) -> Result<Vec<f32>, WorkerError> {
    let scope: WorkerGlobalScope = js_sys::global().dyn_into().map_err(|_| WorkerError::NotReady)?;
    // The same script with the same wishes, but a line of its own to be ended by.
    let address = scope.location();
    let wishes = UrlSearchParams::new_with_str(&address.search())?;
    let line = format!("{}-check", wishes.get("line").unwrap_or_default());
    wishes.set("line", &line);
    let channel = BroadcastChannel::new(&line)?;
    let url = format!("{}{}?{}", address.origin(), address.pathname(), String::from(wishes.to_string()));

    // Who waits for the next answer.
    let asker = Rc::new(RefCell::new(None::<oneshot::Sender<News>>));
    let bridge = WorkerSide::spawner()
        .encoding::<Json>()
        .with_loader(true)
        .callback({
            let asker = asker.clone();
            move |report: Report| {
                if let News::Ready(_) | News::Logits(_) | News::Failed(_) = report.news
                    && let Some(asker) = asker.borrow_mut().take()
                {
                    let _ = asker.send(report.news);
                }
            }
        })
        .spawn(&url);
    let ask = async |id, order| {
        let (sender, answer) = oneshot::channel();
        *asker.borrow_mut() = Some(sender);
        bridge.send(Command { id, order });
        browser::within(PATIENCE_MS, answer).await
    };
    let load = LoadRequest { backend: BackendChoice::Simd, ..request.clone() };
    let answer = match ask(1, Order::Load(load)).await {
        Some(Ok(News::Ready(_))) => ask(2, Order::Logits(prompt.to_vec())).await,
        answer => answer,
    };
    // Any message ends it.
    channel.post_message(&"done".into())?;
    channel.close();
    match answer {
        Some(Ok(News::Logits(logits))) => Ok(logits),
        Some(Ok(News::Failed(failure))) => Err(WorkerError::Browser(failure.message)),
        _ => Err(WorkerError::Browser("the worker that checks the GPU does not answer".into())),
    }
}
