//! Whether a post is a reply, in files of unknown origin: by the names that X, Mastodon and this
//! program give to the fields for the post or account replied to.

use serde_json::Value;

const FIELDS: [&str; 9] = [
    "in_reply_to_status_id_str",
    "in_reply_to_status_id",
    "in_reply_to_user_id_str",
    "in_reply_to_user_id",
    "in_reply_to_screen_name",
    "in_reply_to_account_id",
    "in_reply_to_id",
    "in_reply_to",
    "inReplyTo",
];

/// Spellings of an empty value.
const NOTHING: [&str; 6] = ["null", "none", "nan", "nil", "false", "<na>"];

/// Whether a field of this name says what a post replies to.
pub fn is_field(name: &str) -> bool {
    FIELDS.iter().any(|field| name.trim().eq_ignore_ascii_case(field))
}

/// Whether the text of such a field names a post or an account.
pub fn names_something(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && !NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing))
}

/// [`names_something`] for a JSON value.
pub fn is_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => names_something(text),
        _ => true,
    }
}
