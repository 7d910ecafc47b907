-- Which numbered files this database has, and what they said when they were applied.
-- Applied before everything else, each time.

CREATE TABLE IF NOT EXISTS migrations {on_cluster}
(
    number                        UInt32,
    name                          String,
    sha256                        String,
    applied_at                    DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = {replicated}ReplacingMergeTree
ORDER BY number
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
