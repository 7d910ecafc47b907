# gokart's one binary; the sub-command says which role a container has.

FROM rust:1.95-bookworm AS builder
WORKDIR /src
# TLS to Kafka's brokers is OpenSSL's.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libssl-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
COPY . .
RUN cargo build --locked --release --package gokart

FROM debian:bookworm-slim
# curl asks /readyz for the health check; the certificates are for publishers' https addresses.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl libssl3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/gokart --create-home gokart \
    && chmod 0700 /var/lib/gokart
COPY --from=builder /src/target/release/gokart /usr/local/bin/gokart
USER gokart
WORKDIR /var/lib/gokart
ENV GOKART_DATA=/var/lib/gokart
VOLUME /var/lib/gokart
# Tracking links and postbacks; the admin API; /metrics, /healthz and /readyz.
EXPOSE 8080 8081 9090
ENTRYPOINT ["/usr/local/bin/gokart"]
