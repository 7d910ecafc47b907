-- What was erased, when and by whom; not the values. Identity: erasure_id. One row each time it is carried out.

CREATE TABLE IF NOT EXISTS erasures {on_cluster}
(
    erasure_id                    UUID,
    requested_at                  DateTime64(3, 'UTC'),
    requested_by                  String CODEC(ZSTD(1)),
    reason                        String CODEC(ZSTD(1)),
    kind                          LowCardinality(String),
    value_hash                    String CODEC(ZSTD(1)),
    completed_at                  DateTime64(3, 'UTC'),
    clicks                        UInt64,
    postbacks                     UInt64,
    conversions                   UInt64,
    deliveries                    UInt64,
    refused                       UInt64,
    dead_letters                  UInt64
)
ENGINE = {replicated}ReplacingMergeTree
ORDER BY (erasure_id, completed_at)
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;

-- Every erasure once: all that its runs have done together.
CREATE VIEW IF NOT EXISTS erasures_unique {on_cluster} AS
SELECT
    erasure_id, any(requested_at) AS requested_at, any(requested_by) AS requested_by, any(reason) AS reason,
    any(kind) AS kind, any(value_hash) AS value_hash, max(e.completed_at) AS completed_at, sum(e.clicks) AS clicks,
    sum(e.postbacks) AS postbacks, sum(e.conversions) AS conversions,
    sum(e.deliveries) AS deliveries, sum(e.refused) AS refused,
    sum(e.dead_letters) AS dead_letters
FROM (SELECT * FROM erasures FINAL) AS e
GROUP BY erasure_id;

-- The clicks that were erased, as hashes: rows of them that come later are made anonymous, too.
CREATE TABLE IF NOT EXISTS erased_clicks {on_cluster}
(
    click_hash                    FixedString(64),
    erased_at                     DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = {replicated}ReplacingMergeTree
ORDER BY click_hash
SETTINGS
    non_replicated_deduplication_window = 1000,
    replicated_deduplication_window = 1000,
    fsync_after_insert = 1,
    fsync_part_directory = 1;
