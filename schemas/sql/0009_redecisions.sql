-- One row a postback that was put back for decision, with what today's rules said of it, whether that
-- took effect or not. Identity: (postback_id, run_id, preview).
-- effect is applied, already_counted, refused or too_old. changes is a JSON array: how the
-- conversions stand that it changed. A preview changed nothing.

CREATE TABLE IF NOT EXISTS redecisions {on_cluster}
(
    postback_id                   UUID,
    tenant                        LowCardinality(String),
    advertiser_id                 LowCardinality(String),
    received_at                   DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    click_id                      String CODEC(ZSTD(1)),
    event_id                      LowCardinality(String),
    outcome                       LowCardinality(String),
    reason                        LowCardinality(String),
    conversion_id                 String CODEC(ZSTD(1)),
    offer_id                      LowCardinality(String),
    publisher_id                  LowCardinality(String),
    parameters                    Array(Tuple(String, String)) CODEC(ZSTD(1)),
    flags                         Array(LowCardinality(String)),
    test                          Bool,
    config_version                UInt64,
    run_id                        UUID,
    preview                       Bool,
    effect                        LowCardinality(String),
    operator                      String CODEC(ZSTD(1)),
    note                          String CODEC(ZSTD(1)),
    decided_at                    DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    changes                       String CODEC(ZSTD(1)),
    inserted_at                   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX run_id_index run_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX click_id_index click_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (postback_id, run_id, preview)
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

-- Every redecision once, however often it was written.
CREATE VIEW IF NOT EXISTS redecisions_unique {on_cluster} AS
SELECT * FROM redecisions FINAL;

-- Every postback once, with what holds of it: a redecision that took effect takes the place of what
-- was decided first, which stays in the table.
CREATE OR REPLACE VIEW postbacks_unique {on_cluster} AS
SELECT *, parameter FROM postbacks FINAL
WHERE postback_id NOT IN (SELECT postback_id FROM redecisions WHERE NOT preview AND effect = 'applied')
UNION ALL
SELECT
    postback_id, tenant, advertiser_id, received_at, click_id, event_id, outcome, reason, conversion_id,
    offer_id, publisher_id, parameters, flags, test, config_version, inserted_at,
    CAST(parameters, 'Map(String, String)') AS parameter
FROM (
    SELECT * FROM redecisions FINAL WHERE NOT preview AND effect = 'applied'
    ORDER BY decided_at DESC LIMIT 1 BY postback_id
);
