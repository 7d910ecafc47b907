-- One row a click. Identity: click_id; clicked_at is inside it and never changes.
-- Empty text stands for "not given" or "not known".

CREATE TABLE IF NOT EXISTS clicks {on_cluster}
(
    click_id                      String CODEC(ZSTD(1)),
    tenant                        LowCardinality(String),
    advertiser_id                 LowCardinality(String),
    offer_id                      LowCardinality(String),
    root_offer_id                 LowCardinality(String),
    share_id                      LowCardinality(String),
    publisher_id                  LowCardinality(String),
    clicked_at                    DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    country                       LowCardinality(String),
    platform                      LowCardinality(String),
    sub1                          String CODEC(ZSTD(1)),
    sub2                          String CODEC(ZSTD(1)),
    sub3                          String CODEC(ZSTD(1)),
    sub4                          String CODEC(ZSTD(1)),
    sub5                          String CODEC(ZSTD(1)),
    sub6                          String CODEC(ZSTD(1)),
    sub7                          String CODEC(ZSTD(1)),
    sub8                          String CODEC(ZSTD(1)),
    sub9                          String CODEC(ZSTD(1)),
    sub10                         String CODEC(ZSTD(1)),
    sub11                         String CODEC(ZSTD(1)),
    sub12                         String CODEC(ZSTD(1)),
    sub13                         String CODEC(ZSTD(1)),
    sub14                         String CODEC(ZSTD(1)),
    sub15                         String CODEC(ZSTD(1)),
    offer_version                 UInt64,
    test                          Bool,
    flags                         Array(LowCardinality(String)),
    inserted_at                   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX click_id_index click_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree
PARTITION BY toYYYYMM(clicked_at)
ORDER BY (toDate(clicked_at), tenant, offer_id, click_id)
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

-- Every click once, however often it was written.
CREATE VIEW IF NOT EXISTS clicks_unique {on_cluster} AS
SELECT * FROM clicks FINAL;
