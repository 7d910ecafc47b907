-- One row a request whose credentials did not match, redacted. Identity: refusal_id.
-- tenant is empty when the host named none. parameters: pairs of name and value, as received.

CREATE TABLE IF NOT EXISTS refused {on_cluster}
(
    refusal_id                    UUID,
    refused_at                    DateTime64(3, 'UTC') CODEC(Delta(8), ZSTD(1)),
    tenant                        LowCardinality(String),
    address                       String CODEC(ZSTD(1)),
    host                          String CODEC(ZSTD(1)),
    mismatch                      LowCardinality(String),
    parameters                    Array(Tuple(String, String)) CODEC(ZSTD(1)),
    inserted_at                   DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC') CODEC(Delta(8), ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree
PARTITION BY toYYYYMM(refused_at)
ORDER BY (toDate(refused_at), tenant, refusal_id)
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

CREATE VIEW IF NOT EXISTS refused_unique {on_cluster} AS
SELECT * FROM refused FINAL;
