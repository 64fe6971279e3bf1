//! Parses one line of a grammar, a heading or an alternative, into the types of [`super`].
//! References to rules are resolved later.

use super::{Alternative, GrammarError, Part, Place};

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(|c: char| !c.is_alphanumeric());
    parts.filter(|word| !word.is_empty())
}

fn is_name(name: &str) -> bool {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(known)
}

/// Parses ` do (do, did, doing)` into name and forms.
pub(super) fn parse_heading(heading: &str) -> Option<(String, Vec<String>)> {
    let heading = heading.trim();
    let (name, forms) = match heading.split_once('(') {
        None => (heading, Vec::new()),
        Some((name, forms)) => {
            let forms = forms.strip_suffix(')')?.split(',');
            (name.trim(), forms.map(|f| f.trim().to_string()).collect())
        }
    };
    let good = is_name(name) && forms.iter().all(|form| is_name(form));
    good.then(|| (name.to_string(), forms))
}

pub(super) fn parse_alternative(line: &str, forms: usize, at: Place) -> Result<Alternative, GrammarError> {
    let weighted = line.split_once(": ").and_then(|(weight, text)| {
        let weight: u32 = weight.parse().ok()?;
        Some((u64::from(weight), text.trim_start()))
    });
    let (weight, text) = weighted.unwrap_or((1, line));
    let bracket = || GrammarError::Bracket { at: at.clone(), found: text.to_string() };

    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find(['{', '[', '}', ']']) {
        let (before, from) = rest.split_at(open);
        if !before.is_empty() {
            parts.push(Part::Text(before.replace("\\n", "\n")));
        }
        let close = match from.as_bytes().first() {
            Some(b'{') => '}',
            Some(b'[') => ']',
            _ => return Err(bracket()),
        };
        let (inside, after) = from[1..].split_once(close).ok_or_else(bracket)?;
        if close == ']' {
            let columns: Vec<String> = inside.split('|').map(str::to_string).collect();
            if columns.len() != forms {
                return Err(GrammarError::Forms { at, expected: forms, found: columns.len() });
            }
            parts.push(Part::Forms(columns));
        } else {
            parts.push(parse_use(inside).ok_or_else(bracket)?);
        }
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.replace("\\n", "\n")));
    }
    Ok(Alternative { weight, parts, groups: Vec::new(), at })
}

/// Parses a reference such as `a Rule.form`, without its braces.
fn parse_use(inside: &str) -> Option<Part> {
    let (article, rest) = match inside.split_once(' ') {
        Some(("a", rest)) => (Some(false), rest),
        Some(("A", rest)) => (Some(true), rest),
        _ => (None, inside),
    };
    let (name, form) = rest.split_once('.').unwrap_or((rest, ""));
    let capital = article.unwrap_or(false) || name.starts_with(|c: char| c.is_ascii_uppercase());
    let name = name.to_ascii_lowercase();
    let good = is_name(&name) && (form.is_empty() || is_name(form));
    good.then(|| Part::Use {
        name,
        form: form.to_string(),
        article: article.is_some(),
        capital,
        target: (0, 0),
    })
}
