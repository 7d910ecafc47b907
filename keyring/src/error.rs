//! What can be wrong with keys and tokens. No message holds a secret or a token.

/// The master keys cannot be used: exit code 78, mend the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("line {line}: write `<id> <key> [mint-from]`: a number, a key and perhaps a time")]
    Shape { line: usize },
    #[error("line {line}: the key id is a number from 1 to 255")]
    Id { line: usize },
    #[error("line {line}: key id {id} is there twice; give every key an id of its own")]
    RepeatedId { line: usize, id: u8 },
    #[error(
        "line {line}: the key is not 32 bytes in base64url (43 characters); make one with a generator, not by hand"
    )]
    Key { line: usize },
    #[error("line {line}: the same key stands in two lines; a new id needs a new key")]
    RepeatedKey { line: usize },
    #[error("line {line}: mint-from is a time like 2026-01-31T12:00:00Z")]
    MintFrom { line: usize },
    #[error(
        "line {line}: only the first key may come without mint-from, and keys stand in the order of it: a new key must be known everywhere before the first click id is minted with it"
    )]
    MintOrder { line: usize },
    #[error("there is no key; a file of master keys has at least one line `<id> <key>`")]
    Empty,
    #[error("the key id is a number from 1 to 255")]
    NewId,
    /// The surroundings are at fault: exit code 1.
    #[error("the system gives no random bytes for a new key: {0}")]
    NoRandomness(String),
}

/// A click id cannot be minted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("no master key may mint yet: every mint-from is later than now")]
    NoMintingKey,
    #[error("the click needs {needed} characters without any sub-id, and {allowed} are allowed")]
    TooLong { needed: usize, allowed: usize },
}

/// The text is not a click id that a key of ours has sealed. Why is for tests and for people
/// who look closer; senders learn nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("it is not base64url in its one canonical form, or too short or too long")]
    NotBase64,
    #[error("it is of a version that this build does not know")]
    UnknownVersion,
    #[error("its key is not (or no longer) among the master keys")]
    UnknownKey,
    #[error("it was altered, or sealed with another key")]
    NotAuthentic,
    #[error("it is authentic, but its content cannot be read")]
    Unreadable,
}
