//! Who the bot is: avatars, name, label, handles, and how it was trained.

use leptos::prelude::*;

use super::{handle::Handle, text};
use crate::web::protocol::{AccountCounts, BotInfo};

/// Faces shown for a bot of several accounts.
const MOST_AVATARS: usize = 3;

#[component]
pub fn BotHeader(handle: Handle) -> impl IntoView {
    let bot = Memo::new(move |_| handle.page.with(|page| page.bot.clone()));
    move || {
        let bot = bot.get();
        let known = bot.is_some();
        let bot = bot.unwrap_or_else(|| BotInfo { name: text::BOT_LOADING.into(), ..BotInfo::default() });
        let name = bot.name.clone();
        view! {
            <section class="bot" aria-label=bot.name.clone() aria-busy=(!known).to_string()>
                <Avatars bot=bot.clone() />
                <div class="bot-words">
                    <div class="bot-line">
                        <h2 class="bot-name">{name}</h2>
                        <span class="chip">{label(&bot)}</span>
                    </div>
                    <p class="handles">{handles(&bot)}</p>
                    {bot.notice.clone().map(|notice| view! { <p class="notice">{notice}</p> })}
                </div>
                {(!bot.accounts.is_empty()).then(|| view! { <TrainingTable accounts=bot.accounts.clone() /> })}
            </section>
        }
    }
}

/// One to three round avatars, drawn from the handles: bots carry no pictures.
#[component]
pub fn Avatars(bot: BotInfo) -> impl IntoView {
    let names = if bot.handles.is_empty() { vec![bot.name.clone()] } else { bot.handles.clone() };
    let faces = names.into_iter().take(MOST_AVATARS).enumerate().map(|(index, handle)| {
        let name = bot.accounts.get(index).map_or(bot.name.as_str(), |account| &account.name);
        let initial = name.chars().find(|c| c.is_alphanumeric()).unwrap_or('?');
        let initial: String = initial.to_uppercase().collect();
        let style = format!("--hue: {}", hue(&handle));
        view! { <span class="avatar" style=style>{initial}</span> }
    });
    view! { <span class="avatars" aria-hidden="true">{faces.collect_view()}</span> }
}

#[component]
fn TrainingTable(accounts: Vec<AccountCounts>) -> impl IntoView {
    let head = accounts.iter().map(|account| view! { <th scope="col">{format!("@{}", account.handle)}</th> });
    let head = head.collect_view();
    let rows: [(&str, fn(&AccountCounts) -> usize); 4] = [
        (text::DOWNLOADED, |a| a.tweets_downloaded),
        (text::RETWEETS, |a| a.retweets),
        (text::SHORT, |a| a.short_tweets),
        (text::KEPT, |a| a.tweets_kept),
    ];
    let body = rows.map(|(name, count)| {
        let cells = accounts.iter().map(|account| view! { <td>{text::thousands(count(account))}</td> });
        view! { <tr><th scope="row">{name}</th>{cells.collect_view()}</tr> }
    });
    view! {
        <details class="training">
            <summary>{text::TRAINING}</summary>
            <div class="scroll">
                <table>
                    <caption>{text::TRAINING_CAPTION}</caption>
                    <thead><tr><td></td>{head}</tr></thead>
                    <tbody>{body.into_iter().collect_view()}</tbody>
                </table>
            </div>
        </details>
    }
}

/// `AI BOT`: the card's label without its pictures, which a screen reader would read out.
pub fn label(bot: &BotInfo) -> &'static str {
    bot.label().trim_matches(|c: char| !c.is_ascii_alphabetic())
}

/// `@a · @b`
pub fn handles(bot: &BotInfo) -> String {
    let handles: Vec<_> = bot.handles.iter().map(|handle| format!("@{handle}")).collect();
    handles.join(" · ")
}

/// A colour of the handle's own, in degrees.
fn hue(handle: &str) -> u32 {
    handle.bytes().fold(2_166_136_261u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619))
        % 360
}
