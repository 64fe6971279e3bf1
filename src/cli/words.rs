//! Shell command lines, to be pasted by users.

/// Quotes a word for a shell: unchanged if it has no special characters, else in single quotes.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A command line built word by word.
#[derive(Debug, Clone)]
pub struct Line(String);

impl Line {
    /// Starts with the program and its subcommand.
    pub fn new(command: &str) -> Self {
        Self(command.to_owned())
    }

    /// Adds options as they are.
    pub fn flag(&mut self, words: &str) {
        self.0.push(' ');
        self.0.push_str(words);
    }

    /// Adds a file name so that it cannot be mistaken for an option.
    pub fn file(&mut self, name: &str) {
        let here = if name.starts_with('-') { "./" } else { "" };
        self.flag(&quoted(&format!("{here}{name}")));
    }

    /// Adds an option and its value.
    pub fn option(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        // A separate value that begins with `-` would be read as an option.
        let between = if value.starts_with('-') { '=' } else { ' ' };
        self.flag(&format!("{name}{between}{}", quoted(&value)));
    }

    /// Adds an option if it has a value.
    pub fn maybe(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.option(name, value);
        }
    }

    /// The complete command line.
    pub fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_change_is_quoted() {
        assert_eq!(quoted("bot-1.run"), "bot-1.run");
        assert_eq!(quoted("Möwe/x=1"), "Möwe/x=1");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("my bot"), "'my bot'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn a_value_that_looks_like_an_option_is_none() {
        let mut line = Line::new("train");
        line.file("-a.zip");
        line.option("--name", "-x");
        line.maybe("--notice", None::<&str>);
        assert_eq!(line.into_text(), "train ./-a.zip --name=-x");
    }
}
