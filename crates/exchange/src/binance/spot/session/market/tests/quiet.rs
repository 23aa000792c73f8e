//! Quiet streams of a book, compared with the book over REST.

use super::*;

#[test]
fn n_07_a_quiet_book_is_compared_over_rest_and_only_a_difference_makes_it_stale() {
    let mut script = Script::live(config());
    // A slow market: a frame each three seconds, so that its pace alone would wait for a minute.
    let mut update = 101;
    for n in 0..100u64 {
        script.now_ms += 3_000;
        script.delta(LinkId(1), update, update);
        script.top(LinkId(1), update);
        script.trade(LinkId(1), update);
        update += 1;
        let asked = script.tick();
        assert!(!asked.contains(&Action::FetchSnapshot(BTC)), "round {n}: {asked:?}");
    }
    script.sink.states();
    let quiet_from = script.now_ms;
    let mut asked_after = Vec::new();
    while script.now_ms < quiet_from + 12_000 {
        script.now_ms += 100;
        if script.now_ms.is_multiple_of(1_000) {
            let now = script.now();
            script.session.heard(LinkId(1), now);
        }
        if script.tick().contains(&Action::FetchSnapshot(BTC)) {
            asked_after.push((script.now_ms - quiet_from) / 1_000);
            // The venue's book is no further: the market is quiet.
            script.snapshot(update - 1);
        }
    }
    assert_eq!(asked_after, [5]);
    assert_eq!(script.sink.states(), [], "a quiet market is not stale");
    // Now it moves, and the stream does not say so.
    let mut stale_at = None;
    while script.now_ms < quiet_from + 100_000 && stale_at.is_none() {
        script.now_ms += 100;
        if script.now_ms.is_multiple_of(1_000) {
            let now = script.now();
            script.session.heard(LinkId(1), now);
        }
        let actions = script.tick();
        if actions.contains(&Action::FetchSnapshot(BTC)) {
            script.snapshot(update + 7);
        }
        let is_anew = |action: &Action| matches!(action, Action::Send(_, text) if text.contains("UNSUBSCRIBE"));
        if actions.iter().any(is_anew) {
            stale_at = Some(script.now_ms);
        }
    }
    assert_eq!(script.session.state(BTC), Some(FeedState::Stale));
    let stale_after = stale_at.unwrap() - quiet_from;
    assert!((16_000..19_000).contains(&stale_after), "{stale_after}: long before its pace would say so");
    // A frame that was only late makes it live again.
    script.delta(LinkId(1), update, update + 7);
    script.tick();
    assert_eq!(script.sink.states(), [FeedState::Stale, FeedState::Live]);
}
