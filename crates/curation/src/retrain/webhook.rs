//! How a receiver is told: one signed request.
//!
//! What must stay true: no more than a status comes back; no redirect is followed and no proxy is asked;
//! which addresses are reached is decided when a name has been looked up, so that a name which changes
//! its address in between changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::key::hexadecimal;
use crate::{Refusal, Result};

/// How long an attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a URL at most.
const URL_BYTES_MAX: usize = 2048;
/// Bytes that SHA-256 takes at once.
const BLOCK: usize = 64;

/// A receiver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Webhook {
    pub(super) url: String,
    pub(super) secret: String,
}

/// What is to be sent.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) webhook: Webhook,
    pub(super) event_id: String,
    pub(super) body: String,
    /// Seconds since 1970.
    pub(super) at: f64,
}

/// What sends.
#[derive(Debug)]
pub(super) struct Sender(Agent);

impl Sender {
    pub(super) fn new(public_only: bool) -> Self {
        let config = Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .timeout_global(Some(PATIENCE))
            .max_idle_connections(0)
            .user_agent(concat!("vermilion/", env!("CARGO_PKG_VERSION")))
            .build();
        let resolver = Choosing {
            inner: DefaultResolver::default(),
            public_only,
        };
        Self(Agent::with_parts(
            config,
            DefaultConnector::default(),
            resolver,
        ))
    }

    /// Sends a message; the status that came, or why none did.
    pub(super) fn send(&self, message: &Message) -> Result<u16, String> {
        let timestamp = format!("{}", message.at as u64);
        let signed = format!("{timestamp}.{}", message.body);
        let signature = hexadecimal(&hmac_sha256(
            message.webhook.secret.as_bytes(),
            signed.as_bytes(),
        ));
        let request = self
            .0
            .post(&message.webhook.url)
            .header("content-type", "application/json")
            .header("x-vermilion-event", &message.event_id)
            .header("x-vermilion-timestamp", &timestamp)
            .header("x-vermilion-signature", format!("sha256={signature}"));
        match request.send(message.body.as_bytes()) {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Looks names up, and leaves out addresses that are not to be reached.
#[derive(Debug)]
struct Choosing {
    inner: DefaultResolver,
    public_only: bool,
}

impl Resolver for Choosing {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let mut kept = self.empty();
        for address in found
            .iter()
            .filter(|address| may_reach(address.ip(), self.public_only))
        {
            kept.push(*address);
        }
        if kept.is_empty() {
            let message = "webhooks may not reach this address";
            return Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, message).into());
        }
        Ok(kept)
    }
}

/// Whether an address may be reached. Those of one link, where clouds keep secrets of their machines, never
/// are, nor are those that are none of one machine.
fn may_reach(address: IpAddr, public_only: bool) -> bool {
    let address = address.to_canonical();
    if address.is_unspecified() || address.is_multicast() {
        return false;
    }
    match address {
        IpAddr::V4(address) => {
            let refused = address.is_link_local() || address.is_broadcast();
            let hidden = public_only && is_private_v4(address);
            !(refused || hidden)
        }
        IpAddr::V6(address) => {
            let hidden = public_only && is_private_v6(address);
            !(address.is_unicast_link_local() || hidden)
        }
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmark = a == 198 && (b == 18 || b == 19);
    let protocol = a == 192 && b == 0 && c == 0;
    address.is_loopback()
        || address.is_private()
        || address.is_documentation()
        || shared
        || benchmark
        || protocol
        || a == 0
        || a >= 240
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    // All that is public today begins with the bits 001; what leads to addresses of version 4 is left out.
    let is_global = first & 0xe000 == 0x2000;
    let leads_on = first == 0x2002 || (first == 0x2001 && address.segments()[1] == 0);
    let documentation = first == 0x2001 && address.segments()[1] == 0x0db8;
    !is_global || leads_on || documentation
}

/// Judges the URL of a receiver.
pub(super) fn check_url(url: &str, public_only: bool) -> Result<()> {
    let wrong = |message: &str, hint: &str| {
        Err(Refusal::wrong("bad_url", message)
            .field("webhook.url")
            .hint(hint))
    };
    let usual = "such as https://example.com/retrain";
    if url.len() > URL_BYTES_MAX {
        return wrong("The URL is too long.", "2048 bytes at most");
    }
    let Ok(uri) = url.parse::<Uri>() else {
        return wrong("The URL is none.", usual);
    };
    let is_secure = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return wrong("The URL is neither of http nor of https.", usual),
    };
    let Some(authority) = uri.authority() else {
        return wrong("The URL names no host.", usual);
    };
    if authority.as_str().contains('@') {
        return wrong(
            "The URL holds a user or a password.",
            "the signature says who sends",
        );
    }
    if authority.host().is_empty() {
        return wrong("The URL names no host.", usual);
    }
    if url.contains('#') {
        return wrong("The URL has a fragment.", "leave out `#` and what follows");
    }
    if is_secure && cfg!(not(feature = "tls")) {
        return wrong(
            "This program was built without encryption.",
            "http, or a program with the feature `tls`",
        );
    }
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    if host
        .parse::<IpAddr>()
        .is_ok_and(|address| !may_reach(address, public_only))
    {
        return wrong(
            "Webhooks may not reach this address.",
            "see the setting `webhook_public_only`",
        );
    }
    Ok(())
}

/// HMAC of SHA-256, as RFC 2104 has it.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut padded = [0; BLOCK];
    if key.len() > BLOCK {
        padded[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let hash = |mask: u8, parts: &[u8]| {
        let mut digest = Sha256::new();
        digest.update(padded.map(|byte| byte ^ mask));
        digest.update(parts);
        digest.finalize()
    };
    hash(0x5c, &hash(0x36, message)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first, second and sixth test cases of RFC 4231.
    #[test]
    fn signatures_are_those_of_the_rfc() {
        let check = |key: &[u8], message: &[u8], expected: &str| {
            assert_eq!(hexadecimal(&hmac_sha256(key, message)), expected);
        };
        check(
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        );
        check(
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        );
        check(
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        );
    }

    #[test]
    fn addresses_of_a_link_are_never_reached_and_private_ones_where_that_is_allowed() {
        let check = |text: &str, any: bool, public: bool| {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(may_reach(address, false), any, "{text}");
            assert_eq!(may_reach(address, true), public, "{text}");
        };
        for text in [
            "169.254.169.254",
            "fe80::1",
            "0.0.0.0",
            "::",
            "255.255.255.255",
            "224.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            check(text, false, false);
        }
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
        ] {
            check(text, true, false);
        }
        for text in ["1.1.1.1", "2606:4700::1111", "172.32.0.1", "::ffff:8.8.8.8"] {
            check(text, true, true);
        }
    }

    #[test]
    fn urls_that_are_none_are_refused() {
        let refused = |url: &str, public_only: bool| {
            let refusal = check_url(url, public_only).expect_err(url);
            assert_eq!(
                (refusal.code, refusal.field.as_deref()),
                ("bad_url", Some("webhook.url"))
            );
        };
        for url in [
            "",
            "x",
            "/x",
            "ftp://a/",
            "file:///etc/passwd",
            "http://",
            "http://u:p@a/",
            "http://a/#b",
            "http://169.254.169.254/x",
            "http://[fe80::1]/",
        ] {
            refused(url, false);
        }
        refused("http://127.0.0.1:9/", true);
        refused("http://[::1]/", true);
        refused(&format!("http://a/{}", "x".repeat(2048)), false);
        for url in [
            "http://127.0.0.1:8080/hook?x=1",
            "http://example.com",
            "http://[::1]:80/",
        ] {
            check_url(url, false).expect(url);
        }
    }
}
