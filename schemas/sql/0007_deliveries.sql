-- One row an attempt to tell a publisher of a conversion, and one (outcome waiting) when it was put
-- into the queue. Identity: (delivery_id, attempt). created_at is the same for all attempts of one
-- delivery that was asked for once. Holds no sub-id and no secret: url is the template.

CREATE TABLE IF NOT EXISTS deliveries {on_cluster}
(
    delivery_id                   String CODEC(ZSTD(1)),
    attempt                       UInt32,
    kind                          LowCardinality(String),
    created_at                    DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    attempted_at                  DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    tenant                        LowCardinality(String),
    publisher_id                  LowCardinality(String),
    share_id                      LowCardinality(String),
    offer_id                      LowCardinality(String),
    event_id                      LowCardinality(String),
    click_id                      String CODEC(ZSTD(1)),
    conversion_id                 String CODEC(ZSTD(1)),
    revision                      UInt32,
    status                        LowCardinality(String),
    destination                   LowCardinality(String),
    method                        LowCardinality(String),
    url                           LowCardinality(String),
    outcome                       LowCardinality(String),
    problem                       LowCardinality(String),
    http_status                   UInt16,
    latency_ms                    UInt32,
    next_attempt_at               Nullable(DateTime64(3, 'UTC')),
    test                          Bool,
    inserted_at                   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX delivery_id_index delivery_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX conversion_id_index conversion_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (toDate(created_at), tenant, publisher_id, delivery_id, attempt)
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

-- Every attempt once, however often it was written.
CREATE VIEW IF NOT EXISTS deliveries_unique {on_cluster} AS
SELECT * FROM deliveries FINAL;

-- Where each delivery stands: its last attempt.
CREATE VIEW IF NOT EXISTS deliveries_current {on_cluster} AS
SELECT * FROM deliveries FINAL ORDER BY delivery_id, attempt DESC LIMIT 1 BY delivery_id;
