-- One row a postback, with what became of it. Identity: postback_id.
-- parameters holds every pair of name and value in the order received, repeats included; parameter is the same as a
-- map, for reading by name: parameter['revenue'] is the first value of that name.

CREATE TABLE IF NOT EXISTS postbacks {on_cluster}
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
    inserted_at                   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    parameter                     Map(String, String) ALIAS CAST(parameters, 'Map(String, String)'),
    INDEX postback_id_index postback_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX click_id_index click_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX conversion_id_index conversion_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (toDate(received_at), tenant, advertiser_id, postback_id)
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

-- Every postback once, however often it was written.
CREATE VIEW IF NOT EXISTS postbacks_unique {on_cluster} AS
SELECT *, parameter FROM postbacks FINAL;
