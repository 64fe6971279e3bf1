//! Generated avatars: coloured circles with initials, the same on the page, the card and its
//! pictures. A bundle contains no profile pictures.

use super::manifest::BotInfo;

/// Maximum number of faces shown, as in the original.
pub const MAX_FACES: usize = 3;

/// An account's avatar: a coloured circle with initials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Face {
    pub initials: String,
    /// Hue angle in degrees.
    pub hue: u32,
}

/// Returns faces for up to [`MAX_FACES`] accounts, or one for the bot itself if it lists
/// no handles.
pub fn faces(info: &BotInfo) -> Vec<Face> {
    let face = |handle: &String| Face { initials: initials(name_of(info, handle)), hue: hue(handle) };
    match info.handles.is_empty() {
        true => vec![face(&info.name)],
        false => info.handles.iter().take(MAX_FACES).map(face).collect(),
    }
}

/// Returns the account's name, else the bot's name if this is its only account, else the
/// handle.
fn name_of<'a>(info: &'a BotInfo, handle: &'a str) -> &'a str {
    let account = info.accounts.iter().find(|account| account.handle == handle);
    match account {
        Some(account) if !account.name.trim().is_empty() => &account.name,
        _ if info.handles.len() == 1 && !info.name.trim().is_empty() => &info.name,
        _ => handle,
    }
}

/// Returns the upper-case first letters of the first and last words that contain letters.
fn initials(name: &str) -> String {
    let between = |c: char| c.is_whitespace() || c.is_control() || "_-.".contains(c);
    let mut letters = name.split(between).filter_map(|word| word.chars().find(|c| c.is_alphanumeric()));
    let first = letters.next();
    let last = letters.next_back();
    let text: String = first.into_iter().chain(last).flat_map(char::to_uppercase).take(3).collect();
    if text.is_empty() { "?".into() } else { text }
}

/// Hashes a handle (FNV-1a) to a stable hue that avoids muddy yellows.
fn hue(handle: &str) -> u32 {
    let hash =
        handle.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    (140 + hash % 230) % 360
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::manifest::AccountCounts;

    #[test]
    fn initials_are_letters_of_the_name() {
        assert_eq!(initials("Maren Holm"), "MH");
        assert_eq!(initials("the_fog"), "TF");
        assert_eq!(initials("灯台守"), "灯");
        assert_eq!(initials("***"), "?");
    }

    #[test]
    fn a_face_is_its_accounts_whatever_their_order() {
        let account = |handle: &str, name: &str| AccountCounts {
            handle: handle.into(),
            name: name.into(),
            ..AccountCounts::default()
        };
        let info = BotInfo {
            name: "Maren Holm & The Fog".into(),
            handles: vec!["the_fog".into(), "maren".into(), "c".into(), "d".into()],
            accounts: vec![account("maren", "Maren Holm"), account("the_fog", " ")],
            ..BotInfo::default()
        };
        let letters: Vec<_> = faces(&info).into_iter().map(|face| face.initials).collect();
        assert_eq!(letters, ["TF", "MH", "C"]);
        assert_eq!(faces(&info)[1].hue, hue("maren"));
        let nameless = BotInfo { name: "A bot".into(), ..BotInfo::default() };
        assert_eq!(faces(&nameless), [Face { initials: "AB".into(), hue: hue("A bot") }]);
    }

    #[test]
    fn no_hue_is_a_muddy_yellow() {
        for n in 0..1000 {
            let hue = hue(&n.to_string());
            assert!((140..360).contains(&hue) || hue < 10, "{n}: {hue}");
        }
    }
}
