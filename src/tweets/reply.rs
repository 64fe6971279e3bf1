//! Whether a post answers another, in files that anybody's program wrote: by X's,
//! Mastodon's and this program's names for the post or the account that is answered.

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

/// What programs write for nothing.
const NOTHING: [&str; 6] = ["null", "none", "nan", "nil", "false", "<na>"];

/// Whether a field of that name says what a post answers.
pub fn is_field(name: &str) -> bool {
    FIELDS.iter().any(|field| name.trim().eq_ignore_ascii_case(field))
}

/// Whether such a field's text names a post or an account.
pub fn names_something(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && !NOTHING.iter().any(|nothing| text.eq_ignore_ascii_case(nothing))
}

/// The same of a value in JSON.
pub fn is_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => names_something(text),
        _ => true,
    }
}
