//! `predictions.png`: a draft shown as a post, in the size of link previews. Drawn as SVG and
//! rasterised.

use std::collections::BTreeSet;

use resvg::usvg;
use thiserror::Error;

use super::{
    bare_handle, display_name, escape, plain_label, svg,
    typeset::{self, Block, Run, Style},
};
use crate::bundle::{
    face::{Face, faces},
    manifest::BotInfo,
};

/// Width in pixels.
pub const WIDTH: u32 = 1200;
/// Height in pixels.
pub const HEIGHT: u32 = 630;

/// Why a picture could not be drawn.
#[derive(Debug, Error)]
pub enum PictureError {
    #[error("drawing failed: {0}")]
    Svg(#[from] usvg::Error),
    #[error("no memory for {0} x {1} pixels")]
    Size(u32, u32),
    #[error("encoding failed: {0}")]
    Png(String),
}

/// Line height of the post, in ems.
const LEADING: f32 = 1.26;
/// Font sizes to try for the post, in pixels, in descending order.
const SIZES: [f32; 11] = [72.0, 66.0, 60.0, 56.0, 52.0, 48.0, 44.0, 40.0, 36.0, 33.0, 30.0];

/// Left edge and width of the content on the white sheet, in pixels.
const LEFT: f32 = 112.0;
const INNER_WIDTH: f32 = 976.0;

const INK: &str = "#14171f";
const GREY: &str = "#5b6475";

/// A drawn post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub png: Vec<u8>,
    /// Characters that no font on this machine has. Letters are drawn as boxes; emoji and
    /// other symbols are omitted.
    pub without_font: BTreeSet<char>,
}

/// Replaces a letter that no font has.
const BOX: char = '□';

/// Draws a post of [`WIDTH`] x [`HEIGHT`] pixels as PNG: the start in bold, then the
/// completion, or a cursor if it is empty.
///
/// # Errors
/// If drawing or encoding fails. A missing font is not an error.
pub fn draw(info: &BotInfo, start: &str, completion: &str) -> Result<Picture, PictureError> {
    let without_font = svg::without_font(&shown_text(info, start, completion))?;
    // Substitute a box from our own font: a missing glyph would stop the lookup of further fonts.
    let drawable = |text: &str| -> String {
        let shown = |c: char| match without_font.contains(&c) {
            true => c.is_alphanumeric().then_some(BOX),
            false => Some(c),
        };
        text.chars().filter_map(shown).collect()
    };
    let info = BotInfo { name: drawable(&info.name), ..info.clone() };
    let document = document(&info, &drawable(start), &drawable(completion))?;
    // Applied to the whole document for the handles and account names, which stay unchanged in
    // `info`: faces are looked up by the former, and their initials come from the latter.
    let png = svg::rasterise(&drawable(&document))?;
    Ok(Picture { png, without_font })
}

/// Returns all text in the picture that depends on the bot.
fn shown_text(info: &BotInfo, start: &str, completion: &str) -> String {
    let handles = info.handles.iter().map(|handle| bare_handle(handle));
    let initials = faces(info).into_iter().map(|face| face.initials);
    let texts = [info.name.clone(), start.into(), completion.into()];
    texts.into_iter().chain(handles).chain(initials).collect::<Vec<_>>().join(" ")
}

fn document(info: &BotInfo, start: &str, completion: &str) -> Result<String, PictureError> {
    let faces = faces(info);
    let hue = faces.first().map_or(220, |face| face.hue);
    // Shift towards magenta from either side; the other direction passes a muddy yellow.
    let beside = if (140..290).contains(&hue) { hue + 42 } else { (hue + 310) % 360 };
    let second_hue = faces.get(1).map_or(beside, |face| face.hue);
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{family}">
<defs>
<linearGradient id="sky" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="hsl({hue}, 72%, 58%)"/><stop offset="1" stop-color="hsl({second_hue}, 70%, 38%)"/></linearGradient>
<radialGradient id="glow" cx="0.12" cy="0" r="0.9"><stop offset="0" stop-color="#fff" stop-opacity="0.35"/><stop offset="1" stop-color="#fff" stop-opacity="0"/></radialGradient>
<filter id="soft" x="-10%" y="-10%" width="120%" height="125%"><feGaussianBlur stdDeviation="18"/></filter>
</defs>
<rect width="{WIDTH}" height="{HEIGHT}" fill="url(#sky)"/><rect width="{WIDTH}" height="{HEIGHT}" fill="url(#glow)"/>
<rect x="60" y="66" width="1080" height="510" rx="36" fill="hsl({second_hue}, 70%, 14%)" fill-opacity="0.42" filter="url(#soft)"/>
<rect x="56" y="48" width="1088" height="518" rx="36" fill="#fff"/>
"##,
        family = svg::FAMILY,
    );
    let faces_end = draw_faces(&mut out, &faces);
    let label_start = draw_label(&mut out, &plain_label(info), hue)?;
    draw_names(&mut out, info, faces_end + 24.0, label_start - 24.0)?;
    draw_post(&mut out, &escape::plain(start), completion, hue)?;
    draw_footer(&mut out, info)?;
    out += "</svg>";
    Ok(out)
}

/// Draws overlapping circles with initials and returns their right edge.
fn draw_faces(out: &mut String, faces: &[Face]) -> f32 {
    const RADIUS: f32 = 48.0;
    const STEP: f32 = 62.0;
    let centre = |i: usize| LEFT + RADIUS + STEP * i as f32;
    // Drawn in reverse, so that the first lies on top.
    for (i, Face { initials, hue }) in faces.iter().enumerate().rev() {
        let (x, size) = (centre(i), if initials.chars().count() > 2 { 30 } else { 38 });
        *out += &format!(
            r##"<linearGradient id="face{i}" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="hsl({hue}, 74%, 60%)"/><stop offset="1" stop-color="hsl({hue}, 68%, 38%)"/></linearGradient>
<circle cx="{x}" cy="142" r="{ring}" fill="#fff"/><circle cx="{x}" cy="142" r="{RADIUS}" fill="url(#face{i})"/>
<text x="{x}" y="155.5" font-size="{size}" font-weight="700" fill="#fff" text-anchor="middle">{initials}</text>
"##,
            ring = RADIUS + 5.0,
            initials = escape::xml(initials),
        );
    }
    centre(faces.len().saturating_sub(1)) + RADIUS
}

/// Draws the label (`AI BOT`) at the right and returns its left edge.
fn draw_label(out: &mut String, label: &str, hue: u32) -> Result<f32, PictureError> {
    const SIZE: f32 = 25.0;
    let text_width = line_width(label, true)? * SIZE;
    let width = text_width + 88.0;
    let x = LEFT + INNER_WIDTH - width;
    *out += &format!(
        r##"<rect x="{x}" y="115" width="{width}" height="54" rx="27" fill="hsl({hue}, 80%, 95%)"/>
<g transform="translate({robot} 126)" fill="none" stroke="hsl({hue}, 66%, 34%)" stroke-width="3" stroke-linecap="round" stroke-linejoin="round">
<path d="M16 2.500V9M1.800 17v6M30.200 17v6"/><rect x="5.500" y="9" width="21" height="20" rx="6"/><path d="M12 23.500h8"/>
<g fill="hsl({hue}, 66%, 34%)" stroke="none"><circle cx="16" cy="2.800" r="2.800"/><circle cx="12" cy="17" r="2.500"/><circle cx="20" cy="17" r="2.500"/></g></g>
<text x="{text_x}" y="151" font-size="{SIZE}" font-weight="700" fill="hsl({hue}, 66%, 34%)">{label}</text>
"##,
        robot = x + 20.0,
        text_x = x + 62.0,
        label = escape::xml(label),
    );
    Ok(x)
}

/// Draws the name above the handles, between two edges.
fn draw_names(out: &mut String, info: &BotInfo, left: f32, right: f32) -> Result<(), PictureError> {
    let handles: Vec<String> =
        info.handles.iter().map(|handle| format!("@{}", bare_handle(handle))).collect();
    let lines = [
        (display_name(info), true, &[44.0, 40.0, 36.0, 32.0][..], 136.0, INK),
        (handles.join(" · "), false, &[29.0, 26.0, 23.0][..], 177.0, GREY),
    ];
    for (text, bold, sizes, y, colour) in lines {
        let run = Run { text, style: Style { bold, accent: false } };
        let block = typeset::fit(&[run], right - left, sizes[0] * 1.1, 1.0, sizes)?;
        if let Some(line) = block.lines.first() {
            draw_line(out, line, (left, y), block.size, colour, "")?;
        }
    }
    Ok(())
}

/// Draws the post, centred between the names and the footer.
fn draw_post(out: &mut String, start: &str, completion: &str, hue: u32) -> Result<(), PictureError> {
    const TOP: f32 = 218.0;
    const SPACE: f32 = 264.0;
    let glue = if completion.starts_with(char::is_whitespace) { " " } else { "" };
    let completion = escape::plain(completion);
    let runs = typeset::post_runs(start, &format!("{glue}{completion}"));
    let Block { size, lines } = typeset::fit(&runs, INNER_WIDTH, SPACE, LEADING, &SIZES)?;
    let height = lines.len() as f32 * LEADING * size;
    // Slightly above the middle.
    let mut y = TOP + (SPACE - height).max(0.0) * 0.45 + 0.94 * size;
    let accent = format!("hsl({hue}, 76%, 42%)");
    for line in &lines {
        draw_line(out, line, (LEFT, y), size, INK, &accent)?;
        y += LEADING * size;
    }
    if completion.is_empty() {
        let last_width = match lines.last() {
            Some(line) => {
                typeset::widths(std::slice::from_ref(line))?.first().copied().unwrap_or_default() * size
            }
            None => {
                y += LEADING * 72.0;
                0.0
            }
        };
        *out += &format!(
            r#"<rect x="{x}" y="{top}" width="6" height="{height}" rx="3" fill="{accent}"/>"#,
            x = LEFT + last_width + 0.28 * size,
            top = y - (LEADING + 0.82) * size,
            height = size * 1.04,
        );
    }
    Ok(())
}

/// Draws the disclaimer and the program's name.
fn draw_footer(out: &mut String, info: &BotInfo) -> Result<(), PictureError> {
    const SIZE: f32 = 22.0;
    let brand = "huggingtweets";
    let brand_width = line_width(brand, true)? * SIZE;
    let whom = match info.handles.as_slice() {
        [one] if info.notice.is_none() => format!(", not by @{}", bare_handle(one)),
        _ => String::new(),
    };
    let claim = Run { text: format!("Written by a neural network{whom}"), style: Style::default() };
    let block = typeset::fit(&[claim], INNER_WIDTH - brand_width - 40.0, SIZE * 1.1, 1.0, &[SIZE])?;
    *out += &format!(r##"<path d="M{LEFT} 501h{INNER_WIDTH}" stroke="#e4e8ef" stroke-width="2"/>"##);
    if let Some(line) = block.lines.first() {
        draw_line(out, line, (LEFT, 541.0), SIZE, GREY, "")?;
    }
    let run = Run { text: brand.into(), style: Style { bold: true, accent: false } };
    draw_line(out, &[run], (LEFT + INNER_WIDTH - brand_width, 541.0), SIZE, GREY, "")
}

fn draw_line(
    out: &mut String,
    line: &[Run],
    (x, y): (f32, f32),
    size: f32,
    colour: &str,
    accent: &str,
) -> Result<(), PictureError> {
    for (start, segment) in typeset::place(line)? {
        let x = x + start * size;
        let attributes = format!("x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"{colour}\"");
        *out += &segment.element(&attributes, accent);
        out.push('\n');
    }
    Ok(())
}

/// Returns the width of a line in ems.
fn line_width(text: &str, bold: bool) -> Result<f32, PictureError> {
    let line = vec![Run { text: text.into(), style: Style { bold, accent: false } }];
    Ok(typeset::widths(&[line])?.first().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, ops::Range};

    use super::*;
    use crate::bundle::manifest::AccountCounts;

    fn bot(name: &str, handles: &[&str]) -> BotInfo {
        let accounts = handles.iter().zip(name.split(" & ")).map(|(handle, name)| AccountCounts {
            handle: handle.to_string(),
            name: name.into(),
            ..AccountCounts::default()
        });
        BotInfo {
            name: name.into(),
            handles: handles.iter().map(|handle| handle.to_string()).collect(),
            accounts: accounts.collect(),
            ..BotInfo::default()
        }
    }

    /// Ranges of columns and rows, in pixels.
    type Place = (Range<usize>, Range<usize>);

    /// Returns the areas of the name, the handles and the post.
    fn places(info: &BotInfo) -> [Place; 3] {
        let left = draw_faces(&mut String::new(), &faces(info)) as usize + 16;
        [(left..780, 100..148), (left..780, 152..190), (100..1100, 218..496)]
    }

    /// Minimum number of ink pixels in the shortest text.
    const LEAST_INK: usize = 60;

    /// Counts dark pixels in an area: text, but neither the sheet nor the cursor.
    fn ink(png: &[u8], (columns, rows): Place) -> usize {
        let mut reader = png::Decoder::new(Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height), (WIDTH, HEIGHT));
        let row_bytes = 4 * WIDTH as usize;
        let rows = pixels.chunks_exact(row_bytes).skip(rows.start).take(rows.len());
        rows.flat_map(|row| row[4 * columns.start..4 * columns.end].chunks_exact(4))
            .filter(|pixel| pixel[..3].iter().all(|&channel| channel < 128))
            .count()
    }

    fn without_text(document: &str) -> String {
        document.lines().filter(|line| !line.starts_with("<text")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_sheet_without_text_has_no_ink() {
        let info = bot("Maren Holm & The Fog & Gull No. 7", &["a", "b", "c"]);
        let sheet = svg::rasterise(&without_text(&document(&info, "My dream is", "").unwrap())).unwrap();
        for place in places(&info) {
            assert_eq!(ink(&sheet, place), 0);
        }
    }

    /// Draws a picture and checks where it has text. Saves the file if `HUGGINGTWEETS_PICTURES`
    /// names a folder.
    fn check(file: &str, info: &BotInfo, start: &str, completion: &str) {
        let png = draw(info, start, completion).unwrap().png;
        if let Some(folder) = std::env::var_os("HUGGINGTWEETS_PICTURES") {
            std::fs::write(std::path::Path::new(&folder).join(file), &png).unwrap();
        }
        let has_post = !start.is_empty() || !completion.is_empty();
        let there = [!display_name(info).is_empty(), !info.handles.is_empty(), has_post];
        for ((what, place), is_there) in ["name", "handles", "post"].into_iter().zip(places(info)).zip(there)
        {
            let found = ink(&png, place);
            assert_eq!(found >= LEAST_INK, is_there, "{file}: {found} pixels of ink for the {what}");
        }
    }

    #[test]
    fn a_draft_becomes_a_picture_of_the_promised_size() {
        let info = bot("Maren Holm", &["keeper_of_the_skerry_light"]);
        check("one.png", &info, "My dream is", " a fog so polite it knocks before it comes in. #skerry");
    }

    #[test]
    fn several_accounts_share_a_picture() {
        let info = bot(
            "Maren Holm & The Fog & Gull No. 7",
            &["keeper_of_the_skerry_light", "TheFog", "gull_number_seven_of_the_pier"],
        );
        check(
            "three.png",
            &info,
            "Tonight",
            " the lamp and I counted ships until we ran out of fingers, then @TheFog lent us some of its own, which kept drifting off before we could use them.",
        );
    }

    #[test]
    fn without_a_draft_there_is_a_cursor() {
        check("cursor.png", &bot("Maren Holm", &["keeper_of_the_skerry_light"]), "My dream is", "");
    }

    #[test]
    fn hostile_and_foreign_text_is_drawn() {
        let info = bot("</text><script>&\"'\u{202e}\u{0}", &["灯台守🤖<x>"]);
        check("hostile.png", &info, "灯台守の夢は]]>", &" <tspan>&amp; ".repeat(60));
        check("empty.png", &bot("", &[]), "", "");
        check("long.png", &bot(&"Extraordinarily ".repeat(12), &[&"w".repeat(90)]), "a", &"b".repeat(400));
    }

    #[test]
    fn scripts_and_emoji_are_drawn_where_the_machine_has_fonts() {
        let info = bot("Хранитель 🏮 الحارس", &["keeper"]);
        check(
            "scripts.png",
            &info,
            "Tonight 🌊",
            " ο φάρος 👩‍🚀 🇫🇷 שלום לך גם לילה и туман, ❤️ 灯台 then 🤖 again",
        );
        check("arabic.png", &info, "حلمي هو", " أن يضيء المصباح طوال الليل ولا يسأل أحد من أنا");
    }

    #[test]
    fn a_sign_without_a_font_is_left_out() {
        let info = bot("Maren \u{10fffd} Holm", &["m"]);
        let plain = bot("Maren Holm", &["m"]);
        let drawn = draw(&info, "A", " b \u{10fffd} c").unwrap();
        let without = draw(&plain, "A", " b c").unwrap();
        assert!(drawn.png == without.png);
        assert_eq!(drawn.without_font, BTreeSet::from(['\u{10fffd}']));
        assert!(without.without_font.is_empty());
    }

    /// The initials on a face come from an account's name, which is not drawn otherwise.
    #[test]
    fn an_initial_without_a_font_is_reported_and_replaced() {
        // Letters of Tangsa; a machine with a font for them has nothing to report.
        let letters = "\u{16a70}\u{16a71}";
        let mut info = bot("Maren Holm", &["m"]);
        info.accounts[0].name = "\u{16a70} \u{16a71}".into();
        let missing = svg::without_font(letters).unwrap();
        let drawn = draw(&info, "A", " b").unwrap();
        assert_eq!(drawn.without_font, missing);
        if !missing.is_empty() {
            let boxes = document(&info, "A", " b").unwrap().replace(['\u{16a70}', '\u{16a71}'], "□");
            assert!(drawn.png == svg::rasterise(&boxes).unwrap());
        }
    }

    #[test]
    fn one_bot_has_one_picture() {
        let info = bot("Maren Holm", &["keeper_of_the_skerry_light"]);
        assert!(draw(&info, "A", " b").unwrap() == draw(&info, "A", " b").unwrap());
    }
}
