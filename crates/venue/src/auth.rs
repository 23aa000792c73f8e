//! Keys, signatures and timestamps: who a request is from, whether it was signed by them, and whether it is fresh.
//!
//! What is signed: on REST the query string and the body as they were sent, without the `signature` parameter; on the
//! WebSocket API all parameters but `signature`, sorted by name, `name=value` joined by `&`.

use crate::api_error::ApiError;
use crate::config::{AccountConfig, Credential};
use crate::error::VenueError;
use crate::params::{Params, time_of};
use base64::Engine as _;
use ed25519_dalek::pkcs8::DecodePublicKey as _;
use ed25519_dalek::{Signature, VerifyingKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use keel_model::Timestamp;
use keel_sim::AccountId;
use percent_encoding::percent_decode_str;
use secrecy::ExposeSecret as _;
use serde_json::value::RawValue;
use sha2::Sha256;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

/// recvWindow when a request names none; unit: microseconds.
const RECV_WINDOW_DEFAULT_US: u64 = 5_000_000;
/// The largest recvWindow; unit: microseconds.
const RECV_WINDOW_MAX_US: u64 = 60_000_000;
/// How far a request may be ahead of the venue's clock; unit: microseconds.
const AHEAD_MAX_US: u64 = 1_000_000;

enum Verifier {
    /// Keyed once; cloned per request.
    Hmac(Hmac<Sha256>),
    Ed25519(Box<VerifyingKey>),
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Hmac(_) => "Hmac",
            Self::Ed25519(_) => "Ed25519",
        })
    }
}

/// A key of an account.
#[derive(Debug)]
pub(crate) struct ApiKey {
    /// The account it belongs to.
    pub(crate) account: AccountId,
    /// The key itself.
    pub(crate) api_key: String,
    can_trade: AtomicBool,
    enabled: AtomicBool,
    verifier: Verifier,
}

impl ApiKey {
    /// May it trade now?
    pub(crate) fn can_trade(&self) -> bool {
        self.can_trade.load(Ordering::Relaxed)
    }

    /// Can it log on to a WebSocket API session?
    pub(crate) const fn is_ed25519(&self) -> bool {
        matches!(self.verifier, Verifier::Ed25519(_))
    }

    /// Is `signature` this key's signature of the pieces put together?
    fn verify(&self, pieces: &[&str], signature: &str) -> bool {
        match &self.verifier {
            Verifier::Hmac(keyed) => {
                let mut bytes = [0u8; 32];
                if hex::decode_to_slice(signature.as_bytes(), &mut bytes).is_err() {
                    return false;
                }
                let mut mac = keyed.clone();
                for piece in pieces {
                    mac.update(piece.as_bytes());
                }
                mac.verify_slice(&bytes).is_ok()
            }
            Verifier::Ed25519(key) => {
                let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(signature) else { return false };
                let Ok(signature) = Signature::from_slice(&bytes) else { return false };
                key.verify_strict(pieces.concat().as_bytes(), &signature).is_ok()
            }
        }
    }
}

/// All keys of the venue, by their text.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_key: HashMap<String, ApiKey>,
}

impl Keys {
    /// Adds an account's key.
    pub(crate) fn add(&mut self, config: &AccountConfig, account: AccountId) -> Result<(), VenueError> {
        let shown: String = config.api_key.chars().take(8).collect();
        let refused = |why: &str| VenueError::Config(format!("account {shown}\u{2026}: {why}"));
        if config.api_key.is_empty() || !config.api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused("its key must be printable ASCII without spaces and not empty"));
        }
        let verifier = match &config.credential {
            Credential::Hmac(secret) => {
                let secret = secret.expose_secret();
                if secret.is_empty() {
                    return Err(refused("its secret is empty"));
                }
                let keyed =
                    Hmac::new_from_slice(secret.as_bytes()).map_err(|_| refused("its secret cannot be used"))?;
                Verifier::Hmac(keyed)
            }
            Credential::Ed25519Pem(pem) => {
                let key = VerifyingKey::from_public_key_pem(pem.trim());
                let key = key.map_err(|error| refused(&format!("its Ed25519 public key is not valid PEM: {error}")))?;
                Verifier::Ed25519(Box::new(key))
            }
            Credential::Ed25519(bytes) => {
                let key =
                    VerifyingKey::from_bytes(bytes).map_err(|_| refused("its Ed25519 public key is not valid"))?;
                Verifier::Ed25519(Box::new(key))
            }
        };
        let key = ApiKey {
            account,
            api_key: config.api_key.clone(),
            can_trade: AtomicBool::new(config.can_trade),
            enabled: AtomicBool::new(true),
            verifier,
        };
        if self.by_key.insert(config.api_key.clone(), key).is_some() {
            return Err(refused("the key is named twice"));
        }
        Ok(())
    }

    /// The key by its text: -2014 when there is none in the request, -2015 when it is not known or was revoked.
    pub(crate) fn find(&self, api_key: Option<&str>) -> Result<&ApiKey, ApiError> {
        let text = api_key.filter(|text| !text.is_empty()).ok_or_else(ApiError::key_format)?;
        let key = self.by_key.get(text).filter(|key| key.enabled.load(Ordering::Relaxed));
        key.ok_or_else(ApiError::rejected_key)
    }

    /// Revokes or restores a key; false when there is none such.
    pub(crate) fn set_enabled(&self, api_key: &str, enabled: bool) -> bool {
        self.by_key.get(api_key).map(|key| key.enabled.store(enabled, Ordering::Relaxed)).is_some()
    }

    /// Takes away or gives back the right to trade; false when there is no such key.
    pub(crate) fn set_can_trade(&self, api_key: &str, can_trade: bool) -> bool {
        self.by_key.get(api_key).map(|key| key.can_trade.store(can_trade, Ordering::Relaxed)).is_some()
    }
}

/// A raw query string or body without its `signature` parameter, as the two pieces around it.
fn without_signature(raw: &str) -> [&str; 2] {
    const NAME: &str = "signature=";
    let mut from = 0;
    while let Some(found) = raw.get(from..).and_then(|rest| rest.find(NAME)) {
        let at = from + found;
        let is_name = at == 0 || raw.as_bytes().get(at - 1) == Some(&b'&');
        if !is_name {
            from = at + NAME.len();
            continue;
        }
        let after = raw.get(at..).unwrap_or_default();
        let rest = after.find('&').and_then(|end| after.get(end..)).unwrap_or_default();
        let before = raw.get(..at.saturating_sub(1)).unwrap_or_default();
        let rest = if before.is_empty() { rest.strip_prefix('&').unwrap_or(rest) } else { rest };
        return [before, rest];
    }
    [raw, ""]
}

/// Checks freshness and signature of a REST request.
pub(crate) fn check_rest(
    key: &ApiKey,
    params: &Params,
    query: &str,
    body: &str,
    now: Timestamp,
) -> Result<(), ApiError> {
    let signature = params.req("signature")?;
    check_time(params, now)?;
    let ([a, b], [c, d]) = (without_signature(query), without_signature(body));
    if key.verify(&[a, b, c, d], signature) { Ok(()) } else { Err(ApiError::signature()) }
}

/// Checks freshness and signature of a WebSocket API request.
pub(crate) fn check_ws(
    key: &ApiKey,
    params: &Params,
    raw: &BTreeMap<String, Box<RawValue>>,
    now: Timestamp,
) -> Result<(), ApiError> {
    let signature = params.req("signature")?;
    check_time(params, now)?;
    let mut payload = String::with_capacity(256);
    for name in raw.keys().filter(|name| name.as_str() != "signature") {
        if !payload.is_empty() {
            payload.push('&');
        }
        payload.push_str(name);
        payload.push('=');
        payload.push_str(params.peek(name).unwrap_or_default());
    }
    let unescaped = percent_decode_str(signature).decode_utf8_lossy();
    if key.verify(&[&payload], signature) || key.verify(&[&payload], &unescaped) {
        Ok(())
    } else {
        Err(ApiError::signature())
    }
}

/// Checks `timestamp` and `recvWindow` against the venue's clock.
pub(crate) fn check_time(params: &Params, now: Timestamp) -> Result<(), ApiError> {
    params.req("timestamp")?;
    let sent = params.req_u64("timestamp")?;
    let window_us = recv_window_us(params)?;
    let (sent_us, now_us) = (time_of(sent).as_ns() / 1_000, now.as_ns() / 1_000);
    if sent_us >= now_us.saturating_add(AHEAD_MAX_US) {
        return Err(ApiError::new(-1021, "Timestamp for this request was 1000ms ahead of the server's time."));
    }
    if now_us.saturating_sub(sent_us) > window_us {
        return Err(ApiError::new(-1021, "Timestamp for this request is outside of the recvWindow."));
    }
    Ok(())
}

fn recv_window_us(params: &Params) -> Result<u64, ApiError> {
    let Some(window) = params.opt_quantity("recvWindow")? else { return Ok(RECV_WINDOW_DEFAULT_US) };
    if window.scale() > 3 {
        return Err(ApiError::precision("recvWindow"));
    }
    let window_us = window.rescale(3).ok().and_then(|value| u64::try_from(value.mantissa()).ok());
    match window_us {
        Some(window_us) if window_us <= RECV_WINDOW_MAX_US => Ok(window_us),
        _ => Err(ApiError::new(-1131, "'recvWindow' contains unexpected value. Cannot be greater than 60000.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};

    fn hmac_key(secret: &str) -> Keys {
        let mut keys = Keys::default();
        keys.add(&AccountConfig::hmac("k", secret), AccountId(0)).unwrap();
        keys
    }

    #[test]
    fn the_signature_is_cut_out_wherever_it_stands() {
        for (raw, expected) in [
            ("a=1&signature=xx", "a=1"),
            ("signature=xx&a=1", "a=1"),
            ("a=1&signature=xx&b=2", "a=1&b=2"),
            ("a=1", "a=1"),
            ("signature=xx", ""),
            ("mysignature=1&signature=xx", "mysignature=1"),
        ] {
            assert_eq!(without_signature(raw).concat(), expected, "{raw}");
        }
    }

    #[test]
    fn the_documentations_signature_vectors_hold() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/venues/binance-spot/signature_vectors.json");
        let Ok(text) = std::fs::read_to_string(path) else {
            eprintln!("SKIPPED: {path} is missing");
            return;
        };
        let vectors: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let mut checked = 0;
        for vector in vectors.iter().filter(|vector| vector["kind"] == "HMAC-SHA256") {
            let keys = hmac_key(vector["key"].as_str().unwrap());
            let key = keys.find(Some("k")).unwrap();
            let (payload, signature) = (vector["payload"].as_str().unwrap(), vector["signature"].as_str().unwrap());
            let at = Timestamp::from_ms(1_499_827_319_559);
            let query = format!("{payload}&signature={}", signature.to_uppercase());
            let params = Params::parse(&query, "").unwrap();
            assert_eq!(check_rest(key, &params, &query, "", at), Ok(()));
            // The same split into query and body, joined without a separator.
            let (head, tail) = payload.split_at(payload.find("&side").unwrap());
            let body = format!("{tail}&signature={signature}");
            let params = Params::parse(head, &body).unwrap();
            assert_eq!(check_rest(key, &params, head, &body, at), Ok(()));
            let tampered = query.replace("quantity=1", "quantity=2");
            let params = Params::parse(&tampered, "").unwrap();
            assert_eq!(check_rest(key, &params, &tampered, "", at).unwrap_err().code, -1022);
            checked += 1;
        }
        assert_eq!(checked, 2);
    }

    #[test]
    fn ed25519_signs_rest_and_websocket_requests() {
        let secret = SigningKey::from_bytes(&[7u8; 32]);
        let mut keys = Keys::default();
        let credential = Credential::Ed25519(secret.verifying_key().to_bytes());
        let config = AccountConfig { credential, ..AccountConfig::hmac("e", "unused") };
        keys.add(&config, AccountId(0)).unwrap();
        let key = keys.find(Some("e")).unwrap();
        assert!(key.is_ed25519());
        let now = Timestamp::from_ms(1_700_000_000_000);
        let payload = "apiKey=e&flag=true&symbol=BTCUSDT&timestamp=1700000000000";
        let signature = base64::engine::general_purpose::STANDARD.encode(secret.sign(payload.as_bytes()).to_bytes());
        let json = format!(
            r#"{{"timestamp":1700000000000,"symbol":"BTCUSDT","flag":true,"apiKey":"e","signature":"{signature}"}}"#
        );
        let raw: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&json).unwrap();
        let params = Params::from_json(&raw).unwrap();
        assert_eq!(check_ws(key, &params, &raw, now), Ok(()));
        let escaped: String = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let query = format!("{payload}&signature={escaped}");
        let params = Params::parse(&query, "").unwrap();
        assert_eq!(check_rest(key, &params, &query, "", now), Ok(()));
    }

    #[test]
    fn t_01_stale_and_early_timestamps_are_refused_in_the_venues_words() {
        let now = Timestamp::from_ms(1_700_000_010_000);
        let check = |query: &str| check_time(&Params::parse(query, "").unwrap(), now);
        assert_eq!(check("timestamp=1700000010000"), Ok(()));
        assert_eq!(check("timestamp=1700000010000000"), Ok(()));
        assert_eq!(check("timestamp=1700000005000"), Ok(()));
        let stale = check("timestamp=1700000004999").unwrap_err();
        assert_eq!((stale.code, &*stale.msg), (-1021, "Timestamp for this request is outside of the recvWindow."));
        assert_eq!(check("timestamp=1700000004999&recvWindow=5000.5").unwrap_err().code, -1021);
        assert_eq!(check("timestamp=1700000004999&recvWindow=5001"), Ok(()));
        let early = check("timestamp=1700000011000").unwrap_err();
        assert_eq!(&*early.msg, "Timestamp for this request was 1000ms ahead of the server's time.");
        assert_eq!(check("timestamp=1700000010000&recvWindow=60001").unwrap_err().code, -1131);
        assert_eq!(check("timestamp=x").unwrap_err().code, -1100);
        assert_eq!(check("").unwrap_err().code, -1102);
    }

    #[test]
    fn v_23_unknown_missing_and_revoked_keys() {
        let keys = hmac_key("s");
        assert_eq!(keys.find(None).unwrap_err().code, -2014);
        assert_eq!(keys.find(Some("other")).unwrap_err().code, -2015);
        assert!(keys.set_enabled("k", false) && !keys.set_enabled("other", false));
        assert_eq!(keys.find(Some("k")).unwrap_err().status, 401);
        let mut keys = keys;
        assert!(keys.add(&AccountConfig::hmac("k", "s"), AccountId(1)).is_err(), "named twice");
    }
}
