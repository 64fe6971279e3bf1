//! Splits a line of text into pieces that can each be drawn with one font.
//!
//! If the first font lacks a character, usvg draws the whole text with another font, and gives
//! up if no single font has all characters. Each piece is therefore a text element of its own,
//! with a font that covers it. Right-to-left pieces are reordered for display.

use std::collections::HashMap;

use unicode_bidi::{BidiInfo, Level};

use super::{
    escape,
    picture::PictureError,
    svg::{self, FAMILY, Font},
    typeset::{Run, Style, push_text, spans},
};

/// Emoji that text fonts rarely have; a family with one of them is used for all emoji.
const PROBES: &str = "\u{1f916}\u{1f98a}\u{1f600}";

/// Variation selector 16 and the combining keycap, which make the preceding character an emoji.
const AS_EMOJI: [char; 2] = ['\u{fe0f}', '\u{20e3}'];

/// A piece of a line, without leading and trailing spaces.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Number of spaces to the left.
    pub spaces: usize,
    pub runs: Vec<Run>,
    /// A system font family; `None` for the card's own typeface.
    pub family: Option<String>,
}

impl Segment {
    /// Trims spaces off both ends and returns how many there were.
    fn trim(&mut self) -> (usize, usize) {
        let (mut first, mut last) = (0, 0);
        while let Some(run) = self.runs.first_mut() {
            let kept = run.text.trim_start_matches(' ');
            first += run.text.len() - kept.len();
            if !kept.is_empty() {
                run.text = kept.to_owned();
                break;
            }
            self.runs.remove(0);
        }
        while let Some(run) = self.runs.last_mut() {
            let kept = run.text.trim_end_matches(' ').len();
            last += run.text.len() - kept;
            run.text.truncate(kept);
            if kept > 0 {
                break;
            }
            self.runs.pop();
        }
        (first, last)
    }

    /// Returns an SVG `text` element with these attributes. `accent` is the colour of mentions.
    pub fn element(&self, attributes: &str, accent: &str) -> String {
        let family = match &self.family {
            Some(family) => {
                // Quotes would end the name.
                let family = family.replace(['\'', '"', '\\'], "");
                format!(r#" font-family="'{}', '{FAMILY}'""#, escape::xml(&family))
            }
            None => String::new(),
        };
        format!(r#"<text {attributes}{family} xml:space="preserve">{}</text>"#, spans(&self.runs, accent))
    }
}

/// Splits a line into segments, in visual order from left to right.
pub fn segments(line: &[Run]) -> Result<Vec<Segment>, PictureError> {
    let text: String = line.iter().map(|run| run.text.as_str()).collect();
    let styles: Vec<(usize, char, Style)> = {
        let characters = line.iter().flat_map(|run| run.text.chars().map(|c| (c, run.style)));
        text.char_indices().zip(characters).map(|((at, _), (c, style))| (at, c, style)).collect()
    };
    let fonts = svg::fonts_of(&format!("{text}{PROBES}"))?;
    let emoji = emoji_family(&fonts);

    let bidi = BidiInfo::new(&text, Some(Level::ltr()));
    let mut out = Vec::new();
    let mut spaces = 0;
    for paragraph in &bidi.paragraphs {
        let (levels, visual) = bidi.visual_runs(paragraph, paragraph.range.clone());
        for range in visual {
            let rtl = levels.get(range.start).is_some_and(Level::is_rtl);
            let first = styles.partition_point(|(at, ..)| *at < range.start);
            let end = styles.partition_point(|(at, ..)| *at < range.end);
            let characters = styles.get(first..end).unwrap_or_default();
            let mut pieces = by_font(characters, rtl, &fonts, emoji.as_ref());
            if rtl {
                pieces.reverse();
            }
            for mut piece in pieces {
                let (mut left, mut right) = piece.trim();
                if rtl {
                    std::mem::swap(&mut left, &mut right);
                }
                spaces += left;
                if !piece.runs.is_empty() {
                    piece.spaces = std::mem::take(&mut spaces);
                    out.push(piece);
                }
                spaces += right;
            }
        }
    }
    Ok(out)
}

/// Splits characters of one direction, given as (byte offset, character, style) in logical order,
/// where the font changes. `emoji` is the family of all emoji.
fn by_font(
    characters: &[(usize, char, Style)],
    rtl: bool,
    fonts: &HashMap<char, Font>,
    emoji: Option<&String>,
) -> Vec<Segment> {
    let mut pieces: Vec<Segment> = Vec::new();
    for (i, &(_, c, style)) in characters.iter().enumerate() {
        let next = characters.get(i + 1).map(|(_, next, _)| *next);
        let family = match fonts.get(&c) {
            _ if emoji.is_some() && (is_emoji(c) || next.is_some_and(|next| AS_EMOJI.contains(&next))) => {
                emoji.cloned()
            }
            Some(Font::Other(family)) => Some(family.clone()),
            _ => None,
        };
        match pieces.last_mut() {
            Some(last) if last.family == family || belongs_to_the_last(c, rtl) => {
                push_text(&mut last.runs, c, style)
            }
            _ => {
                let mut piece = Segment { spaces: 0, runs: Vec::new(), family };
                push_text(&mut piece.runs, c, style);
                pieces.push(piece);
            }
        }
    }
    pieces
}

/// Returns the font family for emoji, preferring one named so.
fn emoji_family(fonts: &HashMap<char, Font>) -> Option<String> {
    let families: Vec<&String> = PROBES
        .chars()
        .filter_map(|c| match fonts.get(&c) {
            Some(Font::Other(family)) => Some(family),
            _ => None,
        })
        .collect();
    let named = families.iter().find(|family| family.to_lowercase().contains("emoji"));
    named.or(families.first()).map(|family| (*family).clone())
}

/// Returns whether the character is in a block that is displayed as emoji by default.
fn is_emoji(c: char) -> bool {
    matches!(u32::from(c), 0x1f1e6..=0x1f1ff | 0x1f300..=0x1faff)
}

/// Joiners and marks stay with the preceding character. In right-to-left text, so do spaces
/// and punctuation, because splitting there would reorder words and unmirror brackets.
fn belongs_to_the_last(c: char, rtl: bool) -> bool {
    svg::is_invisible(c) && (rtl || c != ' ')
        || matches!(u32::from(c), 0x300..=0x36f | 0x591..=0x5bd | 0x610..=0x61a | 0x64b..=0x65f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f | 0x1f3fb..=0x1f3ff)
        || rtl && c.is_ascii_punctuation()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Vec<Run> {
        vec![Run { text: text.into(), style: Style::default() }]
    }

    fn texts(text: &str) -> Vec<String> {
        let segments = segments(&line(text)).unwrap();
        let text = |s: &Segment| s.runs.iter().map(|run| run.text.as_str()).collect::<String>();
        segments.iter().map(|s| " ".repeat(s.spaces) + &text(s)).collect()
    }

    #[test]
    fn a_line_in_the_own_typeface_is_one_segment() {
        assert_eq!(texts("Latin, Ελληνικά, кириллица!"), ["Latin, Ελληνικά, кириллица!"]);
        assert!(texts("").is_empty());
    }

    #[test]
    fn nothing_is_lost_and_styles_stay() {
        let bold = Style { bold: true, accent: false };
        let runs = vec![
            Run { text: "a 🌊".into(), style: bold },
            Run { text: " b שלום, (ab) 👩‍🚀❤️ 灯".into(), style: Style::default() },
        ];
        let segments = segments(&runs).unwrap();
        let mut found: Vec<char> =
            segments.iter().flat_map(|s| &s.runs).flat_map(|run| run.text.chars()).collect();
        found.extend(segments.iter().flat_map(|s| " ".repeat(s.spaces).chars().collect::<Vec<_>>()));
        let mut expected: Vec<char> = runs.iter().flat_map(|run| run.text.chars()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert!(segments[0].runs[0].style.bold);
    }

    #[test]
    fn joined_emoji_stay_together() {
        assert!(texts("to 👩‍🚀 go").iter().any(|text| text.trim() == "👩‍🚀" || text.contains("to 👩‍🚀")));
        assert!(texts("1\u{fe0f}\u{20e3}").len() == 1);
    }

    #[test]
    fn a_family_cannot_leave_its_attribute() {
        let segment = Segment { spaces: 0, runs: line("x"), family: Some("A'\"><b".into()) };
        assert!(segment.element("y=\"1\"", "").contains(r#"font-family="'A&gt;&lt;b', "#));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
        #[test]
        fn any_line_has_segments(text in "[a-zשלוםאحلمي 🌊🤖灯1(),.\u{fe0f}\u{200d}\u{301}]{0,40}") {
            let text = escape::plain(&text).trim_end_matches(' ').to_owned();
            let found: usize = texts(&text).iter().map(|text| text.chars().count()).sum();
            proptest::prop_assert_eq!(found, text.chars().count());
        }
    }
}
