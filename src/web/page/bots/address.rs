//! Parses what a visitor pastes to open another bot.

/// How the Hub's URLs begin after the scheme, which may be missing.
const HUB: [&str; 2] = ["huggingface.co/", "hf.co/"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Url(String),
    /// A repository on the Hugging Face Hub, `owner/name`.
    Hub(String),
}

/// Why what was pasted does not open a bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAddress {
    /// It is neither a URL nor a repository's name.
    Unreadable,
    /// The page's policy forbids it (`www/csp.txt`).
    Insecure,
    /// A Space or a data set: bots are among the Hub's models.
    NoModel,
}

impl Address {
    /// Parses what was pasted; `own_site` is the page's site, up to the `/`.
    ///
    /// # Errors
    /// If it does not open a bot.
    pub fn parse(text: &str, own_site: &str) -> Result<Self, NoAddress> {
        let text = text.trim();
        let secure = strip_prefix(text, "https://");
        let bare = secure.or_else(|| strip_prefix(text, "http://"));
        if let Some(path) = HUB.iter().find_map(|hub| strip_prefix(bare.unwrap_or(text), hub)) {
            return Self::on_hub(path);
        }
        let Some(bare) = bare else {
            let mut parts = text.splitn(2, '/');
            return Self::repository(parts.next(), parts.next().map(|name| name.trim_end_matches('/')));
        };
        let host = bare.split(['/', '?', '#']).next().unwrap_or_default();
        if host.is_empty() || bare.contains(char::is_whitespace) {
            return Err(NoAddress::Unreadable);
        }
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let here = matches!(name, "localhost" | "127.0.0.1") || format!("{text}/").starts_with(own_site);
        match secure.is_some() || here {
            true => Ok(Self::Url(text.into())),
            false => Err(NoAddress::Insecure),
        }
    }

    /// Parses a URL of the Hub. A file or folder of a repository is opened by its own URL, even if
    /// the pasted one is of the page that shows it.
    fn on_hub(path: &str) -> Result<Self, NoAddress> {
        let plain = path.split(['?', '#']).next().unwrap_or_default();
        let parts: Vec<_> = plain.split('/').filter(|part| !part.is_empty()).collect();
        let repository = Self::repository(parts.first().copied(), parts.get(1).copied())?;
        let within = match parts.get(2..) {
            Some(["resolve", ..]) => path.into(),
            Some(["blob", file @ ..]) => {
                resolved(&parts, &format!("{}{}", file.join("/"), &path[plain.len()..]))
            }
            // The root of the main branch is the repository.
            Some(["tree", branch, within @ ..]) if *branch != "main" || !within.is_empty() => {
                resolved(&parts, &format!("{}/", parts[3..].join("/")))
            }
            _ => return Ok(repository),
        };
        Ok(Self::Url(format!("https://huggingface.co/{within}")))
    }

    fn repository(owner: Option<&str>, name: Option<&str>) -> Result<Self, NoAddress> {
        let (Some(owner), Some(name)) = (owner, name) else { return Err(NoAddress::Unreadable) };
        if matches!(owner, "spaces" | "datasets") {
            return Err(NoAddress::NoModel);
        }
        let good = |part: &str| {
            let begins = part.starts_with(|c: char| c.is_ascii_alphanumeric());
            begins && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        match good(owner) && good(name) {
            true => Ok(Self::Hub(format!("{owner}/{name}"))),
            false => Err(NoAddress::Unreadable),
        }
    }
}

/// The text after a URL's scheme or host, which may be in capitals.
fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Path of the file or folder itself, in the repository that `parts` begin with.
fn resolved(parts: &[&str], within: &str) -> String {
    format!("{}/resolve/{within}", parts[..2].join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, NoAddress> {
        Address::parse(text, "http://192.168.1.5:8080/")
    }

    fn url(text: &str) -> Result<Address, NoAddress> {
        Ok(Address::Url(text.into()))
    }

    #[test]
    fn an_address_or_a_repository_is_known() {
        let hub = |name: &str| Ok(Address::Hub(name.into()));
        for (text, expected) in [
            (" huggingtweets/bot-1 ", hub("huggingtweets/bot-1")),
            ("huggingtweets/bot-1/", hub("huggingtweets/bot-1")),
            ("https://huggingface.co/a/b.c/tree/main?x", hub("a/b.c")),
            ("http://huggingface.co/a/b", hub("a/b")),
            ("hf.co/a/b", hub("a/b")),
            ("https://example.org/bot/", url("https://example.org/bot/")),
            ("Https://example.org/bot/", url("Https://example.org/bot/")),
            ("HuggingFace.co/a/b", hub("a/b")),
            ("ボット", Err(NoAddress::Unreadable)),
            ("a bot", Err(NoAddress::Unreadable)),
            ("a/b/c", Err(NoAddress::Unreadable)),
            ("../etc", Err(NoAddress::Unreadable)),
            ("javascript:alert(1)/x", Err(NoAddress::Unreadable)),
            ("https://", Err(NoAddress::Unreadable)),
            ("https://a b/", Err(NoAddress::Unreadable)),
            ("https://huggingface.co/only", Err(NoAddress::Unreadable)),
            ("", Err(NoAddress::Unreadable)),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_file_of_the_hub_is_that_file() {
        let file = || url("https://huggingface.co/a/b/resolve/main/x-q4.gguf");
        for text in [
            "https://huggingface.co/a/b/blob/main/x-q4.gguf",
            "https://huggingface.co/a/b/resolve/main/x-q4.gguf",
            "hf.co/a/b/blob/main/x-q4.gguf",
            "huggingface.co/a/b/resolve/main/x-q4.gguf",
        ] {
            assert_eq!(parse(text), file(), "{text}");
        }
        assert_eq!(
            parse("https://huggingface.co/a/b/blob/main/blob/x.gguf?download=true"),
            url("https://huggingface.co/a/b/resolve/main/blob/x.gguf?download=true")
        );
        assert_eq!(
            parse("https://huggingface.co/a/blob/blob/main/x.gguf"),
            url("https://huggingface.co/a/blob/resolve/main/x.gguf")
        );
        assert_eq!(
            parse("https://huggingface.co/a/b/tree/v2/small/"),
            url("https://huggingface.co/a/b/resolve/v2/small/")
        );
    }

    #[test]
    fn what_is_no_model_on_the_hub_is_told_apart() {
        for text in ["https://huggingface.co/spaces/u/bot", "hf.co/datasets/u/posts/tree/main", "spaces/u"] {
            assert_eq!(parse(text), Err(NoAddress::NoModel), "{text}");
        }
    }

    #[test]
    fn only_what_the_policy_allows_is_opened() {
        for text in [
            "http://192.168.1.5:8080/bot/",
            "http://192.168.1.5:8080",
            "http://localhost:9000/bot/",
            "http://127.0.0.1/x.gguf",
            "http://localhost?x",
        ] {
            assert_eq!(parse(text), url(text), "{text}");
        }
        for text in
            ["http://example.org/bot/", "http://localhost.example.org/", "http://localhost@a.example/"]
        {
            assert_eq!(parse(text), Err(NoAddress::Insecure), "{text}");
        }
        let policy = include_str!("../../../../www/csp.txt");
        assert!(policy.contains("connect-src 'self' blob: https: http://localhost:* http://127.0.0.1:*;"));
    }
}
