//! Renders SVG to PNG with the card's own typeface. System fonts are consulted only for
//! characters that the typeface lacks, so that pictures of Latin, Greek or Cyrillic text are
//! the same on every machine.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{FontFamily, FontResolver, Options, Tree, fontdb},
};

use super::{escape, picture::PictureError};

/// Family name of the embedded fonts.
pub const FAMILY: &str = "Inter Display";

const REGULAR: &[u8] = include_bytes!("../../model-card/fonts/InterDisplay-Regular.otf");
const BOLD: &[u8] = include_bytes!("../../model-card/fonts/InterDisplay-Bold.otf");

static OWN_FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    for data in [REGULAR, BOLD] {
        fonts.load_font_source(fontdb::Source::Binary(Arc::new(data)));
    }
    fonts.set_serif_family(FAMILY);
    fonts.set_sans_serif_family(FAMILY);
    Arc::new(fonts)
});

/// The embedded fonts, followed by the system's.
static ALL_FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::clone(&OWN_FONTS);
    fonts.load_system_fonts();
    Arc::new(fonts)
});

/// The font that draws a character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Font {
    /// The card's own typeface.
    Own,
    /// A system font family.
    Other(String),
    /// No font on this machine has the character.
    None,
}

/// Cache of font lookups, because searching all system fonts is slow.
static FONTS: LazyLock<Mutex<HashMap<char, Font>>> = LazyLock::new(Mutex::default);

/// Returns the font that draws each of these characters.
///
/// # Errors
/// If laying out the text fails.
pub fn fonts_of(text: &str) -> Result<HashMap<char, Font>, PictureError> {
    let mut known = FONTS.lock().unwrap_or_else(PoisonError::into_inner);
    let new: BTreeSet<char> = escape::plain(text).chars().filter(|c| !known.contains_key(c)).collect();
    if !new.is_empty() {
        let mut svg = String::from(r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">"#);
        // One text element each: within a text, lookup stops at the first character without a font.
        for &c in &new {
            svg += &format!(r#"<text y="5">{}</text>"#, escape::xml(c.encode_utf8(&mut [0; 4])));
        }
        svg += "</svg>";
        let found = Mutex::new(HashMap::new());
        parse_noting(&svg, |c, family| {
            let font = family.map_or(Font::None, Font::Other);
            found.lock().unwrap_or_else(PoisonError::into_inner).insert(c, font);
        })?;
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        for c in new {
            let font = found.remove(&c).unwrap_or(Font::Own);
            known.insert(c, if is_invisible(c) { Font::Own } else { font });
        }
    }
    Ok(text.chars().map(|c| (c, known.get(&c).cloned().unwrap_or(Font::Own))).collect())
}

/// Returns the characters that no font on this machine can draw. Joiners and variation
/// selectors are never among them.
///
/// # Errors
/// If laying out the text fails.
pub fn without_font(text: &str) -> Result<BTreeSet<char>, PictureError> {
    let missing = fonts_of(text)?.into_iter().filter(|(_, font)| *font == Font::None);
    Ok(missing.map(|(c, _)| c).collect())
}

/// Returns whether a character has no glyph of its own: spaces, joiners, variation selectors.
pub fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e01ef}')
}

/// Parses a document and lays out its text.
pub fn parse(svg: &str) -> Result<Tree, PictureError> {
    parse_noting(svg, |_, _| ())
}

/// Like [`parse`], but calls `note` with each character that the card's typeface lacks and
/// the family that has it, if any.
fn parse_noting(svg: &str, note: impl Fn(char, Option<String>) + Send + Sync) -> Result<Tree, PictureError> {
    let fallback = FontResolver::default_fallback_selector();
    let named = FontResolver::default_font_selector();
    // The larger database begins with the smaller one, so font ids already in use stay valid.
    let widen = |fonts: &mut Arc<fontdb::Database>| {
        if !Arc::ptr_eq(fonts, &ALL_FONTS) {
            *fonts = ALL_FONTS.clone();
        }
    };
    let options = Options {
        font_family: FAMILY.into(),
        fontdb: OWN_FONTS.clone(),
        font_resolver: FontResolver {
            select_font: Box::new(move |font, fonts| {
                let other = |family: &FontFamily| matches!(family, FontFamily::Named(name) if name != FAMILY);
                if font.families().iter().any(other) {
                    widen(fonts);
                }
                named(font, fonts)
            }),
            select_fallback: Box::new(move |c, used, fonts| {
                widen(fonts);
                let found = fallback(c, used, fonts);
                let family = found.and_then(|id| Some(fonts.face(id)?.families.first()?.0.clone()));
                note(c, family);
                found
            }),
        },
        ..Options::default()
    };
    Ok(Tree::from_str(svg, &options)?)
}

/// Renders a document at its own size as PNG.
pub fn rasterise(svg: &str) -> Result<Vec<u8>, PictureError> {
    let tree = parse(svg)?;
    let size = tree.size().to_int_size();
    let mut pixels =
        Pixmap::new(size.width(), size.height()).ok_or(PictureError::Size(size.width(), size.height()))?;
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| PictureError::Png(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_font_has_is_found() {
        assert!(without_font("Latin, Ελληνικά, кириллица! “…” → ✓").unwrap().is_empty());
        let missing = without_font("a\u{10fffd}\u{fe0f} \u{10fffc}").unwrap();
        assert_eq!(missing, BTreeSet::from(['\u{10fffc}', '\u{10fffd}']));
    }
}
