//! How to make a bot from one's own posts, and the archive check: a frame whose policy forbids
//! every connection (`www/check.html`).

use gloo::events::EventListener;
use js_sys::{Array, ArrayBuffer, Object, Reflect};
use leptos::{html, prelude::*};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::spawn_local;
use web_sys::{HtmlIFrameElement, MessageEvent, Window};

use super::handle::Handle;
use crate::web::{
    channel::field,
    page::{Word, preferences::Tab},
};

/// Messages of the frame: it listens or asks for the readers again; its height has changed.
const READY: &str = "huggingtweets:check-ready";
const HEIGHT: &str = "huggingtweets:check-height";

/// Messages to the frame: its sentences and colours; the readers, or null.
const WORDS_FOR_IT: &str = "huggingtweets:check";
const READERS_FOR_IT: &str = "huggingtweets:check-readers";

/// The frame's height until it reports one.
const UNKNOWN_PX: u32 = 240;

/// The readers' wasm, which the frame may not fetch itself.
const READERS: &str = "./reader/reader_bg.wasm";

/// How to build the command, and where to get Rust.
const BUILD: &str = "cargo build --release --locked --bin huggingtweets";
const RUST: &str = "https://rustup.rs";

/// The sentences that the frame shows.
const WORDS: [Word; 22] = [
    Word::CheckFrame,
    Word::CheckChoose,
    Word::CheckKinds,
    Word::CheckReading,
    Word::CheckResult,
    Word::CheckChars,
    Word::CheckUnreadable,
    Word::CheckUnnamed,
    Word::CheckExamples,
    Word::CheckPlenty,
    Word::CheckEnough,
    Word::CheckLittle,
    Word::CheckTooFew,
    Word::CheckMinutes,
    Word::CheckFailed,
    Word::CheckNoReaders,
    Word::Crashed,
    Word::Count,
    Word::Downloaded,
    Word::Retweets,
    Word::Short,
    Word::Kept,
];

#[component]
pub fn OwnTab(handle: Handle) -> impl IntoView {
    let way = move |network: &'static str, word: Word| {
        view! { <li><strong>{network}</strong>" "{handle.say(word)}</li> }
    };
    view! {
        <div class="sheet prose">
            <h2>{handle.say(Word::OwnTitle)}</h2>
            <p>{handle.say(Word::OwnIntro)}</p>
            <p>{handle.say(Word::ConsentNote)}</p>
            <h3>{handle.say(Word::GetArchive)}</h3>
            <ul>
                {way("X", Word::GetX)}
                {way("Mastodon", Word::GetMastodon)}
                {way("Bluesky", Word::GetBluesky)}
            </ul>
            <h3>{handle.say(Word::CheckTitle)}</h3>
            <p>{handle.say(Word::CheckNote)}</p>
            <Check handle />
            <h3>{handle.say(Word::CommandTitle)}</h3>
            <pre>"huggingtweets train archive.zip --out bot\nhuggingtweets serve --model bot"</pre>
            <p>{handle.say(Word::CommandNote)}</p>
            <p>
                {handle.say(Word::CommandSource)}
                " "
                <a href=RUST rel="noopener noreferrer">"rustup.rs"</a>
            </p>
            <pre>{BUILD}</pre>
            <h3>{handle.say(Word::CostTitle)}</h3>
            <p>{handle.say(Word::CostNote)}</p>
        </div>
    }
}

/// The frame, created when its tab is first shown.
#[component]
fn Check(handle: Handle) -> impl IntoView {
    let frame = NodeRef::<html::Iframe>::new();
    let wanted = Memo::new(move |before: Option<&bool>| {
        before.copied().unwrap_or(false) || handle.tab.get() == Tab::Own
    });
    let height = RwSignal::new(0u32);
    let listener = EventListener::new(&window(), "message", move |event| {
        let (Some(event), Some(frame)) = (event.dyn_ref::<MessageEvent>(), frame.get_untracked()) else {
            return;
        };
        let Some(inside) = own_window(event, &frame) else { return };
        let data = event.data();
        match field(&data, "type").and_then(|kind| kind.as_string()).as_deref() {
            Some(READY) => {
                tell(handle, &inside);
                spawn_local(async move { give(&inside, readers().await) });
            }
            Some(HEIGHT) => {
                let px = field(&data, "height").and_then(|height| height.as_f64());
                height.set(px.unwrap_or(0.0) as u32);
            }
            _ => {}
        }
    });
    let listener = StoredValue::new_local(Some(listener));
    on_cleanup(move || _ = listener.try_set_value(None));
    // Language or theme may change while the frame is open.
    Effect::new(move |_| {
        handle.words.track();
        handle.theme.track();
        if let Some(inside) = frame.get_untracked().and_then(|frame| frame.content_window()) {
            tell(handle, &inside);
        }
    });
    view! {
        <Show when=move || wanted.get()>
            <iframe
                node_ref=frame
                class="check"
                src="./check.html"
                title=handle.say(Word::CheckFrame)
                height=move || Some(height.get()).filter(|px| *px > 0).unwrap_or(UNKNOWN_PX).to_string()
            ></iframe>
        </Show>
    }
}

/// The frame's window, if it sent the message.
fn own_window(event: &MessageEvent, frame: &HtmlIFrameElement) -> Option<Window> {
    let inside = frame.content_window()?;
    let source = event.source()?;
    (JsValue::from(source) == JsValue::from(inside.clone())).then_some(inside)
}

async fn readers() -> Option<ArrayBuffer> {
    let response = gloo::net::http::Request::get(READERS).send().await.ok().filter(|r| r.ok())?;
    let bytes = response.binary().await.ok()?;
    Some(js_sys::Uint8Array::from(bytes.as_slice()).buffer())
}

/// Sends the frame its sentences and colours.
fn tell(handle: Handle, inside: &Window) {
    let sentences = Object::new();
    let language = handle.words.with_untracked(|words| {
        for word in WORDS {
            let _ = Reflect::set(&sentences, &word.name().into(), &words[word].into());
        }
        words.language.code()
    });
    let message = message(WORDS_FOR_IT);
    let set = |name: &str, value: &JsValue| _ = Reflect::set(&message, &name.into(), value);
    set("words", &sentences);
    set("language", &language.into());
    set("theme", &handle.theme.get_untracked().name().into());
    post(inside, &message, &Array::new());
}

/// Sends the frame the readers, or null if they could not be fetched.
fn give(inside: &Window, readers: Option<ArrayBuffer>) {
    let message = message(READERS_FOR_IT);
    let readers = readers.map_or(JsValue::NULL, JsValue::from);
    let _ = Reflect::set(&message, &"readers".into(), &readers);
    let transfer = if readers.is_null() { Array::new() } else { Array::of1(&readers) };
    post(inside, &message, &transfer);
}

fn message(kind: &str) -> Object {
    let message = Object::new();
    let _ = Reflect::set(&message, &"type".into(), &kind.into());
    message
}

fn post(inside: &Window, message: &Object, transfer: &Array) {
    let origin = window().location().origin().unwrap_or_default();
    let _ = inside.post_message_with_transfer(message, &origin, transfer);
}
