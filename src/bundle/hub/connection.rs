//! Shared by downloads and uploads: the HTTP agent, timeouts and retries, endpoint and token
//! validation.

use std::time::Duration;

use ureq::{
    Agent,
    http::{Response, Uri, uri::Scheme},
};

/// The default endpoint, unless `HF_ENDPOINT` is set.
pub const HUB: &str = "https://huggingface.co";

/// Maximum number of attempts for an idempotent request.
pub const TRIES: u32 = 3;

/// The status of a request that exceeds a rate limit.
pub const TOO_MANY_REQUESTS: u16 = 429;

/// Maximum size of a response read into memory.
const MAX_ANSWER_BYTES: u64 = 8 << 20;

/// Timeouts and retry delay.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Delay before the first retry, doubled for each further one.
    pub retry: Duration,
    /// Timeout for each write. Bodies have no overall timeout, because a file may be large
    /// and a connection slow; only a stalled connection is aborted.
    pub send: Duration,
    /// Timeout for each read; longer, because the Hub may compute before it answers.
    pub receive: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            retry: Duration::from_secs(2),
            send: Duration::from_secs(60),
            receive: Duration::from_secs(120),
        }
    }
}

/// Creates an agent that returns every response as it is. Error statuses and redirects are
/// handled by the callers, so that the token does not follow a redirect.
pub fn agent(patience: &Patience) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_per_write(Some(patience.send))
        .timeout_per_read(Some(patience.receive))
        .user_agent(concat!("huggingtweets/", env!("CARGO_PKG_VERSION")))
        .build();
    config.into()
}

/// Returns whether a request with this response status may succeed if it is sent again.
pub fn is_transient(status: u16) -> bool {
    status == TOO_MANY_REQUESTS || status >= 500
}

/// Describes a transient status, as a predicate of the Hub.
pub fn condition(status: u16) -> &'static str {
    if status == TOO_MANY_REQUESTS { "is limiting requests" } else { "has a fault" }
}

/// Calls `ask` up to `tries` times, while `may_pass` says that its result is transient.
/// The delay between attempts doubles.
pub fn retried<T>(
    patience: &Patience,
    tries: u32,
    mut ask: impl FnMut() -> T,
    may_pass: impl Fn(&T) -> bool,
) -> T {
    let mut wait = patience.retry;
    for _ in 1..tries {
        let done = ask();
        if !may_pass(&done) {
            return done;
        }
        std::thread::sleep(wait);
        wait *= 2;
    }
    ask()
}

/// Returns an environment variable, trimmed, if it is set and not blank.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Returns whether `HF_HUB_OFFLINE` forbids requests, read as `huggingface_hub` reads it.
pub fn is_offline() -> bool {
    variable("HF_HUB_OFFLINE").is_some_and(|value| is_true(&value))
}

fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// Parses an HTTP(S) endpoint, and strips trailing slashes.
pub fn endpoint(text: &str) -> Option<(String, Uri)> {
    let text = text.trim_end_matches('/');
    Some((text.to_owned(), web_address(text)?))
}

fn web_address(text: &str) -> Option<Uri> {
    let address: Uri = text.parse().ok()?;
    let web = [Some(&Scheme::HTTP), Some(&Scheme::HTTPS)].contains(&address.scheme());
    (web && address.host().is_some_and(|host| !host.is_empty())).then_some(address)
}

/// Returns whether the token can be sent in a header.
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns whether both are on the same server, so that both may receive the token.
pub fn same_server(a: &Uri, b: &Uri) -> bool {
    a.scheme() == b.scheme() && a.authority() == b.authority()
}

/// Resolves a redirect's `Location`. Returns `None` unless it is a valid HTTP(S) URL.
pub fn target(from: &Uri, location: &str) -> Option<Uri> {
    let (scheme, authority) = (from.scheme_str()?, from.authority()?);
    if location.starts_with("http://") || location.starts_with("https://") {
        web_address(location)
    } else if location.starts_with("//") {
        web_address(&format!("{scheme}:{location}"))
    } else if location.starts_with('/') {
        web_address(&format!("{scheme}://{authority}{location}"))
    } else {
        let folder = from.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        web_address(&format!("{scheme}://{authority}{folder}/{location}"))
    }
}

/// Returns a header as text, or an empty string if it is missing.
pub fn header<'a, B>(answer: &'a Response<B>, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Reads the response body, up to a size limit.
pub fn read(answer: Response<ureq::Body>) -> Result<Vec<u8>, ureq::Error> {
    answer.into_body().into_with_config().limit(MAX_ANSWER_BYTES).read_to_vec()
}

/// Shortens a foreign message to one printable line.
pub fn short(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(160).collect()
}

/// Formats a foreign message as a suffix for an error: `: message`, or nothing if empty.
pub fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_to_an_address_of_the_web_or_nowhere() {
        let from: Uri = "https://hub.example/a/b?c".parse().unwrap();
        for (location, expected) in [
            ("https://other.example/x?y=1", Some("https://other.example/x?y=1")),
            ("//other.example/x", Some("https://other.example/x")),
            ("/x", Some("https://hub.example/x")),
            ("x", Some("https://hub.example/a/x")),
            ("ftp://other.example/x", Some("https://hub.example/a/ftp://other.example/x")),
            ("http://", None),
            ("/a b", None),
        ] {
            assert_eq!(target(&from, location).map(|uri| uri.to_string()).as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn faults_and_rate_limits_are_transient() {
        assert!([429, 500, 503, 504].into_iter().all(is_transient));
        assert!(![200, 302, 400, 401, 403, 404, 413].into_iter().any(is_transient));
    }

    #[test]
    fn only_the_same_server_is_the_same() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let hub = uri("https://hub.example");
        assert!(same_server(&hub, &uri("https://HUB.example/a")));
        for other in ["http://hub.example/", "https://hub.example:444/", "https://hub.example.evil/"] {
            assert!(!same_server(&hub, &uri(other)), "{other}");
        }
    }
}
