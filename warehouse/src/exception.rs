//! ClickHouse's errors: a code, a text, and the HTTP status that the code has.

use hyper::StatusCode;

/// `ErrorCodes` of ClickHouse that are given here.
pub mod code {
    pub const BAD_ARGUMENTS: u32 = 36;
    pub const NOT_IMPLEMENTED: u32 = 48;
    pub const SYNTAX_ERROR: u32 = 62;
    pub const QUERY_IS_TOO_LARGE: u32 = 106;
    pub const INCORRECT_DATA: u32 = 117;
    pub const REQUIRED_PASSWORD: u32 = 194;
    pub const TOO_MANY_SIMULTANEOUS_QUERIES: u32 = 202;
    pub const SOCKET_TIMEOUT: u32 = 209;
    pub const CHECKSUM_DOESNT_MATCH: u32 = 40;
    pub const UNKNOWN_COMPRESSION_METHOD: u32 = 89;
    pub const CANNOT_DECOMPRESS: u32 = 271;
    pub const ACCESS_DENIED: u32 = 497;
    pub const AUTHENTICATION_FAILED: u32 = 516;
    pub const UNKNOWN_EXCEPTION: u32 = 1002;
}

/// One error, as its client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    pub code: u32,
    /// With `Code: …` in front and the code's name behind.
    pub message: String,
}

impl Exception {
    /// An error of this server's own. `name` is the code's in ClickHouse.
    #[must_use]
    pub fn new(code: u32, name: &str, text: &str) -> Self {
        Self { code, message: format!("Code: {code}. DB::Exception: {text}. ({name})") }
    }

    /// An error of the engine's, which writes its code into the text.
    #[must_use]
    pub fn from_engine(text: &str) -> Self {
        let found = text.split_once("Code: ").and_then(|(_, rest)| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        });
        match found {
            Some(code) => Self { code, message: text.trim_end().to_owned() },
            None => Self::new(code::UNKNOWN_EXCEPTION, "UNKNOWN_EXCEPTION", text.trim_end()),
        }
    }

    /// The status ClickHouse's HTTP interface gives this code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.code {
            code::REQUIRED_PASSWORD => StatusCode::UNAUTHORIZED,
            // UNKNOWN_USER, WRONG_PASSWORD, SET_NON_GRANTED_ROLE
            192 | 193 | code::AUTHENTICATION_FAILED | 512 => StatusCode::FORBIDDEN,
            // CANNOT_PARSE_*, TYPE_MISMATCH, UNKNOWN_TYPE_OF_AST_NODE, TOO_DEEP_AST, TOO_BIG_AST,
            // UNEXPECTED_AST_STRUCTURE, VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE and their like
            6
            | 11
            | 25
            | 26
            | 27
            | code::BAD_ARGUMENTS
            | 38
            | 41
            | 53
            | code::SYNTAX_ERROR
            | 72
            | code::INCORRECT_DATA
            | 130
            | 167
            | 168
            | 223
            | 321
            | 427
            | 441 => StatusCode::BAD_REQUEST,
            // UNKNOWN_FUNCTION, _IDENTIFIER, _TYPE, _STORAGE, _TABLE, _AGGREGATE_FUNCTION, _FORMAT,
            // _TYPE_OF_QUERY, _DATABASE, _SETTING, _DIRECTION_OF_SORTING, _DATABASE_ENGINE, _ROLE
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 99 | 115 | 336 | 511 => {
                StatusCode::NOT_FOUND
            }
            code::QUERY_IS_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            code::NOT_IMPLEMENTED => StatusCode::NOT_IMPLEMENTED,
            // TIMEOUT_EXCEEDED
            159 => StatusCode::REQUEST_TIMEOUT,
            // CANNOT_OPEN_FILE, CANNOT_SCHEDULE_TASK; and a full queue, which passes
            76 | code::SOCKET_TIMEOUT | 439 | code::TOO_MANY_SIMULTANEOUS_QUERIES => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_statuses() {
        let cases = [
            ("Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE)", 60, 404),
            ("Code: 62. DB::Exception: Syntax error", 62, 400),
            ("Code: 164. DB::Exception: Code: 164. readonly", 164, 500),
            ("Code: 497. DB::Exception: default: Not enough privileges", 497, 500),
            ("Code: 159. DB::Exception: Timeout exceeded", 159, 408),
            ("something broke", 1002, 500),
            ("Code: x", 1002, 500),
        ];
        for (text, code, status) in cases {
            let found = Exception::from_engine(text);
            assert_eq!((found.code, found.status().as_u16()), (code, status), "{text}");
        }
    }
}
