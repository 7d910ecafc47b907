-- One row a record that could not be read or that must not be decided. Identity: its place in the
-- log and its content, because a log that was set up anew counts its offsets from the start again.
-- A record met twice has two found_at, so no partition is made of it.

CREATE TABLE IF NOT EXISTS dead_letters {on_cluster}
(
    topic                         LowCardinality(String),
    partition                     UInt32,
    offset                        UInt64,
    found_at                      DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    error                         String CODEC(ZSTD(1)),
    value_hex                     String CODEC(ZSTD(1)),
    inserted_at                   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree
ORDER BY (topic, partition, offset, cityHash64(value_hex))
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE VIEW IF NOT EXISTS dead_letters_unique {on_cluster} AS
SELECT * FROM dead_letters FINAL;
