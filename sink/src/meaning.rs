//! What a failed insert means: by ClickHouse's error code, never by its text.
//!
//! Each code stands beside its name in ClickHouse; a test asks the engine for them. A code that stands in none of the lists is
//! [`Meaning::Unclear`]: it is tried again a few times, and then the rows themselves say whether it
//! is one of them ([`crate::insert`]).

use crate::client::problem;
use clickhouse::error::Error as ClientError;

/// What a failed request means for the sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// ClickHouse is away or overloaded: try again.
    Away(String),
    /// It does not take a value among these rows.
    Rows(String),
    /// Tables, access or settings are not as the sink needs them: somebody must mend that.
    Setup(String),
    /// Not known to be any of them.
    Unclear(String),
}

/// What passes by itself.
pub const AWAY_CODES: &[(u32, &str)] = &[
    (3, "UNEXPECTED_END_OF_FILE"),     // the connection broke
    (32, "ATTEMPT_TO_READ_AFTER_EOF"), // the same
    (74, "CANNOT_READ_FROM_FILE_DESCRIPTOR"),
    (75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR"),
    (76, "CANNOT_OPEN_FILE"),
    (95, "CANNOT_READ_FROM_SOCKET"),
    (96, "CANNOT_WRITE_TO_SOCKET"),
    (99, "UNKNOWN_PACKET_FROM_CLIENT"),
    (159, "TIMEOUT_EXCEEDED"),
    (160, "TOO_SLOW"),
    (173, "CANNOT_ALLOCATE_MEMORY"),
    (198, "DNS_ERROR"),
    (201, "QUOTA_EXCEEDED"),
    (202, "TOO_MANY_SIMULTANEOUS_QUERIES"),
    (203, "NO_FREE_CONNECTION"),
    (209, "SOCKET_TIMEOUT"),
    (210, "NETWORK_ERROR"),
    (225, "NO_ZOOKEEPER"),
    (236, "ABORTED"),
    (241, "MEMORY_LIMIT_EXCEEDED"),
    (242, "TABLE_IS_READ_ONLY"), // a replica without its keeper
    (243, "NOT_ENOUGH_SPACE"),
    (254, "NO_ACTIVE_REPLICAS"),
    (279, "ALL_CONNECTION_TRIES_FAILED"),
    (285, "TOO_FEW_LIVE_REPLICAS"),
    (286, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE"),
    (289, "REPLICA_IS_NOT_IN_QUORUM"),
    (319, "UNKNOWN_STATUS_OF_INSERT"),
    (341, "UNFINISHED"),
    (394, "QUERY_WAS_CANCELLED"),
    (415, "ALL_REPLICAS_LOST"),
    (425, "SYSTEM_ERROR"),
    (439, "CANNOT_SCHEDULE_TASK"),
    (473, "DEADLOCK_AVOIDED"),
    (499, "S3_ERROR"),
    (574, "DISTRIBUTED_TOO_MANY_PENDING_BYTES"),
    (735, "QUERY_WAS_CANCELLED_BY_CLIENT"),
    (999, "KEEPER_EXCEPTION"),
];
/// A value that ClickHouse does not take.
pub const ROW_CODES: &[(u32, &str)] = &[
    (6, "CANNOT_PARSE_TEXT"),
    (26, "CANNOT_PARSE_QUOTED_STRING"),
    (27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED"),
    (38, "CANNOT_PARSE_DATE"),
    (41, "CANNOT_PARSE_DATETIME"),
    (53, "TYPE_MISMATCH"),
    (69, "ARGUMENT_OUT_OF_BOUND"),
    (70, "CANNOT_CONVERT_TYPE"),
    (72, "CANNOT_PARSE_NUMBER"),
    (117, "INCORRECT_DATA"),
    (128, "TOO_LARGE_ARRAY_SIZE"),
    (131, "TOO_LARGE_STRING_SIZE"),
    (321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE"),
    (349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN"),
    (376, "CANNOT_PARSE_UUID"),
    (407, "DECIMAL_OVERFLOW"),
    (469, "VIOLATED_CONSTRAINT"),
    (675, "CANNOT_PARSE_IPV4"),
    (676, "CANNOT_PARSE_IPV6"),
];
/// What somebody must mend: tables, columns, access, settings, merges that do not keep up.
pub const SETUP_CODES: &[(u32, &str)] = &[
    (8, "THERE_IS_NO_COLUMN"),
    (10, "NOT_FOUND_COLUMN_IN_BLOCK"),
    (16, "NO_SUCH_COLUMN_IN_TABLE"),
    (20, "NUMBER_OF_COLUMNS_DOESNT_MATCH"),
    (44, "ILLEGAL_COLUMN"),
    (46, "UNKNOWN_FUNCTION"),
    (47, "UNKNOWN_IDENTIFIER"),
    (48, "NOT_IMPLEMENTED"),
    (60, "UNKNOWN_TABLE"),
    (62, "SYNTAX_ERROR"),
    (81, "UNKNOWN_DATABASE"),
    (115, "UNKNOWN_SETTING"),
    (164, "READONLY"), // the user may not write
    (701, "CLUSTER_DOESNT_EXIST"),
    (180, "THERE_IS_NO_PROFILE"),
    (192, "UNKNOWN_USER"),
    (193, "WRONG_PASSWORD"),
    (194, "REQUIRED_PASSWORD"),
    (195, "IP_ADDRESS_NOT_ALLOWED"),
    (218, "TABLE_IS_DROPPED"),
    (TOO_MANY_PARTS, "TOO_MANY_PARTS"),
    (291, "DATABASE_ACCESS_DENIED"),
    (344, "SUPPORT_IS_DISABLED"),
    (452, "SETTING_CONSTRAINT_VIOLATION"),
    (497, "ACCESS_DENIED"),
    (516, "AUTHENTICATION_FAILED"),
];

/// Inserting less often is what ClickHouse needs to merge parts, so the waits are the long ones.
const TOO_MANY_PARTS: u32 = 252;
const TOO_MANY_PARTS_HINT: &str = "ClickHouse merges parts more slowly than they come (look at its disk, its memory and \
     system.merges), or allows too few of them (parts_to_throw_insert)";

/// Sorts a failure of an insert.
#[must_use]
pub fn meaning(error: &ClientError) -> Meaning {
    let problem = problem(error);
    match error {
        ClientError::SchemaMismatch(_) => Meaning::Setup(problem),
        ClientError::BadResponse(text) => match code(text) {
            Some(code) if has(ROW_CODES, code) => Meaning::Rows(problem),
            Some(TOO_MANY_PARTS) => Meaning::Setup(format!("{TOO_MANY_PARTS_HINT}: {problem}")),
            Some(code) if has(SETUP_CODES, code) => Meaning::Setup(problem),
            Some(code) if !has(AWAY_CODES, code) => Meaning::Unclear(problem),
            // A proxy's answer, or one that broke off.
            Some(_) | None => Meaning::Away(problem),
        },
        _ => Meaning::Away(problem),
    }
}

fn has(codes: &[(u32, &str)], code: u32) -> bool {
    codes.iter().any(|(known, _)| *known == code)
}

/// The number that every ClickHouse error begins with: `Code: 60. DB::Exception: …`.
fn code(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("Code: ")?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: fn(String) -> Meaning) {
        let error = ClientError::BadResponse(text.to_owned());
        assert_eq!(meaning(&error), expected(problem(&error)), "{text}");
    }

    #[test]
    fn what_an_answer_means() {
        for (text, expected) in [
            ("Code: 469. DB::Exception: Constraint `c` is violated", Meaning::Rows as fn(_) -> _),
            ("Code: 469", Meaning::Rows),
            ("Code: 60. DB::Exception: Table gokart.clicks does not exist", Meaning::Setup),
            ("Code: 516. DB::Exception: Authentication failed", Meaning::Setup),
            ("Code: 497. DB::Exception: Not enough privileges", Meaning::Setup),
            ("Code: 164. DB::Exception: Cannot execute query in readonly mode", Meaning::Setup),
            ("Code: 241. DB::Exception: Memory limit exceeded", Meaning::Away),
            ("Code: 242. DB::Exception: Table is in readonly mode", Meaning::Away),
            ("Code: 159. DB::Exception: Timeout exceeded", Meaning::Away),
            ("502 Bad Gateway", Meaning::Away),
            ("Code: x", Meaning::Away),
            ("Code: 49. DB::Exception: Logical error", Meaning::Unclear),
            ("Code: 33. DB::Exception: Cannot read all data", Meaning::Unclear),
        ] {
            check(text, expected);
        }
        let crowded = ClientError::BadResponse("Code: 252. DB::Exception: Too many parts".into());
        let told = matches!(meaning(&crowded), Meaning::Setup(it) if it.contains("system.merges"));
        assert!(told, "{:?}", meaning(&crowded));
        assert_eq!(meaning(&ClientError::TimedOut), Meaning::Away("timeout expired".to_owned()));
    }

    #[test]
    fn a_code_means_one_thing() {
        let mut all = [AWAY_CODES, ROW_CODES, SETUP_CODES].concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup_by_key(|(code, _)| *code);
        assert_eq!(all.len(), count);
    }
}
