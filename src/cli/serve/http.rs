//! Serves static files over HTTP: the page under `/`, the bot under `/bot/`.
//!
//! The page must be cross-origin isolated to use threads, and other origins load the widget and
//! the bot from here, in ranges. tower-http handles files and ranges; entity tags and the
//! conditional requests that depend on them are added here.

mod connection;

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{
        Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
            ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    middleware::map_response,
    response::{IntoResponse, Response},
};
use tower_http::{
    compression::CompressionLayer,
    cors::{Any, CorsLayer},
    services::ServeDir,
    set_header::SetResponseHeaderLayer,
};

use self::connection::Attentive;
use crate::bundle::path_segment;

/// The folders to serve.
#[derive(Debug, Clone)]
pub struct Roots {
    /// Served under `/`.
    pub assets: PathBuf,
    /// Served under `/bot/`, instead of the assets' own bot.
    pub bot: PathBuf,
}

/// Read buffer size, large because models are.
const READ_BYTES: usize = 256 << 10;

/// Headers of every response: cross-origin isolation for our page, and permission for other
/// origins to use what they load. Everything is revalidated, so that a retrained bot shows up
/// at once.
const HEADERS: [(&str, &str); 5] = [
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("cache-control", "no-cache"),
    // Documents also contain the policy, for other hosts; workers only get it from the header.
    ("content-security-policy", include_str!("../../../www/csp.txt").trim_ascii_end()),
];

/// Serves until the listener fails. The listener must be non-blocking. A connection on which nothing
/// moves for as long as `patience` is closed.
pub async fn serve(listener: TcpListener, roots: Roots, patience: Duration) -> io::Result<()> {
    let listener = Attentive::new(tokio::net::TcpListener::from_std(listener)?, patience);
    axum::serve(listener, router(roots)).await
}

fn router(roots: Roots) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::OPTIONS])
        .allow_headers([RANGE, IF_RANGE, IF_NONE_MATCH, IF_MODIFIED_SINCE, CACHE_CONTROL])
        .expose_headers([CONTENT_RANGE, CONTENT_LENGTH, ACCEPT_RANGES, ETAG, LAST_MODIFIED])
        .max_age(Duration::from_secs(24 * 60 * 60));
    let router = Router::new()
        .fallback(answer)
        .with_state(Arc::new(roots))
        .layer(CompressionLayer::new().compress_when(shrinks))
        .layer(map_response(weaken_tag))
        .layer(cors);
    let router = HEADERS.into_iter().fold(router, |router, (name, value)| {
        let name = HeaderName::from_static(name);
        router.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
    });
    router.layer(SetResponseHeaderLayer::overriding(
        X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ))
}

async fn answer(State(roots): State<Arc<Roots>>, request: Request) -> Result<Response, Infallible> {
    let (mut head, _) = request.into_parts();
    if head.uri.path() == "/bot" {
        return Ok((StatusCode::PERMANENT_REDIRECT, [(LOCATION, "/bot/")]).into_response());
    }
    let Some(parts) = parts(head.uri.path()) else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let (root, parts) = match parts.split_first() {
        Some((first, rest)) if first == "bot" => (&roots.bot, rest),
        _ => (&roots.assets, parts.as_slice()),
    };
    let Ok(uri) = address(parts).parse::<Uri>() else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    // No directory indexes: the only page is mapped by `parts`.
    let mut files =
        ServeDir::new(root).append_index_html_on_directories(false).with_buf_chunk_size(READ_BYTES);

    let is_read = [Method::GET, Method::HEAD].contains(&head.method);
    if is_read && [IF_NONE_MATCH, IF_RANGE, RANGE].iter().any(|name| head.headers.contains_key(name)) {
        let current = file(&mut files, Method::HEAD, &uri, HeaderMap::new()).await;
        if let Some(tag) = entity_tag(current.headers()).filter(|_| current.status() == StatusCode::OK)
            && resolve_conditions(&mut head.headers, &tag, current.headers().get(LAST_MODIFIED))
        {
            return Ok(not_modified(tag, current.headers()));
        }
        settle_range(&mut head.headers, length(current.headers()));
    }

    let mut response = file(&mut files, head.method, &uri, head.headers).await;
    if let Some(tag) = entity_tag(response.headers()) {
        response.headers_mut().insert(ETAG, tag);
    }
    name_charset(response.headers_mut());
    Ok(response)
}

/// Splits a path into percent-decoded names; `/` becomes the page's document. Returns `None` if
/// a name is empty, contains a separator or a control character, or begins with a dot.
fn parts(path: &str) -> Option<Vec<String>> {
    if path == "/" {
        return Some(vec!["index.html".into()]);
    }
    path.strip_prefix('/')?
        .split('/')
        .map(|part| path_segment::decode(part).filter(|name| is_name(name)))
        .collect()
}

fn is_name(name: &str) -> bool {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\');
    !name.is_empty() && !name.starts_with('.') && !name.contains(odd)
}

/// Joins names into a percent-encoded path.
fn address(parts: &[String]) -> String {
    parts.iter().map(|part| format!("/{}", path_segment::encode(part))).collect()
}

/// Returns whether to compress a response: the page's own files, but not weights and pictures,
/// which hardly shrink, nor partial responses.
fn shrinks(status: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    const KINDS: [&str; 5] = [
        "application/javascript",
        "application/json",
        "application/manifest+json",
        "application/wasm",
        "image/svg+xml",
    ];
    const LEAST_BYTES: u64 = 1 << 10;
    let text =
        |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let kind = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    status == StatusCode::OK
        && text(CONTENT_LENGTH).parse().is_ok_and(|bytes: u64| bytes >= LEAST_BYTES)
        && (KINDS.contains(&kind) || kind.starts_with("text/"))
}

/// Weakens the entity tag of a compressed response, which is equivalent to the plain file but
/// not byte-identical.
async fn weaken_tag(mut response: Response) -> Response {
    let headers = response.headers_mut();
    if headers.contains_key(CONTENT_ENCODING)
        && let Some(tag) = headers.get(ETAG).and_then(|tag| tag.to_str().ok())
        && let Ok(weak) = HeaderValue::from_str(&format!("W/{tag}"))
    {
        headers.insert(ETAG, weak);
    }
    response
}

async fn file(files: &mut ServeDir, method: Method, uri: &Uri, headers: HeaderMap) -> Response {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers;
    match files.try_call(request).await {
        Ok(response) => response.map(Body::new),
        // The name is too long, or continues below a file.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidFilename | ErrorKind::NotADirectory) => {
            StatusCode::NOT_FOUND.into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Derives an entity tag from the file's modification time and full size, as other static
/// servers do.
fn entity_tag(headers: &HeaderMap) -> Option<HeaderValue> {
    let modified = headers.get(LAST_MODIFIED)?.to_str().ok()?;
    let size = match headers.get(CONTENT_RANGE) {
        Some(range) => range.to_str().ok()?.rsplit('/').next()?,
        None => headers.get(CONTENT_LENGTH)?.to_str().ok()?,
    };
    let letters: String = modified.chars().filter(char::is_ascii_alphanumeric).collect();
    HeaderValue::from_str(&format!("\"{letters}-{size}\"")).ok()
}

/// Evaluates and removes the conditions that need the entity tag (`If-None-Match`, `If-Range`).
/// Returns true if the client's copy is current.
fn resolve_conditions(headers: &mut HeaderMap, tag: &HeaderValue, modified: Option<&HeaderValue>) -> bool {
    if let Some(known) = headers.remove(IF_NONE_MATCH) {
        // `If-None-Match` takes precedence over `If-Modified-Since`.
        headers.remove(IF_MODIFIED_SINCE);
        let known = known.to_str().unwrap_or_default();
        let is_known = |one: &str| {
            let one = one.trim();
            one == "*" || one.trim_start_matches("W/").as_bytes() == tag.as_bytes()
        };
        if known.split(',').any(is_known) {
            return true;
        }
    }
    if let Some(condition) = headers.remove(IF_RANGE)
        && condition != tag
        && Some(&condition) != modified
    {
        headers.remove(RANGE);
    }
    false
}

/// Rewrites a range in the strict form that tower-http reads. Removes it where the standard wants
/// the whole file (a suffix longer than the file, a malformed range) or permits it (several ranges,
/// an empty file), for which tower-http would answer that the range cannot be satisfied.
fn settle_range(headers: &mut HeaderMap, size: Option<u64>) {
    let Some(range) = headers.remove(RANGE) else { return };
    let settled = range.to_str().ok().and_then(|range| one_range(range, size.unwrap_or_default()));
    if let Some(range) = settled.and_then(|range| HeaderValue::from_str(&range).ok()) {
        headers.insert(RANGE, range);
    }
}

/// Returns a single range of a file of this size in its canonical form; `None` if all of the file is
/// to be sent.
fn one_range(range: &str, size: u64) -> Option<String> {
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    let (unit, range) = range.split_once('=')?;
    let (first, last) = range.trim().split_once('-').filter(|_| unit.eq_ignore_ascii_case("bytes"))?;
    if size == 0 {
        return None;
    }
    match (first, last) {
        ("", suffix) => {
            number(suffix).filter(|&suffix| suffix < size).map(|suffix| format!("bytes=-{suffix}"))
        }
        (first, "") => number(first).map(|first| format!("bytes={first}-")),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| format!("bytes={first}-{last}"))
        }
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn not_modified(tag: HeaderValue, current: &HeaderMap) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    response.headers_mut().insert(ETAG, tag);
    if let Some(modified) = current.get(LAST_MODIFIED) {
        response.headers_mut().insert(LAST_MODIFIED, modified.clone());
    }
    response
}

/// Adds `charset=utf-8` to HTML and text, for which a browser would guess otherwise.
fn name_charset(headers: &mut HeaderMap) {
    let Some(kind) = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()) else {
        return;
    };
    if ["text/html", "text/markdown", "text/plain"].contains(&kind)
        && let Ok(kind) = HeaderValue::from_str(&format!("{kind}; charset=utf-8"))
    {
        headers.insert(CONTENT_TYPE, kind);
    }
}

#[cfg(test)]
mod tests;
