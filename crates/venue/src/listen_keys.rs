//! listenKeys of older clients: one per account, valid for an hour after it was made or kept alive.

use crate::api_error::ApiError;
use keel_model::Timestamp;
use keel_sim::AccountId;
use std::collections::HashMap;
use std::time::Duration;

/// The keys; bounded by the number of accounts.
#[derive(Debug)]
pub(crate) struct ListenKeys {
    lifetime: Duration,
    by_key: HashMap<String, (AccountId, Timestamp)>,
}

fn unknown() -> ApiError {
    ApiError::new(-1125, "This listenKey does not exist.")
}

impl ListenKeys {
    /// No keys yet.
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, by_key: HashMap::new() }
    }

    /// The account's key, made if there is none; either way it is valid anew.
    pub(crate) fn open(&mut self, account: AccountId, made: String, now: Timestamp) -> String {
        let expires = now.plus(self.lifetime);
        if let Some((key, entry)) = self.by_key.iter_mut().find(|(_, (owner, until))| *owner == account && *until > now)
        {
            entry.1 = expires;
            return key.clone();
        }
        self.by_key.retain(|_, (owner, _)| *owner != account);
        self.by_key.insert(made.clone(), (account, expires));
        made
    }

    /// Makes a key valid anew.
    pub(crate) fn keep(&mut self, account: AccountId, key: &str, now: Timestamp) -> Result<(), ApiError> {
        let lifetime = self.lifetime;
        match self.by_key.get_mut(key) {
            Some((owner, until)) if *owner == account && *until > now => {
                *until = now.plus(lifetime);
                Ok(())
            }
            _ => Err(unknown()),
        }
    }

    /// Ends a key.
    pub(crate) fn close(&mut self, account: AccountId, key: &str) -> Result<(), ApiError> {
        if self.by_key.get(key).is_some_and(|(owner, _)| *owner == account) {
            self.by_key.remove(key);
            return Ok(());
        }
        Err(unknown())
    }

    /// Whose key it is, while it is valid.
    pub(crate) fn account(&self, key: &str, now: Timestamp) -> Option<AccountId> {
        self.by_key.get(key).filter(|(_, until)| *until > now).map(|(owner, _)| *owner)
    }

    /// Removes and names the keys that have expired (all of them, if asked so).
    pub(crate) fn expire(&mut self, now: Timestamp, all: bool) -> Vec<String> {
        let gone = |until: &Timestamp| all || *until <= now;
        let keys: Vec<String> =
            self.by_key.iter().filter(|(_, (_, until))| gone(until)).map(|(key, _)| key.clone()).collect();
        self.by_key.retain(|_, (_, until)| !gone(until));
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_10_a_key_expires_unless_it_is_kept_and_belongs_to_one_account() {
        let mut keys = ListenKeys::new(Duration::from_secs(60));
        let at = |s: u64| Timestamp::from_ms(s * 1_000);
        let (a, b) = (AccountId(0), AccountId(1));
        let key = keys.open(a, "one".to_owned(), at(0));
        assert_eq!(keys.open(a, "two".to_owned(), at(30)), key, "the same key again");
        assert_eq!(keys.account(&key, at(89)), Some(a));
        assert_eq!(keys.keep(b, &key, at(31)).unwrap_err().code, -1125);
        keys.keep(a, &key, at(80)).unwrap();
        assert_eq!(keys.account(&key, at(139)), Some(a));
        assert_eq!(keys.account(&key, at(140)), None);
        assert_eq!(keys.keep(a, &key, at(140)).unwrap_err().msg, "This listenKey does not exist.");
        assert_eq!(keys.expire(at(140), false), [key]);
        let second = keys.open(a, "three".to_owned(), at(141));
        assert_eq!(keys.close(b, &second).unwrap_err().code, -1125);
        keys.close(a, &second).unwrap();
    }
}
