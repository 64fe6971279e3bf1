//! Commands as a person pastes them into a shell.

/// A word as a shell takes it: as it stands where nothing in it has a meaning there,
/// else in single quotes.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A command line that grows word by word.
#[derive(Debug, Clone)]
pub struct Line(String);

impl Line {
    /// Begins with the program and its subcommand.
    pub fn new(command: &str) -> Self {
        Self(command.to_owned())
    }

    /// Adds words that are options as they stand.
    pub fn flag(&mut self, words: &str) {
        self.0.push(' ');
        self.0.push_str(words);
    }

    /// Adds a file's name, which no option can be taken for.
    pub fn file(&mut self, name: &str) {
        let here = if name.starts_with('-') { "./" } else { "" };
        self.flag(&quoted(&format!("{here}{name}")));
    }

    /// Adds an option and its value.
    pub fn option(&mut self, name: &str, value: impl ToString) {
        let value = value.to_string();
        // By itself, a value that begins so would be an option.
        let between = if value.starts_with('-') { '=' } else { ' ' };
        self.flag(&format!("{name}{between}{}", quoted(&value)));
    }

    /// The same where there is a value.
    pub fn maybe(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.option(name, value);
        }
    }

    /// All of it.
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
