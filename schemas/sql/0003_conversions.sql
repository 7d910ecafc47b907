-- One row a revision of a conversion. Identity: (conversion_id, revision). received_at is that of
-- the postback that first made the conversion, so every revision lies in the same month and day.
-- sequence is the level of the event: null for an independent one.

CREATE TABLE IF NOT EXISTS conversions {on_cluster}
(
    conversion_id                 String CODEC(ZSTD(1)),
    revision                      UInt32,
    click_id                      String CODEC(ZSTD(1)),
    clicked_at                    DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    tenant                        LowCardinality(String),
    advertiser_id                 LowCardinality(String),
    offer_id                      LowCardinality(String),
    root_offer_id                 LowCardinality(String),
    share_id                      LowCardinality(String),
    publisher_id                  LowCardinality(String),
    event_id                      LowCardinality(String),
    event_name                    LowCardinality(String),
    sequence                      Nullable(UInt32),
    status                        LowCardinality(String),
    reason                        LowCardinality(String),
    note                          String CODEC(ZSTD(1)),
    received_at                   DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    due_at                        Nullable(DateTime64(3, 'UTC')),
    decided_at                    DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    revenue                       Decimal64(6),
    payout                        Decimal64(6),
    currency                      LowCardinality(String),
    reward                        Decimal64(6),
    reward_unit                   LowCardinality(String),
    sale_amount                   Nullable(Decimal64(6)),
    sale_currency                 LowCardinality(String),
    transaction_id                String CODEC(ZSTD(1)),
    offer_version                 UInt64,
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
    test                          Bool,
    flags                         Array(LowCardinality(String)),
    postback_id                   Nullable(UUID),
    inserted_at                   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX conversion_id_index conversion_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX click_id_index click_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (toDate(received_at), tenant, offer_id, conversion_id, revision)
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

-- The last revision of each conversion, kept apart so that reports need not look for it.
CREATE TABLE IF NOT EXISTS conversions_latest {on_cluster}
(
    conversion_id                 String CODEC(ZSTD(1)),
    revision                      UInt32,
    click_id                      String CODEC(ZSTD(1)),
    clicked_at                    DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    tenant                        LowCardinality(String),
    advertiser_id                 LowCardinality(String),
    offer_id                      LowCardinality(String),
    root_offer_id                 LowCardinality(String),
    share_id                      LowCardinality(String),
    publisher_id                  LowCardinality(String),
    event_id                      LowCardinality(String),
    event_name                    LowCardinality(String),
    sequence                      Nullable(UInt32),
    status                        LowCardinality(String),
    reason                        LowCardinality(String),
    note                          String CODEC(ZSTD(1)),
    received_at                   DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    due_at                        Nullable(DateTime64(3, 'UTC')),
    decided_at                    DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    revenue                       Decimal64(6),
    payout                        Decimal64(6),
    currency                      LowCardinality(String),
    reward                        Decimal64(6),
    reward_unit                   LowCardinality(String),
    sale_amount                   Nullable(Decimal64(6)),
    sale_currency                 LowCardinality(String),
    transaction_id                String CODEC(ZSTD(1)),
    offer_version                 UInt64,
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
    test                          Bool,
    flags                         Array(LowCardinality(String)),
    postback_id                   Nullable(UUID),
    inserted_at                   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    INDEX conversion_id_index conversion_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX click_id_index click_id TYPE bloom_filter(0.01) GRANULARITY 1
)
ENGINE = {replicated}ReplacingMergeTree(revision)
PARTITION BY toYYYYMM(received_at)
ORDER BY (toDate(received_at), tenant, offer_id, conversion_id)
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    -- A partition of one part needs no collapsing when it is read: make that of a month that has
    -- gone quiet.
    min_age_to_force_merge_seconds = 600,
    min_age_to_force_merge_on_partition_only = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS conversions_to_latest {on_cluster} TO conversions_latest AS
SELECT * FROM conversions;

-- The last revision of each conversion: what holds now.
CREATE VIEW IF NOT EXISTS conversions_current {on_cluster} AS
SELECT * FROM conversions_latest FINAL;

-- Every revision once, however often it was written: how it came to hold.
CREATE VIEW IF NOT EXISTS conversions_revisions {on_cluster} AS
SELECT * FROM conversions FINAL;
