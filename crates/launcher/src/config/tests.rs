//! Checks that concern more than one key, and files.

use super::*;

fn with(text: &str) -> Result<Config, LaunchError> {
    let mut layers = Layers::defaults().unwrap();
    layers.add_text("x.toml", text).unwrap();
    validate(&layers)
}

#[test]
fn without_a_word_it_is_paper_on_the_embedded_venue() {
    let config = with("").unwrap();
    assert_eq!((config.mode, config.venue, config.duration, config.replay), (Mode::Paper, Venue::Embedded, None, None));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (text, wanted) in [
        ("[run]\nmode = 'live'\n", "x.toml, line 2: `run.mode` is live, but `venue.name` is embedded"),
        ("[run]\nmode = 'live'\n[replay]\nfile = 'a'\n", "live trading of a recording"),
        ("[venue]\nname = 'binance'\n[replay]\nfile = 'a'\n", "a recording is traded on the embedded venue only"),
        ("[venue]\nname = 'binance-testnet'\n", "so it is not paper"),
        ("[venue]\nurl = 'http://10.0.0.1:9080'\n", "paper orders go only to a simulated venue"),
        ("[venue]\nurl = 'ftp://x'\n", "not an address"),
        ("[venue]\nurl = 'http://me:pw@127.0.0.1'\n", "'http://***@127.0.0.1', not an address"),
        ("[venue]\nname = 'binance'\nrest_url = 'nonsense'\n", "`venue.rest_url` is 'nonsense'"),
        ("[venue]\nsymbols = []\n", "0 symbols"),
        ("[venue]\nsymbols = ['btcusdt']\n", "'btcusdt' is not a symbol"),
        ("[venue]\nsymbols = ['BTCUSDT', 'BTCUSDT']\n", "named twice"),
        ("[strategy]\nnames = ['market-makr']\n", "did you mean `market-maker`?"),
        ("[strategy]\nnames = []\n", "`strategy.names` is empty"),
        (
            "[strategy]\nnames = ['ema-cross']\n[ema_cross]\nfast_bars_count = 20\n",
            "section [ema_cross]: strategy `ema-cross`",
        ),
        ("[replay]\nspeed = 'fast'\n", "'fast' is not a speed"),
        ("[replay]\nspeed = '0'\n", "0 is outside 0.01 to 100000"),
        ("[run]\naccount = 'a b'\n", "`a b` is not a name"),
    ] {
        let message = with(text).unwrap_err().to_string();
        assert!(message.contains(wanted), "{text:?}\n  gave {message}\n  not  {wanted}");
    }
}

#[test]
fn addresses_come_from_the_name_the_url_or_one_by_one() {
    let Venue::Remote(own) = with("[venue]\nurl = 'http://127.0.0.1:9080/'\n").unwrap().venue else { panic!() };
    assert_eq!((own.rest_url.as_str(), own.stream_url.as_str()), ("http://127.0.0.1:9080", "ws://127.0.0.1:9080"));
    assert_eq!((own.ws_api_url.as_str(), own.is_simulated), ("ws://127.0.0.1:9080/ws-api/v3", true));
    let Venue::Remote(real) = with("[venue]\nname = 'binance'\nrest_url = 'https://api1.binance.com'\n").unwrap().venue
    else {
        panic!()
    };
    assert_eq!((real.rest_url.as_str(), real.is_simulated), ("https://api1.binance.com", false));
    let test = with("[run]\nmode = 'live'\n[venue]\nname = 'binance-testnet'\n").unwrap();
    let Venue::Remote(test) = test.venue else { panic!() };
    assert!(test.rest_url.contains("testnet"));
}

#[test]
fn only_this_machine_is_loopback() {
    for url in ["http://127.0.0.1:1", "http://localhost", "http://[::1]:80/x", "http://127.9.9.9"] {
        assert!(is_loopback(url), "{url}");
    }
    for url in
        ["http://128.0.0.1", "http://localhost.example.com", "http://[::2]:80", "http://127.0.0.1.example.com", "x"]
    {
        assert!(!is_loopback(url), "{url}");
    }
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = read_file(&dir.path().join("none.toml")).unwrap_err().to_string();
    assert!(missing.contains("none.toml") && missing.contains("new-config"), "{missing}");
    let path = dir.path().join("bad.toml");
    std::fs::write(&path, b"[run]\nseed = 1\n# caf\xe9\n").unwrap();
    let bad = read_file(&path).unwrap_err().to_string();
    assert!(bad.contains("bad.toml, line 3: byte 20 is not UTF-8"), "{bad}");
    std::fs::write(&path, vec![b'#'; (FILE_BYTES_MAX + 1) as usize]).unwrap();
    assert!(read_file(&path).unwrap_err().to_string().contains("larger than 1 MiB"));
}
