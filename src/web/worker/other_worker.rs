//! A second worker, which computes a file's logits on the CPU where `bot.json` has none to compare
//! the GPU's with. WebAssembly memory never shrinks, so the weights go where they can be freed with
//! everything else.

use std::{cell::RefCell, rc::Rc};

use futures_channel::oneshot;
use wasm_bindgen::JsCast;
use web_sys::WorkerGlobalScope;

use super::{Machine, browser, failure::WorkerError};
use crate::web::{
    channel::{self, WorkerChannel},
    protocol::{Action, BackendChoice, Command, LoadRequest, Report, Update},
};

/// Long enough to load the file again, from the browser's cache or the network.
const TIMEOUT_MS: u32 = 600_000;

/// Loads the bot in a worker of its own and returns the logits after a prompt.
pub async fn logits(
    machine: &Machine,
    request: &LoadRequest,
    prompt: &[u32],
) -> Result<Vec<f32>, WorkerError> {
    let scope: WorkerGlobalScope = js_sys::global().dyn_into().map_err(|_| WorkerError::NotReady)?;
    // The same script, with the same options.
    let location = scope.location();
    let address = format!("{}{}?{}", location.origin(), location.pathname(), machine.options);

    // The pending request; dropped if the worker dies, so that nobody waits.
    let asker = Rc::new(RefCell::new(None::<oneshot::Sender<Update>>));
    let on_report = {
        let asker = asker.clone();
        move |report: Report| {
            if let Update::Ready(_) | Update::Logits(_) | Update::Failed(_) = report.update
                && let Some(asker) = asker.borrow_mut().take()
            {
                let _ = asker.send(report.update);
            }
        }
    };
    let on_death = {
        let asker = asker.clone();
        move |_| drop(asker.borrow_mut().take())
    };
    let channel = WorkerChannel::open(channel::start(&address)?, &machine.options, on_report, on_death)?;
    let ask = async |id, action| {
        let (sender, answer) = oneshot::channel();
        *asker.borrow_mut() = Some(sender);
        channel.send(Command { id, action });
        browser::within(TIMEOUT_MS, answer).await
    };
    let load = LoadRequest { backend: BackendChoice::Simd, ..request.clone() };
    let answer = match ask(1, Action::Load(load)).await {
        Some(Ok(Update::Ready(_))) => ask(2, Action::Logits(prompt.to_vec())).await,
        answer => answer,
    };
    match answer {
        Some(Ok(Update::Logits(logits))) => Ok(logits),
        Some(Ok(Update::Failed(failure))) => {
            Err(WorkerError::OtherWorker(failure.message.trim_end_matches('.').into()))
        }
        _ => Err(WorkerError::OtherWorker("the CPU engine to compare it with did not answer".into())),
    }
}
