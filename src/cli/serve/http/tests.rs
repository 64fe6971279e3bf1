//! Tests over a real socket in plain HTTP.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::*;

struct Served {
    address: SocketAddr,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

const MODEL: &[u8] = b"0123456789abcdefghij";

/// Serves a page with one file of each type and a bot, with a secret file beside both.
fn served() -> Served {
    served_with(Duration::from_secs(60))
}

fn served_with(patience: Duration) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let (assets, bot) = (folder.path().join("dist"), folder.path().join("my bot"));
    for dir in [&assets, &assets.join("bot"), &bot, &bot.join("onnx")] {
        fs::create_dir(dir).unwrap();
    }
    for (name, text) in [
        ("index.html", "<title>Page</title>"),
        ("app.js", "1"),
        ("app_bg.wasm", "\0asm"),
        ("a.css", "b{}"),
        ("large.wasm", &"\0asm ".repeat(1000)),
        (".env", "no"),
    ] {
        fs::write(assets.join(name), text).unwrap();
    }
    fs::write(assets.join("bot/bot.json"), "demo").unwrap();
    fs::write(bot.join("bot.json"), "{}").unwrap();
    fs::write(bot.join("README.md"), "# é").unwrap();
    fs::write(bot.join("model-q8_0.gguf"), MODEL).unwrap();
    fs::write(bot.join("a b%.txt"), "spaced").unwrap();
    fs::write(bot.join("empty.txt"), "").unwrap();
    fs::write(bot.join("onnx/index.html"), "inner").unwrap();
    fs::write(bot.join("onnx/.env"), "secret").unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.spawn(serve(listener, Roots { assets, bot }, patience));
    Served { address, _runtime: runtime, _folder: folder }
}

impl Served {
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        stream.write_all((request + "\r\n").as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head, body: bytes[end + 4..].to_vec() }
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[])
    }

    fn range(&self, range: &str) -> Reply {
        self.ask("GET", "/bot/model-q8_0.gguf", &[("Range", range)])
    }
}

impl Reply {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

#[test]
fn the_page_is_isolated_and_open_to_other_origins() {
    let page = served();
    for path in ["/", "/bot/model-q8_0.gguf", "/absent"] {
        let reply = page.get(path);
        assert_eq!(reply.header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(reply.header("cross-origin-embedder-policy"), "require-corp");
        assert_eq!(reply.header("cross-origin-resource-policy"), "cross-origin");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
        assert_eq!(reply.header("cache-control"), "no-cache");
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "), "{policy}");
    }
    assert_eq!(page.get("/").body, b"<title>Page</title>");
    assert_eq!(page.get("/?prompt=a%20b").status, 200);
}

#[test]
fn files_have_their_types() {
    let page = served();
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/app.js", "text/javascript"),
        ("/app_bg.wasm", "application/wasm"),
        ("/a.css", "text/css"),
        ("/bot/bot.json", "application/json"),
        ("/bot/README.md", "text/markdown; charset=utf-8"),
        ("/bot/model-q8_0.gguf", "application/octet-stream"),
    ] {
        assert_eq!(page.get(path).header("content-type"), kind, "{path}");
    }
}

#[test]
fn the_bot_served_takes_the_place_of_the_demo() {
    let page = served();
    assert_eq!(page.get("/bot/bot.json").body, b"{}");
    let redirect = page.get("/bot");
    assert_eq!((redirect.status, redirect.header("location")), (308, "/bot/"));
}

#[test]
fn ranges_are_answered() {
    let page = served();
    for (range, content_range, body) in [
        ("bytes=0-3", "bytes 0-3/20", "0123"),
        ("bytes=16-", "bytes 16-19/20", "ghij"),
        ("bytes=-5", "bytes 15-19/20", "fghij"),
        ("bytes=18-99", "bytes 18-19/20", "ij"),
    ] {
        let reply = page.range(range);
        assert_eq!((reply.status, reply.header("content-range")), (206, content_range), "{range}");
        assert_eq!(reply.body, body.as_bytes());
        assert_eq!(reply.header("content-length"), body.len().to_string());
    }
    let beyond = page.range("bytes=20-30");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */20"));
    assert_eq!(page.get("/bot/model-q8_0.gguf").header("accept-ranges"), "bytes");
}

#[test]
fn several_ranges_and_foreign_units_get_the_whole_file() {
    let page = served();
    for range in ["bytes=0-1,4-5", "lines=1-2"] {
        let reply = page.range(range);
        assert_eq!((reply.status, reply.body.as_slice()), (200, MODEL), "{range}");
    }
}

#[test]
fn a_range_that_is_none_gets_the_whole_file() {
    let page = served();
    // RFC 9110, 14.1.2: a longer suffix is the whole file; 14.2: what is malformed is ignored.
    for range in
        ["bytes=-21", "bytes=-99999999999", "bytes=5-2", "bytes=a-b", "bytes=+1-2", "bytes", "bytes=-"]
    {
        let reply = page.range(range);
        assert_eq!((reply.status, reply.body.as_slice()), (200, MODEL), "{range}");
    }
    for (range, body) in [("bytes=00-03", "0123"), ("Bytes=-05", "fghij")] {
        let reply = page.range(range);
        assert_eq!((reply.status, reply.body.as_slice()), (206, body.as_bytes()), "{range}");
    }
    assert_eq!(page.range("bytes=-0").status, 416);
    for range in ["bytes=0-0", "bytes=0-", "bytes=-1"] {
        let reply = page.ask("GET", "/bot/empty.txt", &[("Range", range)]);
        assert_eq!(
            (reply.status, reply.header("content-length"), reply.body.len()),
            (200, "0", 0),
            "{range}"
        );
    }
}

#[test]
fn a_connection_on_which_nothing_moves_is_closed() {
    let page = served_with(Duration::from_millis(300));
    for sent in ["", "GET / HTTP/1.1\r\nHost: localhost\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut stream = TcpStream::connect(page.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(sent.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.starts_with("HTTP/1.1 200"), sent.ends_with("\r\n\r\n"), "{sent:?}: {answer}");
    }
}

#[test]
fn a_range_of_a_file_that_changed_is_the_whole_file() {
    let page = served();
    let path = "/bot/model-q8_0.gguf";
    let first = page.get(path);
    let (tag, modified) = (first.header("etag"), first.header("last-modified"));
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    assert_eq!(page.range("bytes=0-0").header("etag"), tag);
    for same in [tag, modified] {
        assert_eq!(page.ask("GET", path, &[("Range", "bytes=0-3"), ("If-Range", same)]).status, 206);
    }
    for other in ["\"other\"", "Thu, 01 Jan 1970 00:00:00 GMT"] {
        let reply = page.ask("GET", path, &[("Range", "bytes=0-3"), ("If-Range", other)]);
        assert_eq!((reply.status, reply.body.as_slice()), (200, MODEL));
    }
}

#[test]
fn what_the_client_has_is_not_sent_again() {
    let page = served();
    let first = page.get("/app.js");
    let tag = first.header("etag");
    for known in [tag.to_string(), format!("\"x\", W/{tag}"), "*".into()] {
        let reply = page.ask("GET", "/app.js", &[("If-None-Match", &known)]);
        assert_eq!((reply.status, reply.body.len(), reply.header("etag")), (304, 0, tag), "{known}");
        assert_eq!(reply.header("access-control-allow-origin"), "*");
    }
    assert_eq!(page.ask("GET", "/app.js", &[("If-None-Match", "\"x\"")]).status, 200);
    let modified = first.header("last-modified");
    assert_eq!(page.ask("GET", "/app.js", &[("If-Modified-Since", modified)]).status, 304);
}

#[test]
fn a_preflight_for_ranges_is_granted() {
    let reply = served().ask(
        "OPTIONS",
        "/bot/model-q8_0.gguf",
        &[
            ("Origin", "https://blog.example"),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "range"),
        ],
    );
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert!(reply.header("access-control-allow-headers").split(',').any(|header| header == "range"));
    assert!(reply.header("access-control-allow-methods").contains("GET"));
    assert_eq!(reply.header("access-control-max-age"), "86400");
}

#[test]
fn other_origins_may_read_sizes_and_tags() {
    let reply = served().ask("GET", "/bot/model-q8_0.gguf", &[("Origin", "https://blog.example")]);
    let exposed = reply.header("access-control-expose-headers");
    for header in ["content-range", "content-length", "etag"] {
        assert!(exposed.contains(header), "{exposed}");
    }
}

#[test]
fn head_has_the_size_and_no_body() {
    let reply = served().ask("HEAD", "/bot/model-q8_0.gguf", &[]);
    assert_eq!((reply.status, reply.header("content-length"), reply.body.len()), (200, "20", 0));
    assert!(!reply.header("etag").is_empty());
}

#[test]
fn nothing_outside_the_folders_is_reached() {
    let page = served();
    for path in [
        "/../secret",
        "/bot/../../secret",
        "/%2e%2e/secret",
        "/bot/%2e%2e/secret",
        "/bot/..%2fsecret",
        "/..%5csecret",
        "//secret",
        "/bot//etc/passwd",
        "/.env",
        "/%2Eenv",
        "/bot/bot.json%00",
        "/absent",
        "/bot/",
    ] {
        let reply = page.get(path);
        assert_eq!(reply.status, 404, "{path}");
        assert!(!reply.body.windows(6).any(|window| window == b"secret"), "{path}");
    }
}

#[test]
fn a_path_is_decoded_once_and_has_one_meaning() {
    let page = served();
    assert_eq!(page.get("/b%6Ft/bot.json").body, b"{}");
    assert_eq!(page.get("/bot/a%20b%25.txt").body, b"spaced");
    assert_eq!(page.get("/bot/onnx/index.html").body, b"inner");
    let long = format!("/bot/{}", "n".repeat(300));
    for path in [
        "/bot/onnx",
        "/bot/onnx/",
        "//bot",
        "//bot/bot.json",
        "/bot//bot.json",
        "/bot%2fbot.json",
        "/bot/onnx/.env",
        "/bot/onnx%2f.env",
        "/bot/onnx%2F%2eenv",
        "/bot/a%2520b%2525.txt",
        "/bot/a%zzb",
        "/bot/%ff",
        "/bot/%",
        "/app.js/",
        "/app.js/x",
        &long,
    ] {
        let reply = page.get(path);
        assert_eq!((reply.status, reply.header("location")), (404, ""), "{path}");
        assert!(reply.body.is_empty(), "{path}");
    }
}

#[test]
fn nothing_can_be_written() {
    let page = served();
    for method in ["POST", "PUT", "DELETE"] {
        for headers in [&[][..], &[("If-None-Match", "*")]] {
            assert_eq!(page.ask(method, "/bot/bot.json", headers).status, 405, "{method}");
        }
    }
}

#[test]
fn the_pages_files_travel_compressed_and_weights_do_not() {
    let served = served();
    let gzip = ("Accept-Encoding", "br, gzip");
    let reply = served.ask("GET", "/large.wasm", &[gzip]);
    assert!(
        reply.head.contains("content-encoding: gzip") && reply.head.contains("accept-encoding"),
        "{}",
        reply.head
    );
    assert!(reply.head.contains("content-type: application/wasm"), "{}", reply.head);
    let body = unchunked(&reply.body);
    assert!(body.len() < 500, "{} bytes", body.len());
    let mut whole = String::new();
    flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut whole).unwrap();
    assert_eq!(whole, "\0asm ".repeat(1000));

    let tag = reply.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(served.ask("GET", "/large.wasm", &[gzip, ("If-None-Match", &tag)]).status, 304);

    for (path, headers) in [
        ("/large.wasm", vec![]),
        ("/large.wasm", vec![gzip, ("Range", "bytes=0-3")]),
        ("/app_bg.wasm", vec![gzip]),
        ("/bot/model-q8_0.gguf", vec![gzip]),
    ] {
        let reply = served.ask("GET", path, &headers);
        assert!(!reply.head.contains("content-encoding"), "{path}: {}", reply.head);
        assert!(reply.head.contains("content-length"), "{path}: {}", reply.head);
    }
}

/// Decodes a body in chunked transfer encoding.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|two| two == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return whole;
        }
        whole.extend(&body[end + 2..][..length]);
        body = &body[end + 2 + length + 2..];
    }
}
