//! A click's platform from its User-Agent, and its country from the edge's header: known, or not.

use schemas::Platform;
use woothee::parser::Parser;

/// Longer ones are cut: nothing that tells the platform stands so late.
const USER_AGENT_BYTES_MAX: usize = 512;

/// None when it cannot be told, which targeting lets pass.
#[must_use]
pub fn platform(user_agent: &str) -> Option<Platform> {
    let cut = user_agent.floor_char_boundary(USER_AGENT_BYTES_MAX);
    let agent = Parser::new().parse(&user_agent[..cut])?;
    match (agent.os, agent.category) {
        (_, "crawler") => None,
        ("iPhone" | "iPad" | "iPod" | "iOS", _) => Some(Platform::Ios),
        ("Android", _) => Some(Platform::Android),
        // An iPad that asks for desktop sites says exactly what a Mac says.
        ("Mac OSX", _) if agent.name == "Safari" => None,
        (_, "pc") => Some(Platform::Web),
        _ => None,
    }
}

/// The edge's two-letter code; none for what edges send when they do not know (`XX`, `T1`).
#[must_use]
pub fn country(header: &str) -> Option<[u8; 2]> {
    let code: [u8; 2] = header.trim().as_bytes().try_into().ok()?;
    let code = code.map(|byte| byte.to_ascii_uppercase());
    (code.iter().all(u8::is_ascii_uppercase) && !matches!(&code, b"XX" | b"ZZ")).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms() {
        let check = |agent: &str, expected| assert_eq!(platform(agent), expected, "{agent}");
        check(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
            Some(Platform::Ios),
        );
        check(
            "Mozilla/5.0 (iPad; CPU OS 12_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
            Some(Platform::Ios),
        );
        check(
            "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
            Some(Platform::Android),
        );
        check(
            "Mozilla/5.0 (Linux; Android 13; SM-T870) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
            Some(Platform::Android),
        );
        check(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
            Some(Platform::Web),
        );
        check(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
            Some(Platform::Web),
        );
        check(
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15",
            None,
        );
        check("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", None);
        for unknown in ["", "-", "curl/8.5.0", "\u{0}", &"é".repeat(2000)] {
            check(unknown, None);
        }
    }

    #[test]
    fn countries() {
        let check =
            |header, expected: Option<&[u8; 2]>| assert_eq!(country(header), expected.copied());
        check("US", Some(b"US"));
        check(" za ", Some(b"ZA"));
        for unknown in ["", "XX", "T1", "USA", "é", "U"] {
            check(unknown, None);
        }
    }
}
