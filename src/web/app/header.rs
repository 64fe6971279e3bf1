//! The bot's identity: avatars, name, label, handles, and how it was trained.

use leptos::prelude::*;

use super::handle::Handle;
use crate::{
    bundle::face::{Face, faces},
    web::{
        page::{
            Word, text,
            words::{Language, Words},
        },
        protocol::{AccountCounts, BotInfo},
    },
};

#[component]
pub fn BotHeader(handle: Handle) -> impl IntoView {
    let bot = Memo::new(move |_| handle.page.with(|page| page.bot.clone()));
    // A bot that cannot be opened is not on its way: screen readers may pass over what is busy.
    let busy = Memo::new(move |_| handle.page.with(|page| page.bot.is_none() && !page.has_failed()));
    move || {
        let bot = bot.get();
        let bot = bot.unwrap_or_else(|| BotInfo { name: handle.say(Word::ABot)(), ..BotInfo::default() });
        let name = bot.name.clone();
        let hue = faces(&bot).first().map_or(0, |face| face.hue);
        view! {
            <section class="bot" aria-label=bot.name.clone() aria-busy=move || busy.get().to_string()>
                <div class="banner" style:--hue=hue.to_string()></div>
                <Avatars bot=bot.clone() />
                <div class="bot-words">
                    <div class="bot-line">
                        <h2 class="bot-name" dir="auto">{name}</h2>
                        <span class="chip">{handle.say(label(&bot))}</span>
                    </div>
                    <p class="handles">{handles(&bot)}</p>
                    {bot.notice.clone().map(|notice| view! { <p class="notice" lang="" dir="auto">{notice}</p> })}
                </div>
                {(!bot.accounts.is_empty()).then(|| view! { <TrainingTable handle accounts=bot.accounts.clone() /> })}
            </section>
        }
    }
}

/// One to three round avatars.
#[component]
pub fn Avatars(bot: BotInfo) -> impl IntoView {
    let faces = faces(&bot).into_iter().map(|Face { initials, hue }| {
        view! { <span class="avatar" style:--hue=hue.to_string()>{initials}</span> }
    });
    view! { <span class="avatars" aria-hidden="true">{faces.collect_view()}</span> }
}

/// One of an account's counts.
type Count = fn(&AccountCounts) -> usize;

#[component]
fn TrainingTable(handle: Handle, accounts: Vec<AccountCounts>) -> impl IntoView {
    let head = accounts.iter().map(|account| view! { <th scope="col">{format!("@{}", account.handle)}</th> });
    let head = head.collect_view();
    let rows: [(Word, Count); 4] = [
        (Word::Downloaded, |a| a.tweets_downloaded),
        (Word::Retweets, |a| a.retweets),
        (Word::Short, |a| a.short_tweets),
        (Word::Kept, |a| a.tweets_kept),
    ];
    let language = Memo::new(move |_| handle.words.with(|words: &Words| words.language));
    let body = rows.map(|(name, count)| {
        let cell = move |n: usize, language: Language| text::thousands(n, language);
        let cells = accounts.iter().map(|account| {
            let n = count(account);
            view! { <td>{move || cell(n, language.get())}</td> }
        });
        view! { <tr><th scope="row">{handle.say(name)}</th>{cells.collect_view()}</tr> }
    });
    view! {
        <details class="training">
            <summary>{handle.say(Word::Training)}</summary>
            <div class="scroll" tabindex="0" role="group" aria-label=handle.say(Word::TrainingCaption)>
                <table>
                    <caption>{handle.say(Word::TrainingCaption)}</caption>
                    <thead><tr><th scope="col">{handle.say(Word::Count)}</th>{head}</tr></thead>
                    <tbody>{body.into_iter().collect_view()}</tbody>
                </table>
            </div>
        </details>
    }
}

/// The card's label without its emoji, which a screen reader would read out.
pub fn label(bot: &BotInfo) -> Word {
    if bot.handles.len() > 1 { Word::Cyborg } else { Word::AiBot }
}

/// `@a · @b`
pub fn handles(bot: &BotInfo) -> String {
    let handles: Vec<_> = bot.handles.iter().map(|handle| format!("@{handle}")).collect();
    handles.join(" · ")
}
