//! What `loadtest verify` counted, read from the first line that it says.

/// Of the postbacks that were answered 2xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub accepted: u64,
    /// Those of them that the views show exactly once.
    pub there_once: u64,
}

impl Counted {
    /// `N accepted, M of them there exactly once (…), …`; none when nothing was counted.
    #[must_use]
    pub fn read(said: &str) -> Option<Self> {
        let mut found = said.lines().filter_map(|line| {
            let (accepted, rest) = line.split_once(" accepted, ")?;
            let (there_once, _) = rest.split_once(" of them there exactly once ")?;
            Some(Self { accepted: accepted.parse().ok()?, there_once: there_once.parse().ok()? })
        });
        found.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_read() {
        let check = |said: &str, expected: Option<(u64, u64)>| {
            let expected = expected.map(|(accepted, there_once)| Counted { accepted, there_once });
            assert_eq!(Counted::read(said), expected, "{said}");
        };
        let line = "50 accepted, 49 of them there exactly once (0.980000), 1 missing, 0 repeated";
        check(line, Some((50, 49)));
        check(&format!("warning\n{line}\n51 physical rows hold 50 postbacks"), Some((50, 49)));
        check("error: ClickHouse cannot be reached", None);
        check("many accepted, all of them there exactly once (1.0)", None);
    }
}
