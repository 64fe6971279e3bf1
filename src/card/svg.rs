//! SVG to PNG with the card's own typeface. The machine's fonts are looked up
//! only for a character that the typeface lacks, so that the picture of a bot
//! in Latin, Greek or Cyrillic letters is the same on every machine.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{FontFamily, FontResolver, Options, Tree, fontdb},
};

use super::{escape, picture::PictureError};

/// The family name inside the fonts.
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

/// The same, and the machine's own after them.
static ALL_FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::clone(&OWN_FONTS);
    fonts.load_system_fonts();
    Arc::new(fonts)
});

/// What draws a character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Font {
    /// The card's own typeface.
    Own,
    /// A family of this machine.
    Other(String),
    /// No font here.
    None,
}

/// What was found once for each character: looking through all fonts takes time.
static FONTS: LazyLock<Mutex<HashMap<char, Font>>> = LazyLock::new(Mutex::default);

/// What draws each of these characters.
///
/// # Errors
/// Drawing failed.
pub fn fonts_of(text: &str) -> Result<HashMap<char, Font>, PictureError> {
    let mut known = FONTS.lock().unwrap_or_else(PoisonError::into_inner);
    let new: BTreeSet<char> = escape::plain(text).chars().filter(|c| !known.contains_key(c)).collect();
    if !new.is_empty() {
        let mut svg = String::from(r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">"#);
        // Each by itself: within a text, the search ends at the first that no font has.
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

/// Characters that no font here can draw. Those that only join or vary others
/// are never among them.
///
/// # Errors
/// Drawing failed.
pub fn without_font(text: &str) -> Result<BTreeSet<char>, PictureError> {
    let missing = fonts_of(text)?.into_iter().filter(|(_, font)| *font == Font::None);
    Ok(missing.map(|(c, _)| c).collect())
}

/// Joiners, variation selectors and other marks without a shape of their own.
pub fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e01ef}')
}

/// Reads a document and lays out its text.
pub fn parse(svg: &str) -> Result<Tree, PictureError> {
    parse_noting(svg, |_, _| ())
}

/// As [`parse`]; calls `note` with each character that the own typeface lacks,
/// and the family that has it.
fn parse_noting(svg: &str, note: impl Fn(char, Option<String>) + Send + Sync) -> Result<Tree, PictureError> {
    let fallback = FontResolver::default_fallback_selector();
    let named = FontResolver::default_font_selector();
    // The larger collection starts with the smaller one, so the ids that are
    // already in use stay valid.
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

/// The document at its own size, as PNG.
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
