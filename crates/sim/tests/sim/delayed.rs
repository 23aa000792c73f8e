//! Latency: requests and reports take their time, in order, the same for the same seed.

use crate::world::*;
use keel_model::{Side, Timestamp};
use keel_sim::{
    DelayedVenue, Delivery, FeeModel, LatencyModel, MatchingEngine, OrderRef, Payload, SimAnswer, SimConfig, SimRequest,
};
use std::time::Duration;

fn venue(seed: u64, latency: LatencyModel) -> (DelayedVenue, World) {
    let config = SimConfig { seed, latency, fees: FeeModel::FREE, ..SimConfig::default() };
    let mut w = World::with(config);
    let engine = std::mem::replace(&mut w.engine, MatchingEngine::new(config));
    (DelayedVenue::new(engine), w)
}

const CONSTANT: LatencyModel = LatencyModel {
    order_in: Duration::from_millis(5),
    order_in_jitter: Duration::ZERO,
    report_out: Duration::from_millis(3),
    report_out_jitter: Duration::ZERO,
};

#[test]
fn a_request_acts_when_it_arrives_and_its_answer_comes_back_later() {
    let (mut venue, w) = venue(1, CONSTANT);
    let sent = venue.send(at(0), w.alice, 7, SimRequest::Submit(limit(Side::Buy, "0.1", "60000"))).unwrap();
    assert_eq!((sent, venue.next_at()), (at(5), Some(at(5))));
    let mut out = Vec::new();
    venue.advance(at(4));
    assert_eq!(venue.engine().open_orders(w.alice, ID).count(), 0);
    venue.advance(at(100));
    let order = venue.engine().open_orders(w.alice, ID).next().unwrap();
    assert_eq!(order.ts_created, at(5));
    venue.poll(at(7), &mut out);
    assert!(out.is_empty());
    assert_eq!(venue.next_at(), Some(at(8)));
    venue.poll(at(8), &mut out);
    assert_eq!(out.len(), 3, "report, balances, answer");
    assert!(
        matches!(&out[2].payload, Payload::Answer(7, SimAnswer::Submit(Ok((view, _)))) if view.order_id == order.order_id)
    );
    assert_eq!(venue.next_at(), None);
}

fn jittered(seed: u64) -> Vec<Delivery> {
    let jitter = Duration::from_millis(20);
    let latency = LatencyModel { order_in_jitter: jitter, report_out_jitter: jitter, ..CONSTANT };
    let (mut venue, w) = venue(seed, latency);
    let mut out = Vec::new();
    let mut arrivals = Vec::new();
    for i in 0..9 {
        let request = SimRequest::Submit(limit(Side::Buy, "0.1", "60000").with_client_id(client(&format!("c{i}"))));
        arrivals.push(venue.send(at(i * 10), w.alice, i, request).unwrap());
    }
    let query = SimRequest::Query(ID, OrderRef::Client(client("c0")));
    venue.send(at(90), w.alice, 9, query).unwrap();
    assert!(arrivals.is_sorted(), "requests of one connection do not overtake each other");
    venue.advance(at(1_000));
    venue.poll(at(1_000), &mut out);
    assert!(out.is_sorted_by_key(|delivery| delivery.at));
    let spread = out.iter().map(|delivery| delivery.at).collect::<std::collections::BTreeSet<Timestamp>>();
    assert!(spread.len() > 3);
    out
}

#[test]
fn jitter_keeps_the_order_and_repeats_for_a_seed() {
    assert_eq!(jittered(1), jittered(1));
    assert_ne!(jittered(1), jittered(2));
    let answers = jittered(3);
    assert!(
        matches!(&answers.last().unwrap().payload, Payload::Answer(9, SimAnswer::Query(Ok(view))) if view.client_order_id == client("c0"))
    );
}
