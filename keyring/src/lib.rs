//! Everything secret, in one place: master keys, the credentials derived from them that advertisers
//! put into their postback URLs, and the sealed click ids that travel through their systems.
//!
//! Nothing here prints a secret: `Debug` shows key ids only, and errors name lines and reasons.

mod base64url;
mod credentials;
mod derive;
mod error;
mod master;
mod radix40;
mod sealed_text;
mod token;
mod token_body;
mod webhook;

pub use credentials::Credentials;
pub use error::{KeyringError, SealError, TokenError};
pub use master::Keyring;
pub use sealed_text::is_sealed;
pub use token::{SealedClick, TOKEN_CHARS_DEFAULT, TOKEN_CHARS_MAX, TOKEN_CHARS_MIN};
/// For `fuzz/` alone: what is inside a click id, whose seal strangers cannot make.
#[doc(hidden)]
pub use token_body::{read as read_token_body, write as write_token_body};
pub use webhook::WebhookSecret;
