-- One row a decision by hand, with what it did. Identity: command_id.

CREATE TABLE IF NOT EXISTS commands {on_cluster}
(
    command_id                    UUID,
    conversion_id                 String CODEC(ZSTD(1)),
    effect                        LowCardinality(String),
    decided_at                    DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    inserted_at                   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree
ORDER BY command_id
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

-- Every command once, however often it was written.
CREATE VIEW IF NOT EXISTS commands_unique {on_cluster} AS
SELECT * FROM commands FINAL;
