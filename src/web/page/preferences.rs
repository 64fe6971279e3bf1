//! What a visitor chose to see: the theme and the tab.

/// Colour theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Theme {
    /// The system's preference.
    #[default]
    Auto,
    Light,
    Dark,
}

impl Theme {
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// Its name in storage and in the document's `data-theme`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// The theme of that name; else `Auto`.
    pub fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|theme| theme.name() == name).unwrap_or_default()
    }
}

/// A tab of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tab {
    #[default]
    Write,
    Card,
    Own,
    Bots,
}

impl Tab {
    pub const ALL: [Self; 4] = [Self::Write, Self::Card, Self::Own, Self::Bots];

    /// Its name, which also ends its elements' ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Card => "card",
            Self::Own => "own",
            Self::Bots => "bots",
        }
    }

    /// The tab that a key moves to, by the ARIA tabs pattern; right and left are exchanged in
    /// right-to-left text.
    pub fn after_key(self, key: &str, right_to_left: bool) -> Option<Self> {
        let here = Self::ALL.iter().position(|tab| *tab == self)?;
        let count = Self::ALL.len();
        let there = match (key, right_to_left) {
            ("ArrowRight", false) | ("ArrowLeft", true) => (here + 1) % count,
            ("ArrowLeft", false) | ("ArrowRight", true) => (here + count - 1) % count,
            ("Home", _) => 0,
            ("End", _) => count - 1,
            _ => return None,
        };
        Some(Self::ALL[there])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_theme_that_is_none_is_the_systems() {
        for theme in Theme::ALL {
            assert_eq!(Theme::named(theme.name()), theme);
        }
        assert_eq!(Theme::named("pink"), Theme::Auto);
    }

    #[test]
    fn arrows_go_round() {
        assert_eq!(Tab::Write.after_key("ArrowRight", false), Some(Tab::Card));
        assert_eq!(Tab::Write.after_key("ArrowLeft", false), Some(Tab::Bots));
        assert_eq!(Tab::Write.after_key("ArrowLeft", true), Some(Tab::Card));
        assert_eq!(Tab::Own.after_key("End", false), Some(Tab::Bots));
        assert_eq!(Tab::Own.after_key("x", false), None);
    }
}
