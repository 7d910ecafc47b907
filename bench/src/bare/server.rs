//! Bare hyper: answers every request alike, at once or after one record was acknowledged by Kafka.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::Args;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// As the product's answer to a postback.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    /// Write each request's path and query here first, and wait until it is durable.
    #[arg(long, requires = "topic")]
    brokers: Option<String>,
    #[arg(long)]
    topic: Option<String>,
    /// As the product's.
    #[arg(long, default_value = "1")]
    linger_ms: String,
    /// Redirect instead of answering 204.
    #[arg(long)]
    location: Option<String>,
}

#[derive(Clone)]
struct Server {
    log: Option<(FutureProducer, String)>,
    location: Option<String>,
}

pub async fn run(arguments: &Arguments) -> Result<()> {
    let log = match (&arguments.brokers, &arguments.topic) {
        (Some(brokers), Some(topic)) => {
            let producer = ClientConfig::new()
                .set("bootstrap.servers", brokers)
                .set("enable.idempotence", "true")
                .set("acks", "all")
                .set("compression.type", "lz4")
                .set("linger.ms", &arguments.linger_ms)
                .create()
                .context("no producer")?;
            Some((producer, topic.clone()))
        }
        _ => None,
    };
    let server = Server { log, location: arguments.location.clone() };
    let listener = TcpListener::bind(arguments.listen).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let _ = stream.set_nodelay(true);
        let server = server.clone();
        let service = service_fn(move |request| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            let _ = connection.await;
        });
    }
}

impl Server {
    async fn answer(&self, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let mut answer = Response::new(Empty::new());
        *answer.status_mut() = hyper::StatusCode::NO_CONTENT;
        if let Some((producer, topic)) = &self.log {
            let value = request.uri().path_and_query().map_or("", |it| it.as_str());
            let record = FutureRecord::<(), str>::to(topic).payload(value);
            if producer.send(record, Timeout::After(ANSWER_WITHIN)).await.is_err() {
                *answer.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
                return answer;
            }
        }
        if let Some(location) = self.location.as_deref().and_then(|it| it.parse().ok()) {
            *answer.status_mut() = hyper::StatusCode::FOUND;
            answer.headers_mut().insert(hyper::header::LOCATION, location);
        }
        answer
    }
}
