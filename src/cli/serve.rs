//! `huggingtweets serve`: serves the page and one bot on this machine.

mod http;

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::mpsc,
    time::Duration,
};

use anyhow::{Context, bail};

use super::{assets, say::stdout, signals};
use crate::card;

/// How long a connection may stay idle: a little longer than browsers keep one. Clients that vanish
/// without a word would otherwise take up the process's file descriptors one by one.
const PATIENCE: Duration = Duration::from_secs(6 * 60);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bot's folder [default: the demo bot that comes with the page]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The address to listen on; 0.0.0.0 lets other machines in
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The built page [default: share/huggingtweets beside this command, else ./dist]
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let assets = assets::locate(args.assets.as_deref())?;
    let bot = match &args.model {
        Some(dir) => assets::open_bot(dir)?,
        None => assets::open_bot(&assets.join(assets::BOT_FOLDER))
            .context("no demo bot: name a bot with --model")?,
    };
    let listener = listen(&args.host, args.port)?;
    let address = listener.local_addr()?;

    let (sender, ended) = mpsc::channel::<io::Result<()>>();
    let stop = sender.clone();
    // Ctrl-C and SIGTERM are the normal ways to stop a server, so they are not errors.
    signals::listen(move || drop(stop.send(Ok(())))).context("cannot wait for Ctrl-C")?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot serve")?;
    let roots = http::Roots { assets, bot: bot.dir };
    runtime.spawn(async move { drop(sender.send(http::serve(listener, roots, PATIENCE).await)) });

    let mut out = stdout();
    writeln!(out, "Serving {} at {}", card::display_name(&bot.manifest.info), shown(address))?;
    out.flush()?;
    let result = ended.recv();
    // Do not wait for downloads in progress.
    runtime.shutdown_background();
    result.context("the server stopped")?.context("the server stopped")
}

/// Describes where the page is. Browsers do not trust `0.0.0.0` as they do `127.0.0.1`, and would
/// deny it threads, the GPU and storage.
fn shown(address: SocketAddr) -> String {
    let here: IpAddr = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => return format!("http://{address}/"),
    };
    let here = SocketAddr::new(here, address.port());
    format!("http://{here}/ and, for other machines, at this one's addresses")
}

fn listen(host: &str, port: u16) -> anyhow::Result<TcpListener> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match TcpListener::bind((host, port)) {
        Ok(listener) => {
            listener.set_nonblocking(true)?;
            Ok(listener)
        }
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            bail!("port {port} of {host} is in use: choose another with --port")
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            bail!("port {port} of {host} is reserved: choose one over 1023 with --port")
        }
        Err(error) => {
            bail!("cannot listen on {host}, port {port} ({error}): choose others with --host and --port")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_the_way_out() {
        let first = listen("127.0.0.1", 0).unwrap();
        let port = first.local_addr().unwrap().port();
        let error = listen("127.0.0.1", port).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--port"), "{error}");
    }

    #[test]
    fn the_address_shown_is_one_that_a_browser_trusts() {
        let shown = |address: &str| shown(address.parse().unwrap());
        assert_eq!(shown("127.0.0.1:80"), "http://127.0.0.1:80/");
        assert_eq!(shown("[2001:db8::1]:80"), "http://[2001:db8::1]:80/");
        assert!(shown("0.0.0.0:8080").starts_with("http://127.0.0.1:8080/ and, for other machines"));
        assert!(shown("[::]:8080").starts_with("http://[::1]:8080/ and, for other machines"));
    }

    #[test]
    fn an_address_that_is_not_ours_is_an_error() {
        let error = listen("not a host", 0).unwrap_err().to_string();
        assert!(error.contains("--host") && !error.contains('\n'), "{error}");
    }
}
