//! Every sentence of the interface, in one place.

pub const TITLE: &str = "huggingtweets";
pub const TAGLINE: &str = "Drafts in the style of an account, written by a small language model on your own device. Nothing you type leaves this page.";
pub const FOOTER: &str = "Every draft is made up by a machine. Nobody said any of this.";
pub const START_LABEL: &str = "Start of the tweet";
pub const START_DEFAULT: &str = "My dream is";
pub const GENERATE: &str = "Generate tweets";
pub const STOP: &str = "Stop";
pub const DRAFTS: &str = "Drafts";
pub const COPY: &str = "Copy";
pub const COPIED: &str = "Copied";
pub const COPY_REFUSED: &str = "Press Ctrl+C";
pub const POST: &str = "Post";
pub const END: &str = "End";
pub const RETRY: &str = "Retry";
pub const AI_NOTE: &str = "AI-generated parody";
pub const TRAINING: &str = "How this bot was trained";
pub const TRAINING_CAPTION: &str = "Posts of each account, and what became of them";
pub const SETTINGS: &str = "Sampling settings";
pub const RESET: &str = "Reset to the original's settings";
pub const BOT_LOADING: &str = "A bot";
pub const DOWNLOADED: &str = "Tweets downloaded";
pub const RETWEETS: &str = "Retweets";
pub const SHORT: &str = "Short tweets";
pub const KEPT: &str = "Tweets kept";
pub const PROGRESS: &str = "Download of the bot";
pub const CRASHED: &str = "The engine stopped working (perhaps this device ran out of memory).";
pub const SILENT: &str = "The engine no longer answers.";
pub const NOT_STARTED: &str = "The engine could not be started:";

pub const WAITING: &str = "Another tab is downloading this bot";

/// `; the bot was not kept on this device: its storage is full`
pub fn not_kept(reason: &str) -> String {
    format!("; the bot was not kept on this device: {reason}")
}

/// `5.1 MB`
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// `1234567` as `1,234,567`.
pub fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `SIMD, 1 thread`
pub fn engine(backend: &str, threads: usize) -> String {
    let plural = if threads == 1 { "" } else { "s" };
    format!("{}, {threads} thread{plural}", backend.to_uppercase())
}

/// `212 tokens/s`; slow machines get a decimal.
pub fn speed(tokens_per_s: f64) -> String {
    match tokens_per_s {
        s if s < 10.0 => format!("{s:.1} tokens/s"),
        s => format!("{s:.0} tokens/s"),
    }
}

/// What a draft's card says before there is a draft.
pub fn empty_draft(number: usize) -> String {
    format!("Draft {number} will appear here")
}

pub fn draft_label(number: usize) -> String {
    format!("Draft {number}")
}

/// The accessible name of a draft's button.
pub fn for_draft(action: &str, number: usize) -> String {
    format!("{action} draft {number}")
}

/// `164/280`
pub fn length(characters: usize) -> String {
    format!("{characters}/280")
}

pub fn page_title(bot: &str) -> String {
    format!("{bot} – {TITLE}")
}
