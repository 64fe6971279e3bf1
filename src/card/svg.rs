//! SVG to PNG with the card's own typeface. The machine's fonts are looked up
//! only for a character that the typeface lacks, so that the picture of a bot
//! in Latin, Greek or Cyrillic letters is the same on every machine.

use std::sync::{Arc, LazyLock};

use resvg::{
    tiny_skia::{Pixmap, Transform},
    usvg::{FontResolver, Options, Tree, fontdb},
};

use super::picture::PictureError;

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

/// Reads a document and lays out its text.
pub fn parse(svg: &str) -> Result<Tree, PictureError> {
    let fallback = FontResolver::default_fallback_selector();
    let options = Options {
        font_family: FAMILY.into(),
        fontdb: OWN_FONTS.clone(),
        font_resolver: FontResolver {
            select_font: FontResolver::default_font_selector(),
            // The larger collection starts with the smaller one, so the ids
            // that are already in use stay valid.
            select_fallback: Box::new(move |c, used, fonts| {
                if !Arc::ptr_eq(fonts, &ALL_FONTS) {
                    *fonts = ALL_FONTS.clone();
                }
                fallback(c, used, fonts)
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
    let mut pixels = Pixmap::new(size.width(), size.height())
        .ok_or(PictureError::Size(size.width(), size.height()))?;
    resvg::render(&tree, Transform::identity(), &mut pixels.as_mut());
    pixels
        .encode_png()
        .map_err(|error| PictureError::Png(error.to_string()))
}
