//! `multipart/form-data` bodies, in which clients send a statement with its parameters.

use crate::exception::{Exception, code};

/// The boundary a `Content-Type` names, when it is a multipart one.
#[must_use]
pub fn boundary(content_type: &str) -> Option<&str> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = rest.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    Some(value.trim_matches('"')).filter(|boundary| !boundary.is_empty())
}

/// The fields of a whole body, in order. External tables, which come as files, are refused.
pub fn fields(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, Exception> {
    let malformed = || {
        Exception::new(code::INCORRECT_DATA, "INCORRECT_DATA", "the multipart body is malformed")
    };
    let delimiter = format!("--{boundary}");
    let body = std::str::from_utf8(body).map_err(|_| malformed())?;
    let mut parts = body.split(delimiter.as_str());
    parts.next();
    let mut fields = Vec::new();
    for part in parts {
        if part.starts_with("--") {
            return Ok(fields);
        }
        let part = part.strip_prefix("\r\n").ok_or_else(malformed)?;
        let (head, value) = part.split_once("\r\n\r\n").ok_or_else(malformed)?;
        let value = value.strip_suffix("\r\n").ok_or_else(malformed)?;
        let disposition = head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"))
            .ok_or_else(malformed)?;
        if disposition.contains("filename=") {
            return Err(Exception::new(
                code::NOT_IMPLEMENTED,
                "NOT_IMPLEMENTED",
                "external tables are not known here",
            ));
        }
        let name = disposition
            .split(';')
            .find_map(|item| item.trim().strip_prefix("name="))
            .ok_or_else(malformed)?;
        fields.push((name.trim_matches('"').to_owned(), value.to_owned()));
    }
    Err(malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_out() {
        let kind = "multipart/form-data; boundary=xyz";
        let body = "--xyz\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT 1\r\n\
                    --xyz\r\nContent-Disposition: form-data; name=\"param_a\"\r\n\r\nb\r\nc\r\n--xyz--\r\n";
        let found = fields(body.as_bytes(), boundary(kind).unwrap()).unwrap();
        let found: Vec<_> = found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(found, [("query", "SELECT 1"), ("param_a", "b\r\nc")]);
        assert_eq!(boundary("application/json"), None);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let file =
            "--x\r\nContent-Disposition: form-data; name=\"t\"; filename=\"t\"\r\n\r\n1\r\n--x--";
        assert_eq!(fields(file.as_bytes(), "x").unwrap_err().code, 48);
        for body in ["", "--x", "--x\r\n\r\n", "--x\r\nA: b\r\n\r\nc\r\n--x--"] {
            assert_eq!(fields(body.as_bytes(), "x").unwrap_err().code, 117, "{body}");
        }
    }
}
