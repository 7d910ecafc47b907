//! The engine's own settings, as the two files it reads at start.
//!
//! The engine's user holds grants on tables only, and on no source: every table function, table
//! engine and database engine that names `READ ON FILE`, `WRITE ON URL` and the like is refused by
//! the engine itself, for both tokens. What needs no grant there is `guard`'s.

use crate::config::Limits;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What statements may do to tables. No `SOURCES`, `BACKUP`, `CREATE DICTIONARY`, `CREATE
/// FUNCTION`, `NAMED COLLECTION`, access management or `SYSTEM SHUTDOWN`.
const GRANTS: &str = "GRANT SHOW, SELECT, INSERT, ALTER, CREATE DATABASE, CREATE TABLE, CREATE VIEW, \
CREATE TEMPORARY TABLE, DROP DATABASE, DROP TABLE, DROP VIEW, UNDROP TABLE, TRUNCATE, OPTIMIZE, CHECK, \
KILL QUERY, SYSTEM MERGES, SYSTEM TTL MERGES, SYSTEM VIEWS ON *.*";

/// Settings that no statement may change: each would read a file, or run SQL hidden in data.
const FIXED: [(&str, &str); 6] = [
    ("input_format_values_interpret_expressions", "0"),
    ("input_format_values_deduce_templates_of_expressions", "0"),
    ("allow_introspection_functions", "0"),
    ("format_schema", ""),
    ("format_template_row", ""),
    ("format_template_resultset", ""),
];

/// Writes the files beside the data and gives the path of the first.
pub fn write(data_dir: &Path, limits: &Limits) -> io::Result<PathBuf> {
    let folder = data_dir.join("settings");
    fs::create_dir_all(&folder)?;
    let users = folder.join("users.xml");
    fs::write(&users, users_xml(limits))?;
    let config = folder.join("config.xml");
    fs::write(&config, config_xml(&users, &folder, limits))?;
    Ok(config)
}

fn users_xml(limits: &Limits) -> String {
    let mut values = String::new();
    let mut constraints = String::new();
    for (name, value) in FIXED {
        if !value.is_empty() {
            values.push_str(&format!("<{name}>{value}</{name}>"));
        }
        constraints.push_str(&format!("<{name}><const/></{name}>"));
    }
    // A client may ask for less, not for more, and not for 0, which would be no limit.
    let bounded = [
        ("max_memory_usage", limits.query_memory_bytes),
        ("max_execution_time", limits.execution.as_secs()),
    ];
    for (name, most) in bounded {
        values.push_str(&format!("<{name}>{most}</{name}>"));
        constraints.push_str(&format!("<{name}><min>1</min><max>{most}</max></{name}>"));
    }
    format!(
        "<clickhouse>\
         <profiles><default>\
         {values}<constraints>{constraints}</constraints>\
         </default></profiles>\
         <users><default><password></password><networks><ip>::/0</ip></networks>\
         <profile>default</profile><quota>default</quota>\
         <grants><query>{GRANTS}</query></grants>\
         </default></users>\
         <quotas><default></default></quotas>\
         </clickhouse>\n"
    )
}

/// Tables are synced after every insert, so that what was acknowledged survives a crash. Scripts
/// are looked for in a folder that does not exist; no disk, cluster, dictionary, named collection
/// or backup place is configured, so none can be named.
fn config_xml(users: &Path, folder: &Path, limits: &Limits) -> String {
    format!(
        "<clickhouse>\
         <users_config>{users}</users_config>\
         <user_scripts_path>{scripts}</user_scripts_path>\
         <max_server_memory_usage>{server}</max_server_memory_usage>\
         <mark_cache_size>{marks}</mark_cache_size>\
         <uncompressed_cache_size>0</uncompressed_cache_size>\
         <compiled_expression_cache_size>16777216</compiled_expression_cache_size>\
         <background_pool_size>2</background_pool_size>\
         <background_schedule_pool_size>4</background_schedule_pool_size>\
         <merge_tree><fsync_after_insert>1</fsync_after_insert>\
         <fsync_part_directory>1</fsync_part_directory></merge_tree>\
         </clickhouse>\n",
        users = escape(users),
        scripts = escape(&folder.join("no-scripts")),
        server = limits.server_memory_bytes,
        marks = limits.mark_cache_bytes,
    )
}

fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
