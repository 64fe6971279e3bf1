//! Five drafts as tweet cards.

use gloo::timers::callback::Timeout;
use leptos::{html, prelude::*};
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::spawn_local;
use web_sys::MouseEvent;

use super::{
    browser,
    composer::seed,
    handle::Handle,
    header::{Avatars, handles, label},
    helper,
};
use crate::{
    bundle::face::faces,
    web::{
        page::{
            Word,
            draft::Draft,
            share::{self, Network},
            starts,
            state::DRAFTS,
            text,
            weight::{MAX_WEIGHT, weight},
        },
        protocol::BotInfo,
    },
};

/// How long a button shows the result of a click.
const ANSWER_MS: u32 = 2000;

/// How long a picture's URL stays valid, for the browser to save it.
const SAVED_MS: u32 = 60_000;

#[component]
pub fn DraftList(handle: Handle) -> impl IntoView {
    let verdict = Memo::new(move |_| handle.page.with(|page| page.verdict));
    let promised = move || {
        let verdict = verdict.get()?;
        let sentence = move || handle.words.with(|words| text::verdict(words, verdict));
        Some(view! { <p class="verdict">{sentence}</p> })
    };
    view! {
        <section class="drafts">
            <h2 id="drafts-title">{handle.say(Word::Drafts)}</h2>
            <div aria-live="polite">{promised}</div>
            // Styled lists lose their role in some screen readers unless it is explicit.
            <ul role="list" aria-labelledby="drafts-title">
                {(0..DRAFTS).map(|card| view! { <li><DraftCard handle card /></li> }).collect_view()}
            </ul>
            <Spoken handle />
        </section>
    }
}

/// The language of a bot's drafts, as an attribute; empty if unknown.
fn bot_language(bot: Option<&BotInfo>) -> String {
    bot.and_then(starts::language).unwrap_or_default().to_owned()
}

/// The live region for finished drafts; single tokens would be noise.
#[component]
fn Spoken(handle: Handle) -> impl IntoView {
    let spoken = Memo::new(move |_| handle.page.with(|page| page.spoken.clone()));
    let sentence = move |(card, draft): (usize, String)| {
        let number = (card + 1).to_string();
        let (before, after) =
            handle.words.with_untracked(|words| text::around(words, Word::Spoken, &[("n", &number)], "text"));
        let language = handle.page.with_untracked(|page| bot_language(page.bot.as_ref()));
        view! { <p>{before}<span lang=language>{draft}</span>{after}</p> }
    };
    view! {
        <div class="unseen" aria-live="polite" data-testid="spoken">
            <For each=move || spoken.get() key=Clone::clone let:draft>
                {sentence(draft)}
            </For>
        </div>
    }
}

/// What every part of a card needs.
#[derive(Clone, Copy)]
struct Card {
    handle: Handle,
    card: usize,
    draft: Memo<Draft>,
    bot: Memo<BotInfo>,
}

impl Card {
    /// The accessible name of one of its buttons.
    fn name(self, action: Word) -> impl Fn() -> String + Copy + Send + 'static {
        let number = self.card + 1;
        move || {
            self.handle.words.with(|words| {
                words.fill(Word::ForDraft, &[("action", &words[action]), ("n", &number.to_string())])
            })
        }
    }

    fn numbered(self, word: Word) -> impl Fn() -> String + Copy + Send + 'static {
        let number = self.card + 1;
        move || self.handle.words.with(|words| words.fill(word, &[("n", &number.to_string())]))
    }

    /// The text that a post form is filled in with.
    fn post(self) -> String {
        let bot = self.bot.with(|bot| bot.name.clone());
        let line = self.handle.words.with(|words| words.fill(Word::PostLine, &[("bot", &bot)]));
        self.draft.with(|draft| share::share_text(&line, &draft.start, &draft.text))
    }
}

#[component]
fn DraftCard(handle: Handle, card: usize) -> impl IntoView {
    let this = Card {
        handle,
        card,
        draft: Memo::new(move |_| handle.page.with(|page| page.drafts[card].clone())),
        bot: Memo::new(move |_| handle.page.with(|page| page.bot.clone().unwrap_or_default())),
    };
    let draft = this.draft;
    let writing = Memo::new(move |_| draft.with(|d| d.writing));
    let empty = Memo::new(move |_| draft.with(Draft::is_empty));
    let pinned = Memo::new(move |_| draft.with(|d| d.pinned));
    let finished = Memo::new(move |_| draft.with(Draft::is_finished));
    // The prompt and what the bot added, in two elements whose text together is the draft.
    let written = Memo::new(move |_| draft.with(|d| d.parts().0.to_owned()));
    let added = Memo::new(move |_| draft.with(|d| d.parts().1.to_owned()));
    let text_element = NodeRef::<html::P>::new();
    view! {
        <article
            class="tweet"
            class:writing=writing
            class:empty=empty
            class:pinned=pinned
            aria-label=this.numbered(Word::DraftLabel)
            aria-busy=move || writing.get().to_string()
        >
            {move || view! { <Byline handle bot=this.bot.get() /> }}
            <p
                class="draft-text"
                lang=move || this.bot.with(|bot| bot_language(Some(bot)))
                dir="auto"
                data-testid="draft-text"
                data-empty=this.numbered(Word::EmptyDraft)
                node_ref=text_element
            >
                <span class="start">{written}</span>
                <span class="added">{added}</span>
            </p>
            <div class="card-note">
                <span class="parody">{handle.say(Word::AiNote)}</span>
                <Show when=move || !empty.get()><Weight card=this /></Show>
            </div>
            <div class="card-foot">
                <Show when=move || !empty.get()><Again card=this writing /></Show>
                <Show when=move || finished.get()>
                    <FinishedButtons card=this text_element />
                </Show>
            </div>
        </article>
    }
}

#[component]
fn Byline(handle: Handle, bot: BotInfo) -> impl IntoView {
    let unnamed = bot.name.is_empty();
    let name = bot.name.clone();
    let shown = move || if unnamed { handle.say(Word::ABot)() } else { name.clone() };
    view! {
        <header class="byline">
            <Avatars bot=bot.clone() />
            <span class="byline-words">
                <span class="byline-name" dir="auto">{shown}</span>
                <span class="chip">{handle.say(label(&bot))}</span>
                <span class="handles">{handles(&bot)}</span>
            </span>
        </header>
    }
}

/// The counter of a post's weight, as a ring that fills and in figures.
#[component]
fn Weight(card: Card) -> impl IntoView {
    let weighed = Memo::new(move |_| card.draft.with(|draft| weight(&browser::composed(&draft.text))));
    let said = move || {
        card.handle.words.with(|words| words.fill(Word::Weight, &[("n", &weighed.get().to_string())]))
    };
    let filled = move || format!("{} 100", (weighed.get() * 100 / MAX_WEIGHT).min(100));
    view! {
        <span class="weight" class:over=move || { weighed.get() > MAX_WEIGHT } role="img" aria-label=said title=said>
            <svg class="ring" viewBox="0 0 36 36" aria-hidden="true">
                <circle cx="18" cy="18" r="15.9155" pathLength="100" />
                <circle class="filled" cx="18" cy="18" r="15.9155" pathLength="100" stroke-dasharray=filled />
            </svg>
            <span aria-hidden="true">{move || format!("{}/{MAX_WEIGHT}", weighed.get())}</span>
        </span>
    }
}

/// Stops the draft while it is written, and requests another afterwards; one button, so that the
/// focus stays.
#[component]
fn Again(card: Card, writing: Memo<bool>) -> impl IntoView {
    let Card { handle, card: index, .. } = card;
    let busy = Memo::new(move |_| handle.page.with(|page| page.busy()));
    let press = move |event: MouseEvent| match writing.get_untracked() {
        true if event.detail() > 1 => {}
        true => handle.act_on_kept(|page| page.stop(Some(index))),
        false => handle.act(|page| page.regenerate(index, seed())),
    };
    let end = handle.say(Word::End);
    let (end_name, again_name) = (card.name(Word::End), card.name(Word::Regenerate));
    view! {
        <button
            type="button"
            id=AGAIN[index]
            class:icon-button=move || !writing.get()
            title=move || if writing.get() { end_name() } else { again_name() }
            aria-label=move || if writing.get() { end_name() } else { again_name() }
            aria-disabled=move || (busy.get() && !writing.get()).to_string()
            on:click=press
        >
            {move || if writing.get() { end().into_any() } else { icon("again").into_any() }}
        </button>
    }
}

#[component]
fn FinishedButtons(card: Card, text_element: NodeRef<html::P>) -> impl IntoView {
    let Card { handle, card: index, draft, .. } = card;
    let busy = Memo::new(move |_| handle.page.with(|page| page.busy()));
    let pinned = Memo::new(move |_| draft.with(|d| d.pinned));
    let go_on = move |_| {
        handle.act(|page| page.continue_draft(index, seed()));
        // Its own button is gone while the draft is written; otherwise the next key press would
        // be on the button that replaces the draft.
        if draft.with_untracked(|draft| draft.writing) {
            browser::focus(AGAIN[index]);
        }
    };
    let copied_text = Signal::derive(move || draft.with(|d| d.text.clone()));
    let mark = move || {
        if let Some(element) = text_element.get_untracked() {
            browser::select_text(&element);
        }
    };
    let pin_word = move || if pinned.get() { Word::Unpin } else { Word::Pin };
    view! {
        <button
            type="button"
            class="icon-button"
            title=card.name(Word::Continue)
            aria-label=card.name(Word::Continue)
            aria-disabled=move || busy.get().to_string()
            on:click=go_on
        >
            {icon("continue")}
        </button>
        <button
            type="button"
            class="icon-button"
            title=move || card.name(pin_word())()
            aria-label=card.name(Word::Pin)
            aria-pressed=move || pinned.get().to_string()
            on:click=move |_| handle.change(|page| page.pin(index))
        >
            {icon("pin")}
        </button>
        <span class="group">
            <CopyButton card copied=copied_text word=Word::Copy mark />
            <a
                class="button"
                target="_blank"
                rel="noopener noreferrer"
                aria-label=card.name(Word::Post)
                href=move || Network::X.post_url(&card.post())
            >
                {handle.say(Word::Post)}
            </a>
            <MoreButtons card />
        </span>
    }
}

/// Ids of the buttons that stop or regenerate a draft, for focus management.
const AGAIN: [&str; DRAFTS] = ["again-0", "again-1", "again-2", "again-3", "again-4"];

/// Ids of the buttons that open a card's menu.
const MORE: [&str; DRAFTS] = ["more-0", "more-1", "more-2", "more-3", "more-4"];

/// The menu: other networks, the link, the picture.
#[component]
fn MoreButtons(card: Card) -> impl IntoView {
    let Card { handle, card: index, .. } = card;
    let link = Memo::new(move |_| handle.page.with(|page| page.link(index)));
    let has_link = Memo::new(move |_| link.with(Option::is_some));
    let address = Signal::derive(move || {
        link.get().map(|search| browser::absolute(&format!("./{search}"))).unwrap_or_default()
    });
    // If the browser refuses to copy, the link is shown to be copied by hand.
    let by_hand = RwSignal::new(false);
    let field = NodeRef::<html::Input>::new();
    let mark = move || {
        by_hand.try_set(true);
        spawn_local(async move {
            // The field must exist first.
            leptos::task::tick().await;
            if let Some(field) = field.try_get_untracked().flatten() {
                let _ = field.focus();
                field.select();
            }
        });
    };
    let others = Network::ALL.into_iter().filter(|network| *network != Network::X).map(|network| {
        let said = move || handle.words.with(|words| words.fill(Word::PostOn, &[("network", network.name())]));
        view! {
            <a class="button" target="_blank" rel="noopener noreferrer" href=move || network.post_url(&card.post())>
                {said}
            </a>
        }
    });
    let link_note = move || match card.draft.with(|draft| draft.on_gpu) {
        true => handle.say(Word::LinkNoteGpu)(),
        false => handle.say(Word::LinkNote)(),
    };
    let seed = move || {
        let seed = card.draft.with(|draft| draft.made_by.as_ref().map(|request| request.seed));
        seed.map(|seed| format!("{}: {seed}", handle.say(Word::Seed)()))
    };
    let menu = NodeRef::<html::Details>::new();
    let close = move || {
        if let Some(menu) = menu.get_untracked() {
            menu.set_open(false);
        }
    };
    let escape = move |event: web_sys::KeyboardEvent| {
        if event.key() == "Escape" {
            close();
            browser::focus(MORE[index]);
        }
    };
    // The menu covers part of the page, so it closes when the focus leaves it.
    let left = move |event: web_sys::FocusEvent| {
        let inside = menu
            .get_untracked()
            .zip(event.related_target())
            .is_some_and(|(menu, target)| menu.contains(target.dyn_ref::<web_sys::Node>()));
        if !inside && event.related_target().is_some() {
            close();
        }
    };
    view! {
        <details class="more" node_ref=menu on:keydown=escape on:focusout=left>
            <summary id=MORE[index] aria-label=card.name(Word::More) title=handle.say(Word::More)>
                {icon("more")}
            </summary>
            <div class="more-list">
                {others.collect_view()}
                <Show
                    when=move || has_link.get()
                    fallback=move || view! { <p class="hint">{handle.say(Word::NoLink)}</p> }
                >
                    <CopyButton card copied=address word=Word::CopyLink mark />
                    <Show when=move || by_hand.get()>
                        <input
                            type="text"
                            readonly
                            node_ref=field
                            aria-label=handle.say(Word::CopyRefused)
                            prop:value=address
                        />
                    </Show>
                    <p class="hint">{link_note}</p>
                </Show>
                <PictureButton card />
                <p class="hint">{seed}</p>
            </div>
        </details>
    }
}

/// Copies a text; `mark` shows what to copy by hand if the browser does not allow it.
#[component]
fn CopyButton(
    card: Card,
    copied: Signal<String>,
    word: Word,
    mark: impl Fn() + Copy + 'static,
) -> impl IntoView {
    let answer = RwSignal::new(None::<Word>);
    let copy = move |_| {
        spawn_local(async move {
            let done = browser::copy(&copied.get_untracked()).await;
            if !done {
                mark();
            }
            let word = if done { Word::Copied } else { Word::CopyRefused };
            answer.try_set(Some(word));
            card.handle.announce(word);
            Timeout::new(ANSWER_MS, move || _ = answer.try_set(None)).forget();
        });
    };
    let shown = move || answer.get().unwrap_or(word);
    view! {
        <button type="button" on:click=copy aria-label=move || card.name(shown())()>
            {move || card.handle.say(shown())()}
        </button>
    }
}

/// The card as a PNG, drawn by a worker of its own.
#[component]
fn PictureButton(card: Card) -> impl IntoView {
    let failed = RwSignal::new(false);
    let draw = move |_| {
        let bot = card.bot.get_untracked();
        let (start, added) = card.draft.with_untracked(|draft| {
            let (start, added) = draft.parts();
            (start.to_owned(), added.to_owned())
        });
        let handle = card.handle;
        let request = serde_json::json!({
            "name": if bot.name.is_empty() { handle.said(Word::ABot) } else { bot.name.clone() },
            "handles": handles(&bot),
            "label": handle.said(label(&bot)),
            "note": handle.said(Word::AiNote),
            "faces": faces(&bot).into_iter().map(|face| (face.initials, face.hue)).collect::<Vec<_>>(),
            "start": start,
            "added": added,
            "dark": browser::is_dark(),
            "language": handle.words.with_untracked(|words| words.language.code()),
        });
        spawn_local(async move {
            let url =
                helper::ask(helper::PICTURE, &request.to_string()).await.and_then(|blob| blob_url(&blob));
            failed.try_set(url.is_none());
            let Some(url) = url else { return handle.announce(Word::PictureFailed) };
            browser::save(&url, "draft.png");
            // Some browsers read it only after the click.
            Timeout::new(SAVED_MS, move || _ = web_sys::Url::revoke_object_url(&url)).forget();
        });
    };
    let word = move || if failed.get() { Word::PictureFailed } else { Word::SavePicture };
    view! {
        <button type="button" on:click=draw aria-label=move || card.name(word())()>
            {move || card.handle.say(word())()}
        </button>
    }
}

/// An icon from `www/icons.svg`; its button has a name in words.
fn icon(name: &'static str) -> impl IntoView {
    view! {
        <svg class="icon" class:turns={name == "continue"} aria-hidden="true">
            <use href=format!("./icons.svg#{name}")></use>
        </svg>
    }
}

fn blob_url(blob: &wasm_bindgen::JsValue) -> Option<String> {
    web_sys::Url::create_object_url_with_blob(blob.dyn_ref::<web_sys::Blob>()?).ok()
}
