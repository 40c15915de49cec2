//! Names and bytes as texts of plain characters, which every path and every file takes.
//!
//! What must stay true: the same name or bytes always give the same text, and different ones never do.

use std::fmt::Write;

/// A text as one part of a path, or one value of a query.
pub fn encoded(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            part.push(char::from(byte));
        } else {
            write!(part, "%{byte:02X}").expect("a text takes every write");
        }
    }
    part
}

/// Bytes as two digits each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes every write");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_paths_whatever_they_hold() {
        assert_eq!(encoded("a-b_c.d~E9"), "a-b_c.d~E9");
        assert_eq!(encoded("a/b \u{e9}?"), "a%2Fb%20%C3%A9%3F");
    }

    #[test]
    fn every_byte_has_two_digits() {
        assert_eq!(hexadecimal(&[0, 10, 255]), "000aff");
        assert_eq!(hexadecimal(&[]), "");
    }
}
