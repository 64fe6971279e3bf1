//! `huggingtweets serve` and `site` as processes: what they print, and how they end.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::support::{Running, fixture};

/// A page with a demo bot in it.
fn page(dir: &Path) {
    fs::create_dir_all(dir.join("bot")).unwrap();
    fs::write(dir.join("index.html"), "<title>Page</title>").unwrap();
    let json = r#"{"format_version": 1, "name": "Maren\nHolm", "handles": ["m"], "files": {}, "checks": {}}"#;
    fs::write(dir.join("bot/bot.json"), json).unwrap();
}

fn command(page: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_huggingtweets"));
    command.args(arguments).arg("--assets").arg(page).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The one line of standard output.
fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

#[test]
fn serve_says_where_it_is_and_ends_well_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    page(folder.path());
    for signal in ["-INT", "-TERM"] {
        let mut child = Running::start(&mut command(folder.path(), &["serve", "--port", "0"]));
        let line = first_line(&mut child);
        let address =
            line.strip_prefix("Serving Maren Holm at http://").unwrap().strip_suffix("/\n").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("<title>Page</title>"), "{reply}");

        // A connection that stays open does not keep the server alive.
        let _idle = TcpStream::connect(address).unwrap();
        assert!(Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{signal}");
        assert_eq!((output.stdout, output.stderr), (vec![], vec![]), "{signal}");
    }
}

#[test]
fn serve_names_a_port_in_use_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    page(folder.path());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = command(folder.path(), &["serve", "--port", &port]).output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), message.lines().count()), (Some(1), 1), "{message}");
    assert!(message.contains(&port) && message.contains("--port") && output.stdout.is_empty());
}

#[test]
fn without_a_page_the_way_to_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["serve"][..], &["site", "bot", "--out", "site"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_huggingtweets"))
            .args(arguments)
            .current_dir(&folder)
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), message.lines().count()), (Some(1), 1), "{message}");
        assert!(message.contains("make build"), "{message}");
    }
}

#[test]
fn card_and_site_make_a_folder_for_a_static_host() {
    let folder = tempfile::tempdir().unwrap();
    let (dist, bot, site) =
        (folder.path().join("dist"), folder.path().join("bot"), folder.path().join("site"));
    page(&dist);
    fs::create_dir(&bot).unwrap();
    fs::copy(dist.join("bot/bot.json"), bot.join("bot.json")).unwrap();
    for name in ["config.json", "tokenizer.json"] {
        fs::copy(fixture("tiny-gpt2").join(name), bot.join(name)).unwrap();
    }
    let card = Command::new(env!("CARGO_BIN_EXE_huggingtweets"))
        .arg("card")
        .arg(&bot)
        .args(["--page", "https://a.example/b"])
        .output()
        .unwrap();
    assert!(card.status.success(), "{}", String::from_utf8_lossy(&card.stderr));

    let arguments = ["site", bot.to_str().unwrap(), "--out", site.to_str().unwrap()];
    let output = command(&dist, &arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let html = fs::read_to_string(site.join("index.html")).unwrap();
    assert!(html.contains("<title>Maren Holm · AI BOT 🤖</title>"), "{html}");
    assert!(html.contains("https://a.example/b/bot/predictions.png"), "{html}");
    assert!(site.join("bot/predictions.png").is_file());

    let again = command(&dist, &arguments).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--force"));
}
