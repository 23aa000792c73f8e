//! A tick allocates nothing, from the frame's bytes to the engine's decision; an order next to nothing (figures: hot_path).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test binary")]

#[path = "../benches/hot_path/counting.rs"]
mod counting;
#[allow(dead_code, reason = "shared with the bench, which uses all of it")]
#[path = "../benches/hot_path/setup.rs"]
mod setup;

use counting::allocations;
use keel_engine::Outbox;
use keel_exchange::binance::spot::codec::decode::Decoded;
use keel_exchange::binance::spot::codec::encode::encode_signed_submit_into;
use keel_exchange::binance::spot::sign::{Credentials, Signer};
use keel_model::Timestamp;
use setup::{EveryKth, QuickVenue, SYMBOL, decoder, engine, generated};

#[test]
fn a_tick_allocates_nothing_and_an_order_next_to_nothing() {
    let frames = generated();
    let (warm_up, measured) = frames.split_at(frames.len() / 2);
    let signer = Signer::new(&Credentials::hmac("k".repeat(64), "s".repeat(64))).unwrap();
    let mut decoder = decoder();
    let mut engine = engine(vec![Box::new(EveryKth::new(10))], Timestamp::from_ns(frames[0].recv_ns));
    let (mut out, mut venue, mut body) = (Outbox::new(), QuickVenue::default(), Vec::with_capacity(512));
    let (mut ticks, mut on_ticks, mut orders, mut on_orders) = (0u64, 0, 0u64, 0);
    for (frames, counts) in [(warm_up, false), (measured, true)] {
        for frame in frames {
            let now = Timestamp::from_ns(frame.recv_ns);
            let before = allocations();
            let Ok(Decoded::Market(event)) = decoder.decode(&frame.bytes, now) else { panic!("not decoded") };
            engine.process_market(event, &mut out);
            let is_order = !out.is_empty();
            for effect in out.effects() {
                let keel_engine::Effect::Submit(approved) = effect else { panic!("{effect:?}") };
                encode_signed_submit_into(&mut body, &signer, SYMBOL, approved.get(), 5_000, now.as_ms()).unwrap();
            }
            let allocated = allocations() - before;
            if counts && is_order {
                (orders, on_orders) = (orders + 1, on_orders + allocated);
            } else if counts {
                (ticks, on_ticks) = (ticks + 1, on_ticks + allocated);
            }
            venue.answer(&mut engine, &mut out, now);
        }
    }
    assert!(orders >= 1_900 && ticks >= 15_000, "{orders} orders, {ticks} ticks");
    assert_eq!(on_ticks, 0, "allocations in {ticks} ticks without an order");
    // Tables of orders double now and then.
    assert!(on_orders <= orders / 100, "{on_orders} allocations up to the signed bytes of {orders} orders");
}
