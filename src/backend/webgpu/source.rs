//! Generates shader variants from one source: a preprocessor with four directives.
//!
//! ```text
//! #include name            inserts name.wgsl, once
//! #if NAME / #if !NAME     keeps lines up to #else or #end if NAME is defined and not 0
//! #for x in a b c          repeats lines up to #end for each word; $x is the word
//! #for x to NAME           the same for 0 .. NAME's value
//! ```
//!
//! Every definition is also a WGSL constant of that name. Directives stand on lines of their own,
//! with any indentation.

use std::collections::HashSet;

use thiserror::Error;

/// A name and its value; also `const NAME: u32` in the shader.
pub type Definition = (&'static str, u32);

/// A mistake in a shader's source; the tests expand every variant.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SourceError {
    #[error("there is no shader file `{0}`")]
    NoFile(String),
    #[error("line {line}: `{text}` is no directive")]
    Directive { line: usize, text: String },
    #[error("line {line}: `{text}` stands alone")]
    Unpaired { line: usize, text: String },
    #[error("line {line}: `{name}` is not defined")]
    Undefined { line: usize, name: String },
}

/// Expands a file to WGSL under some definitions. `file` returns the source of a file by name.
pub fn expand(
    name: &str,
    definitions: &[Definition],
    file: impl Fn(&str) -> Option<&'static str>,
) -> Result<String, SourceError> {
    let mut out: String =
        definitions.iter().map(|(name, value)| format!("const {name}: u32 = {value}u;\n")).collect();
    let mut expansion = Expansion { definitions, file: &file, included: HashSet::new(), out: &mut out };
    expansion.include(name)?;
    Ok(out)
}

struct Expansion<'a> {
    definitions: &'a [Definition],
    file: &'a dyn Fn(&str) -> Option<&'static str>,
    included: HashSet<String>,
    out: &'a mut String,
}

/// A line's number and text.
type Line<'a> = (usize, &'a str);

impl Expansion<'_> {
    fn include(&mut self, name: &str) -> Result<(), SourceError> {
        if !self.included.insert(name.to_owned()) {
            return Ok(());
        }
        let text = (self.file)(name).ok_or_else(|| SourceError::NoFile(name.into()))?;
        let lines: Vec<Line> = (1..).zip(text.lines()).collect();
        self.lines(&lines, &[])
    }

    /// Expands lines; `words` are the names and values of the enclosing loops.
    fn lines(&mut self, lines: &[Line], words: &[(String, String)]) -> Result<(), SourceError> {
        let mut rest = lines;
        while let Some((&(line, text), after)) = rest.split_first() {
            rest = after;
            let Some(directive) = text.trim_start().strip_prefix('#') else {
                let mut text = text.to_owned();
                for (name, value) in words {
                    text = text.replace(&format!("${name}"), value);
                }
                self.out.push_str(&text);
                self.out.push('\n');
                continue;
            };
            let parts: Vec<&str> = directive.split_whitespace().collect();
            match parts.as_slice() {
                ["include", name] => self.include(name)?,
                ["if", condition] => {
                    let (yes, no, after) = block(after, line, text)?;
                    rest = after;
                    let negated = condition.strip_prefix('!');
                    let holds = self.value(negated.unwrap_or(condition)).unwrap_or(0) != 0;
                    self.lines(if holds != negated.is_some() { yes } else { no }, words)?;
                }
                ["for", name, "in", values @ ..] => {
                    let (body, _, after) = block(after, line, text)?;
                    rest = after;
                    self.repeat(body, words, name, values.iter().map(|v| (*v).to_owned()))?;
                }
                ["for", name, "to", limit] => {
                    let (body, _, after) = block(after, line, text)?;
                    rest = after;
                    let undefined = || SourceError::Undefined { line, name: (*limit).into() };
                    let limit = self.value(limit).ok_or_else(undefined)?;
                    self.repeat(body, words, name, (0..limit).map(|v| v.to_string()))?;
                }
                ["else" | "end"] => return Err(SourceError::Unpaired { line, text: text.into() }),
                _ => return Err(SourceError::Directive { line, text: text.into() }),
            }
        }
        Ok(())
    }

    fn repeat(
        &mut self,
        body: &[Line],
        words: &[(String, String)],
        name: &str,
        values: impl Iterator<Item = String>,
    ) -> Result<(), SourceError> {
        for value in values {
            let mut words = words.to_vec();
            words.push((name.into(), value));
            self.lines(body, &words)?;
        }
        Ok(())
    }

    fn value(&self, name: &str) -> Option<u32> {
        self.definitions.iter().find(|d| d.0 == name).map(|d| d.1)
    }
}

/// Splits off a block: its lines, those of its `#else`, and what follows its `#end`.
#[allow(clippy::type_complexity)]
fn block<'a, 'b>(
    lines: &'b [Line<'a>],
    line: usize,
    text: &str,
) -> Result<(&'b [Line<'a>], &'b [Line<'a>], &'b [Line<'a>]), SourceError> {
    let (mut depth, mut split) = (0, None);
    for (at, (_, text)) in lines.iter().enumerate() {
        let text = text.trim_start();
        if text.starts_with("#if ") || text.starts_with("#for ") {
            depth += 1;
        } else if text.trim_end() == "#else" && depth == 0 {
            split = Some(at);
        } else if text.trim_end() == "#end" {
            if depth == 0 {
                let yes = &lines[..split.unwrap_or(at)];
                let no = split.map_or(&lines[..0], |split| &lines[split + 1..at]);
                return Ok((yes, no, &lines[at + 1..]));
            }
            depth -= 1;
        }
    }
    Err(SourceError::Unpaired { line, text: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Option<&'static str> {
        match name {
            "main" => Some("#include part\n#include part\n#if WIDE\nwide\n#else\nnarrow\n#end\nlast"),
            "part" => Some("part"),
            "loops" => Some("#for i to N\n#for op in add max\n$op$i\n#end\n#end"),
            "negated" => Some("  #if !WIDE\n  #if N\nboth\n  #end\n#end"),
            "open" => Some("a\n#if WIDE\nb"),
            "stray" => Some("#end"),
            "unknown" => Some("#define A"),
            _ => None,
        }
    }

    fn expanded(name: &str, definitions: &[Definition]) -> Vec<String> {
        let text = expand(name, definitions, file).unwrap();
        text.lines().filter(|l| !l.starts_with("const ")).map(str::to_owned).collect()
    }

    #[test]
    fn files_are_included_once_and_branches_chosen() {
        assert_eq!(expanded("main", &[("WIDE", 1)]), ["part", "wide", "last"]);
        assert_eq!(expanded("main", &[("WIDE", 0)]), ["part", "narrow", "last"]);
        assert_eq!(expanded("main", &[]), ["part", "narrow", "last"]);
        assert_eq!(expanded("negated", &[("N", 2)]), ["both"]);
    }

    #[test]
    fn loops_repeat_and_nest() {
        assert_eq!(expanded("loops", &[("N", 2)]), ["add0", "max0", "add1", "max1"]);
    }

    #[test]
    fn definitions_are_constants() {
        assert!(expand("part", &[("LANES", 64)], file).unwrap().starts_with("const LANES: u32 = 64u;\n"));
    }

    #[test]
    fn mistakes_are_named() {
        let error = |name| expand(name, &[], file).unwrap_err();
        assert_eq!(error("open"), SourceError::Unpaired { line: 2, text: "#if WIDE".into() });
        assert_eq!(error("stray"), SourceError::Unpaired { line: 1, text: "#end".into() });
        assert_eq!(error("unknown"), SourceError::Directive { line: 1, text: "#define A".into() });
        assert_eq!(error("loops"), SourceError::Undefined { line: 1, name: "N".into() });
        assert_eq!(error("none"), SourceError::NoFile("none".into()));
    }
}
