//! Fits text into boxes, since SVG itself neither measures nor wraps text.
//!
//! Each piece is measured once, at [`MEASURE_SIZE`]; widths scale linearly with the font size
//! because nothing is hinted.

use std::sync::OnceLock;

use resvg::usvg::{Group, Node};

use super::{
    escape,
    picture::PictureError,
    segment::{Segment, segments},
    svg,
};

/// Font size for measuring, in pixels.
const MEASURE_SIZE: f32 = 100.0;

/// Style of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    pub bold: bool,
    /// A mention or a hashtag.
    pub accent: bool,
}

/// Text of a single style. A word may consist of several runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub text: String,
    pub style: Style,
}

/// Text broken into lines.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Font size in pixels.
    pub size: f32,
    pub lines: Vec<Vec<Run>>,
}

/// Text that a line cannot be broken within.
#[derive(Debug, Clone)]
struct Atom {
    runs: Vec<Run>,
    space_before: bool,
    /// In ems.
    width: f32,
}

/// Breaks `runs` into lines at the largest of `sizes` (in descending order) at which they fit
/// into `width` x `height` pixels with a line height of `leading` ems. If they do not fit at
/// the smallest size, they are truncated with an ellipsis.
pub fn fit(
    runs: &[Run],
    width: f32,
    height: f32,
    leading: f32,
    sizes: &[f32],
) -> Result<Block, PictureError> {
    let (mut atoms, space) = (measured(atoms(runs))?, space()?);
    let smallest = sizes.last().copied().unwrap_or(MEASURE_SIZE);
    if atoms.iter().any(|atom| atom.width > width / smallest) {
        atoms = measured(split_long(atoms, width / smallest))?;
    }
    let mut block = Block { size: smallest, lines: Vec::new() };
    for &size in sizes {
        let too_wide = atoms.iter().any(|atom| atom.width > width / size);
        let lines = wrap(&atoms, space, width / size);
        let fits = lines.len() as f32 * leading * size <= height;
        block = Block { size, lines };
        if fits && !too_wide {
            return Ok(block);
        }
    }
    let most = ((height / (leading * block.size)) as usize).max(1);
    if block.lines.len() > most {
        block.lines.truncate(most);
        if let Some(last) = block.lines.last_mut() {
            end_in_ellipsis(last, width / block.size)?;
        }
    }
    Ok(block)
}

/// Measures single lines in one pass. Returns widths in ems.
pub fn widths(lines: &[Vec<Run>]) -> Result<Vec<f32>, PictureError> {
    let segments = lines.iter().map(|line| segments(line)).collect::<Result<Vec<_>, _>>()?;
    let each = segment_widths(segments.iter().flatten())?;
    let mut each = each.into_iter();
    let space = space()?;
    let spaces =
        |of_line: &[Segment]| of_line.iter().map(|segment| segment.spaces).sum::<usize>() as f32 * space;
    Ok(segments
        .iter()
        .map(|of_line| spaces(of_line) + each.by_ref().take(of_line.len()).sum::<f32>())
        .collect())
}

/// Returns a line's segments with their start positions, in ems from the line's left end.
pub fn place(line: &[Run]) -> Result<Vec<(f32, Segment)>, PictureError> {
    let segments = segments(line)?;
    let widths = segment_widths(&segments)?;
    let (mut x, space) = (0.0, space()?);
    let placed = segments.into_iter().zip(widths).map(|(segment, width)| {
        let start = x + segment.spaces as f32 * space;
        x = start + width;
        (start, segment)
    });
    Ok(placed.collect())
}

/// Returns the width of a space in the card's typeface, in ems. Measured between letters,
/// because a text consisting only of spaces has no extent.
fn space() -> Result<f32, PictureError> {
    static SPACE: OnceLock<f32> = OnceLock::new();
    if let Some(space) = SPACE.get() {
        return Ok(*space);
    }
    let segment = |text: &str| {
        let runs = vec![Run { text: text.into(), style: Style::default() }];
        Segment { spaces: 0, runs, family: None }
    };
    let widths = segment_widths(&[segment("n n"), segment("nn")])?;
    let space = widths.iter().copied().reduce(|apart, joined| apart - joined).unwrap_or_default();
    Ok(*SPACE.get_or_init(|| space))
}

fn segment_widths<'a>(segments: impl IntoIterator<Item = &'a Segment>) -> Result<Vec<f32>, PictureError> {
    let mut document = String::from(r#"<svg xmlns="http://www.w3.org/2000/svg" width="1000" height="1000">"#);
    let mut count = 0;
    for segment in segments {
        document += &segment.element(&format!(r#"id="t{count}" y="500" font-size="{MEASURE_SIZE}""#), "");
        count += 1;
    }
    document += "</svg>";
    let mut found = vec![0.0; count];
    collect_widths(svg::parse(&document)?.root(), &mut found);
    Ok(found)
}

/// Returns the content of a `text` element. `accent` is the colour of mentions.
pub(super) fn spans(line: &[Run], accent: &str) -> String {
    let mut out = String::new();
    for Run { text, style } in line {
        let weight = if style.bold { 700 } else { 400 };
        let fill =
            if style.accent && !accent.is_empty() { format!(r#" fill="{accent}""#) } else { String::new() };
        // Spaces inside runs are significant, but `xml` would trim them.
        let (lead, trail) = (text.starts_with(' '), text.ends_with(' ') && text.len() > 1);
        let text =
            format!("{}{}{}", if lead { " " } else { "" }, escape::xml(text), if trail { " " } else { "" });
        out += &format!(r#"<tspan font-weight="{weight}"{fill}>{text}</tspan>"#);
    }
    out
}

/// Returns a post's start in bold and its completion, with mentions and hashtags marked.
pub fn post_runs(start: &str, completion: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    for (text, bold) in [(start, true), (completion, false)] {
        for piece in text.split_inclusive(' ') {
            let accent = piece.trim_end().len() > 1 && piece.starts_with(['@', '#']);
            runs.push(Run { text: piece.into(), style: Style { bold, accent } });
        }
    }
    runs
}

fn collect_widths(group: &Group, found: &mut [f32]) {
    for node in group.children() {
        match node {
            Node::Text(text) => {
                let index = text.id().strip_prefix('t').and_then(|i| i.parse::<usize>().ok());
                if let Some(width) = index.and_then(|i| found.get_mut(i)) {
                    *width = text.bounding_box().width() / MEASURE_SIZE;
                }
            }
            Node::Group(inner) => collect_widths(inner, found),
            _ => {}
        }
    }
}

/// Splits at spaces, and around each character of scripts written without spaces.
fn atoms(runs: &[Run]) -> Vec<Atom> {
    let mut atoms: Vec<Atom> = Vec::new();
    let (mut space_before, mut open) = (false, false);
    for Run { text, style } in runs {
        for c in text.chars() {
            if c == ' ' {
                (space_before, open) = (true, false);
                continue;
            }
            let alone = breaks_anywhere(c);
            if !open || alone {
                atoms.push(Atom { runs: Vec::new(), space_before, width: 0.0 });
            }
            (space_before, open) = (false, !alone);
            if let Some(atom) = atoms.last_mut() {
                push_text(&mut atom.runs, c, *style);
            }
        }
    }
    atoms
}

/// Returns whether lines may break next to the character: Chinese, Japanese or Korean.
fn breaks_anywhere(c: char) -> bool {
    matches!(u32::from(c), 0x3040..=0x30ff | 0x3400..=0x9fff | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

/// Fills in the atoms' widths.
fn measured(mut atoms: Vec<Atom>) -> Result<Vec<Atom>, PictureError> {
    let lines: Vec<Vec<Run>> = atoms.iter().map(|atom| atom.runs.clone()).collect();
    for (atom, width) in atoms.iter_mut().zip(widths(&lines)?) {
        atom.width = width;
    }
    Ok(atoms)
}

/// Splits atoms that are wider than a line, such as URLs, into equal parts.
fn split_long(atoms: Vec<Atom>, line_width: f32) -> Vec<Atom> {
    let mut out = Vec::new();
    for atom in atoms {
        let characters: Vec<(char, Style)> =
            atom.runs.iter().flat_map(|run| run.text.chars().map(|c| (c, run.style))).collect();
        // One part more than needed, because letters differ in width.
        let parts = if atom.width > line_width { (atom.width / line_width).ceil() as usize + 1 } else { 1 };
        for (i, part) in characters.chunks(characters.len().div_ceil(parts).max(1)).enumerate() {
            let mut runs = Vec::new();
            part.iter().for_each(|&(c, style)| push_text(&mut runs, c, style));
            out.push(Atom { runs, space_before: atom.space_before && i == 0, width: 0.0 });
        }
    }
    out
}

/// Fills lines greedily. Widths are in ems.
fn wrap(atoms: &[Atom], space: f32, line_width: f32) -> Vec<Vec<Run>> {
    let mut lines: Vec<Vec<Run>> = Vec::new();
    let mut used = 0.0;
    for atom in atoms {
        let gap = if atom.space_before { space } else { 0.0 };
        match lines.last_mut() {
            Some(line) if used + gap + atom.width <= line_width => {
                if atom.space_before {
                    let style = line.last().map(|run| run.style).unwrap_or_default();
                    push_text(line, ' ', style);
                }
                extend(line, &atom.runs);
                used += gap + atom.width;
            }
            _ => {
                lines.push(atom.runs.clone());
                used = atom.width;
            }
        }
    }
    lines
}

/// Removes trailing characters until the line fits with `…` appended.
fn end_in_ellipsis(line: &mut Vec<Run>, line_width: f32) -> Result<(), PictureError> {
    loop {
        let mut candidate = line.clone();
        let style = candidate.last().map(|run| run.style).unwrap_or_default();
        push_text(&mut candidate, '…', style);
        let width = widths(std::slice::from_ref(&candidate))?.first().copied().unwrap_or_default();
        let Some(last) = line.last_mut() else {
            return Ok(());
        };
        if width <= line_width {
            *line = candidate;
            return Ok(());
        }
        last.text.pop();
        if last.text.is_empty() {
            line.pop();
        }
    }
}

/// Appends a character, extending the last run if it has the same style.
pub(super) fn push_text(runs: &mut Vec<Run>, c: char, style: Style) {
    match runs.last_mut() {
        Some(run) if run.style == style => run.text.push(c),
        _ => runs.push(Run { text: c.into(), style }),
    }
}

fn extend(line: &mut Vec<Run>, runs: &[Run]) {
    for run in runs {
        match line.last_mut() {
            Some(last) if last.style == run.style => last.text.push_str(&run.text),
            _ => line.push(run.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(block: &Block) -> Vec<String> {
        block.lines.iter().map(|line| line.iter().map(|run| run.text.as_str()).collect()).collect()
    }

    #[test]
    fn lines_stay_inside_the_box() {
        let runs = post_runs("My dream is", &" a lamp that never asks who is out there".repeat(5));
        let block = fit(&runs, 900.0, 300.0, 1.25, &[60.0, 50.0, 40.0, 30.0]).unwrap();
        assert!(block.lines.len() as f32 * 1.25 * block.size <= 300.0);
        for width in widths(&block.lines).unwrap() {
            assert!(width * block.size <= 901.0, "{width}");
        }
    }

    #[test]
    fn text_too_long_ends_in_an_ellipsis() {
        let block = fit(&post_runs("Once", &" more".repeat(400)), 600.0, 200.0, 1.2, &[40.0]).unwrap();
        assert_eq!(block.lines.len(), 4);
        assert!(text(&block)[3].ends_with('…'));
    }

    #[test]
    fn words_wider_than_a_line_are_cut() {
        let block = fit(&post_runs("", &"w".repeat(90)), 500.0, 900.0, 1.2, &[40.0]).unwrap();
        assert!(block.lines.len() > 2);
        assert_eq!(text(&block).concat(), "w".repeat(90));
    }

    #[test]
    fn a_word_half_bold_stays_whole() {
        let block = fit(&post_runs("My dream is", "n't over"), 5000.0, 100.0, 1.2, &[40.0]).unwrap();
        assert_eq!(text(&block), ["My dream isn't over"]);
        assert!(block.lines[0][0].style.bold && !block.lines[0].last().unwrap().style.bold);
    }

    #[test]
    fn a_line_is_as_wide_as_its_segments() {
        let line = post_runs("Tonight 🌊", " lamp שלום 👩‍🚀 x");
        let placed = place(&line).unwrap();
        let whole = widths(std::slice::from_ref(&line)).unwrap()[0];
        let last = placed.last().unwrap();
        assert!(placed.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(last.0 < whole, "{} {whole}", last.0);
        assert!(space().unwrap() > 0.1);
    }

    #[test]
    fn nothing_gives_no_lines() {
        assert!(fit(&post_runs("", ""), 500.0, 100.0, 1.2, &[40.0]).unwrap().lines.is_empty());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(12))]
        #[test]
        fn any_text_is_set(start in "\\PC{0,20}", rest in "[ -~äß灯台守🤖]{0,120}") {
            fit(&post_runs(&escape::plain(&start), &escape::plain(&rest)), 700.0, 200.0, 1.2, &[48.0, 32.0]).unwrap();
        }
    }
}
