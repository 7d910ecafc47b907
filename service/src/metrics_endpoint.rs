//! `/metrics` in Prometheus' text format, `/healthz` (the process lives) and `/readyz` (it can
//! work, or what it waits for).

use crate::http::{HttpLimits, Reply, reply, serve};
use crate::{Readiness, ServiceError, Shutdown, metrics_catalog};
use hyper::{Method, StatusCode};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use std::time::Duration;
use tokio::net::TcpListener;

/// Buckets of every histogram of seconds: half a millisecond to a minute.
const SECONDS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];
/// Old observations are folded in this often, so that memory stays bounded without a scrape.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// This process's metrics.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    /// What the process itself uses.
    process: Collector,
}

/// Installs the process's metrics recorder. Histograms are named `…_seconds`.
pub fn install_metrics() -> Result<Metrics, ServiceError> {
    let failed = |error: &dyn std::fmt::Display| {
        ServiceError::Failed(format!("metrics cannot be recorded: {error}"))
    };
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)
        .map_err(|error| failed(&error))?
        .install_recorder()
        .map_err(|error| failed(&error))?;
    metrics_catalog::describe();
    let process = Collector::default();
    process.describe();
    Ok(Metrics { handle, process })
}

impl Metrics {
    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.process.collect();
        self.handle.render()
    }

    /// Serves the three paths until told to stop.
    pub async fn serve(self, listener: TcpListener, readiness: Readiness, shutdown: Shutdown) {
        let upkeep = self.handle.clone();
        let stop = shutdown.clone();
        tokio::spawn(async move {
            while !stop.is_triggered() {
                upkeep.run_upkeep();
                tokio::time::sleep(UPKEEP_INTERVAL).await;
            }
        });
        let limits = HttpLimits { connections: 64, ..HttpLimits::default() };
        serve(listener, limits, shutdown, move |request, _peer| {
            let answer = self.answer(request.method(), request.uri().path(), &readiness);
            async move { answer }
        })
        .await;
    }

    fn answer(&self, method: &Method, path: &str, readiness: &Readiness) -> Reply {
        const TEXT: &str = "text/plain; charset=utf-8";
        if method != Method::GET && method != Method::HEAD {
            return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        }
        match path {
            "/metrics" => {
                reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.render())
            }
            "/healthz" => reply(StatusCode::OK, TEXT, "alive\n"),
            "/readyz" => match readiness.waiting_for().as_slice() {
                [] => reply(StatusCode::OK, TEXT, "ready\n"),
                waiting => reply(
                    StatusCode::SERVICE_UNAVAILABLE,
                    TEXT,
                    format!("waiting for {}\n", waiting.join(", ")),
                ),
            },
            _ => reply(StatusCode::NOT_FOUND, TEXT, "there is /metrics, /healthz and /readyz\n"),
        }
    }
}
