//! The product's HTTP server with a handler that redirects: what connections and protocols cost.

use anyhow::Result;
use clap::Args;
use service::http::{HttpLimits, Protocols, bind, reply, serve_protocols};
use service::{Shutdown, Tls, TlsFiles};
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    location: String,
    /// HTTP/2 beside HTTP/1.1.
    #[arg(long)]
    both: bool,
    #[arg(long, requires = "key")]
    certificate: Option<PathBuf>,
    #[arg(long)]
    key: Option<PathBuf>,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let files = arguments.certificate.zip(arguments.key);
    let files = files.map(|(certificate, key)| TlsFiles { certificate, key });
    let protocols = Protocols { http2: arguments.both, tls: files.map(Tls::load).transpose()? };
    let listener = bind(arguments.listen, "the shell", "--listen").await?;
    let location: hyper::header::HeaderValue = arguments.location.parse()?;
    let answer = move |_, _| {
        let mut answer = reply(hyper::StatusCode::FOUND, "text/plain", "");
        answer.headers_mut().insert(hyper::header::LOCATION, location.clone());
        std::future::ready(answer)
    };
    serve_protocols(listener, protocols, HttpLimits::default(), Shutdown::new(), answer).await;
    Ok(())
}
