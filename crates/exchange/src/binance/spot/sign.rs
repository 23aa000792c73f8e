//! Signing: HMAC-SHA256 with a prepared key, and Ed25519.
//!
//! Invariant: no secret leaves this module but inside a signature; `Debug` shows the kind of key only. The API key itself
//! is sent with every request and still kept out of every log.

use super::codec::encode::percent_encode;
use crate::ExchangeError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use std::fmt;

/// The secret half of an API key.
#[derive(Clone)]
pub enum SecretKey {
    /// The shared secret that Binance shows once.
    Hmac(SecretString),
    /// A private key as PEM (PKCS #8), whose public half was registered with the venue.
    Ed25519(SecretString),
}

/// API key and secret of one account.
#[derive(Clone)]
pub struct Credentials {
    /// Goes into the `X-MBX-APIKEY` header.
    pub api_key: SecretString,
    /// Signs.
    pub secret: SecretKey,
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hmac(_) => "Hmac([redacted])",
            Self::Ed25519(_) => "Ed25519([redacted])",
        })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("api_key", &"[redacted]").field("secret", &self.secret).finish()
    }
}

impl Credentials {
    /// An API key with an HMAC secret.
    #[must_use]
    pub fn hmac(api_key: impl Into<String>, secret: impl Into<String>) -> Self {
        let secret: String = secret.into();
        let api_key: String = api_key.into();
        Self { api_key: api_key.into(), secret: SecretKey::Hmac(secret.into()) }
    }

    /// An API key with an Ed25519 private key in PEM.
    #[must_use]
    pub fn ed25519(api_key: impl Into<String>, pem: impl Into<String>) -> Self {
        let pem: String = pem.into();
        let api_key: String = api_key.into();
        Self { api_key: api_key.into(), secret: SecretKey::Ed25519(pem.into()) }
    }
}

enum Kind {
    // The key is hashed once; each signature starts from a copy of that state.
    Hmac(Box<Hmac<Sha256>>),
    Ed25519(Box<SigningKey>),
}

/// Signs requests of one account.
pub struct Signer {
    api_key: SecretString,
    kind: Kind,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Hmac(_) => "Signer(HMAC-SHA256, [redacted])",
            Kind::Ed25519(_) => "Signer(Ed25519, [redacted])",
        })
    }
}

impl Signer {
    /// Prepares the key. Errors name what is wrong, never the key.
    pub fn new(credentials: &Credentials) -> Result<Self, ExchangeError> {
        let unusable = |cause: &str| ExchangeError::Credentials { venue: super::VENUE.into(), cause: cause.into() };
        let api_key = credentials.api_key.expose_secret();
        if api_key.is_empty() || !api_key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(unusable("the API key is empty or has characters that cannot be sent; copy it again"));
        }
        let kind = match &credentials.secret {
            SecretKey::Hmac(secret) if secret.expose_secret().is_empty() => {
                return Err(unusable("the secret is empty; copy it again"));
            }
            SecretKey::Hmac(secret) => {
                let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes());
                Kind::Hmac(Box::new(mac.map_err(|_| unusable("the secret has an impossible length"))?))
            }
            SecretKey::Ed25519(pem) => {
                let key = SigningKey::from_pkcs8_pem(pem.expose_secret().trim());
                Kind::Ed25519(Box::new(
                    key.map_err(|_| unusable("the Ed25519 key is not a PKCS #8 PEM ('-----BEGIN PRIVATE KEY-----')"))?,
                ))
            }
        };
        Ok(Self { api_key: credentials.api_key.clone(), kind })
    }

    /// What goes into the `X-MBX-APIKEY` header.
    #[must_use]
    pub fn api_key(&self) -> &str {
        self.api_key.expose_secret()
    }

    /// Appends `&signature=…` over what `out` holds. Allocates nothing with HMAC once `out` has grown.
    #[inline]
    pub fn append_signature(&self, out: &mut Vec<u8>) {
        match &self.kind {
            Kind::Hmac(prepared) => {
                let mut mac = (**prepared).clone();
                mac.update(out);
                let tag: [u8; 32] = mac.finalize().into_bytes().into();
                let mut text = [0u8; 64];
                out.extend_from_slice(b"&signature=");
                if hex::encode_to_slice(tag, &mut text).is_ok() {
                    out.extend_from_slice(&text);
                }
            }
            Kind::Ed25519(key) => {
                let signature = STANDARD.encode(key.sign(out).to_bytes());
                out.extend_from_slice(b"&signature=");
                percent_encode(signature.as_bytes(), out);
            }
        }
    }

    /// The signature of `payload` as text, not percent-encoded.
    #[must_use]
    pub fn signature(&self, payload: &[u8]) -> String {
        match &self.kind {
            Kind::Hmac(prepared) => {
                let mut mac = (**prepared).clone();
                mac.update(payload);
                hex::encode(mac.finalize().into_bytes())
            }
            Kind::Ed25519(key) => STANDARD.encode(key.sign(payload).to_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binance::spot::testing::venue_table;
    use ed25519_dalek::Verifier;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";

    #[test]
    fn hmac_signatures_equal_the_documented_ones() {
        let Some(table) = venue_table("signature_vectors.json") else { return };
        let mut checked = 0;
        for row in table.as_array().unwrap().iter().filter(|row| row["kind"] == "HMAC-SHA256") {
            let signer = Signer::new(&Credentials::hmac("key", row["key"].as_str().unwrap())).unwrap();
            let (payload, expected) = (row["payload"].as_str().unwrap(), row["signature"].as_str().unwrap());
            assert_eq!(signer.signature(payload.as_bytes()), expected);
            let mut out = payload.as_bytes().to_vec();
            signer.append_signature(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{payload}&signature={expected}"));
            checked += 1;
        }
        assert_eq!(checked, 2);
    }

    #[test]
    fn ed25519_signatures_verify_and_are_percent_encoded() {
        let signer = Signer::new(&Credentials::ed25519("key", PEM)).unwrap();
        let key = SigningKey::from_pkcs8_pem(PEM).unwrap().verifying_key();
        let payload = b"symbol=BTCUSDT&timestamp=1";
        let raw = STANDARD.decode(signer.signature(payload)).unwrap();
        key.verify(payload, &ed25519_dalek::Signature::from_slice(&raw).unwrap()).unwrap();
        let mut out = payload.to_vec();
        signer.append_signature(&mut out);
        let text = String::from_utf8(out).unwrap();
        let sent = text.split_once("&signature=").unwrap().1;
        assert!(sent.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'%'), "{sent}");
        assert!(sent.ends_with("%3D%3D"));
    }

    #[test]
    fn x02_debug_shows_no_secret() {
        let credentials = Credentials::hmac("canary-key", "canary-secret");
        let signer = Signer::new(&credentials).unwrap();
        for text in [format!("{credentials:?}"), format!("{signer:?}"), format!("{:#?}", credentials.secret)] {
            assert!(!text.contains("canary"), "{text}");
            assert!(text.contains("redacted"));
        }
    }

    #[test]
    fn unusable_keys_are_refused_without_being_shown() {
        for credentials in [
            Credentials::hmac("", "x"),
            Credentials::hmac("canary with space", "x"),
            Credentials::hmac("k", ""),
            Credentials::ed25519("k", "canary"),
        ] {
            let error = Signer::new(&credentials).unwrap_err();
            assert!(matches!(error, ExchangeError::Credentials { .. }));
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
