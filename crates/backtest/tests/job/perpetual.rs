//! Perpetuals: margin, funding, the end of an account; and spot beside them.

use crate::desk::*;
use keel_backtest::{Rows, Series, run};
use keel_marketdata::columns::FundingColumns;
use keel_model::{InstrumentKind, Notional, Side};

const FLAT: (i64, i64, i64, i64, i64) = (10_000, 10_000, 10_000, 10_000, 1_000_000_000);

#[test]
fn the_venue_refuses_what_the_margin_does_not_cover_but_never_what_reduces() {
    let mut job = config(InstrumentKind::LinearPerpetual);
    job.replay.balances = vec![(asset("USDT"), Notional::from_int(1_000))];
    job.replay.sim.leverage_max = 2;
    let acts = [
        Act::market(1, Side::Buy, "20.001"),
        Act::market(2, Side::Buy, "19.000"),
        Act::market(3, Side::Buy, "2.000"),
        Act::market(4, Side::Sell, "19.000"),
    ];
    let (script, ears) = Script::following(&acts, &[]);
    let result = on_bars(job, &bars(&[FLAT; 5]), script);
    let refused: Vec<usize> =
        heard(&ears).iter().filter(|(_, what)| what.contains("rejected")).map(|it| it.0).collect();
    assert_eq!(refused, [1, 3], "{:?}", heard(&ears));
    assert_eq!((result.fills, result.final_position.unwrap().to_string().as_str()), (2, "0.000"));
    assert_eq!(result.final_balance, money("998.1"), "only fees: 2 · 1900 · 0.0005");
}

#[test]
fn an_account_that_is_used_up_is_closed_by_the_venue_and_the_run_ends() {
    let mut job = config(InstrumentKind::LinearPerpetual);
    job.replay.balances = vec![(asset("USDT"), Notional::from_int(1_000))];
    job.replay.sim.leverage_max = 50;
    let crash = (10_000, 10_000, 9_000, 9_000, 1_000_000_000);
    let acts = [Act::market(1, Side::Buy, "400.000"), Act::market(3, Side::Buy, "1.000")];
    let (script, ears) = Script::following(&acts, &[]);
    let result = on_bars(job, &bars(&[FLAT, FLAT, crash, FLAT, FLAT]), script);
    assert_eq!(result.liquidated_ns, Some(START_NS + 180_000_000_000));
    assert_eq!((result.rows, result.final_balance.to_string().as_str()), (3, "0.00000000"));
    assert_eq!(result.final_position.unwrap().to_string(), "0.000");
    assert_eq!(heard(&ears).len(), 2, "the fill, and that the account takes no more: {:?}", heard(&ears));
    let returns = result.daily.returns(1_000.0);
    assert_eq!(returns, [-1.0], "a total loss is −100 %, once");
}

#[test]
fn the_venues_closing_is_a_fill_that_ends_the_trade_and_costs_what_the_account_had() {
    for (side, price) in [(Side::Buy, 5_000), (Side::Sell, 20_000)] {
        let mut job = config(InstrumentKind::LinearPerpetual);
        job.replay.balances = vec![(asset("USDT"), Notional::from_int(1_000))];
        job.replay.exit_policy = keel_model::ExitPolicy::Flatten;
        let jump = (price, price, price, price, 1_000_000_000);
        let (script, _) = Script::following(&[Act::market(1, side, "200.000")], &[]);
        let result = on_bars(job, &bars(&[FLAT, FLAT, jump, FLAT]), script);
        assert_eq!(
            (result.orders, result.fills, result.rows),
            (1, 2, 3),
            "twenty times the money, and no order after it"
        );
        assert_eq!((result.final_balance, result.final_equity.unwrap()), (money("0"), money("0")));
        let [trade] = result.trades.as_slice() else { panic!("{:?}", result.trades) };
        assert_eq!(
            (trade.exit_reason, trade.exit_ns),
            (keel_backtest::exit_reason::LIQUIDATION, START_NS + 180_000_000_000)
        );
        assert_eq!((trade.is_long, trade.quantity, trade.fees), (side == Side::Buy, 200.0, 10.0));
        assert!((trade.pnl + 1_000.0).abs() < 1e-9, "{}", trade.pnl);
        let [(_, opened), (id, closed)] = result.log.fills.as_slice() else { panic!("{:?}", result.log.fills) };
        assert_eq!((opened.side, closed.side, closed.quantity.to_string()), (side, side.opposite(), "200.000".into()));
        // 990 are left after the fee: 4.95 for each of 200.
        let taken_over = if side == Side::Buy { "95.05" } else { "104.95" };
        assert_eq!((closed.price.to_string().as_str(), *id), (taken_over, keel_model::ClientOrderId::default()));
        assert!((result.volume - 200.0 * (100.0 + closed.price.to_f64())).abs() < 1e-6, "{}", result.volume);
        let [position] = result.positions.as_slice() else { panic!("{:?}", result.positions) };
        assert_eq!((position.entry_ns, position.entry_price, position.unrealized), (None, None, Some(money("0"))));
    }
}

#[test]
fn a_closing_that_the_account_can_pay_is_at_the_mark_and_what_it_leaves_stays() {
    let mut job = config(InstrumentKind::LinearPerpetual);
    job.replay.balances = vec![(asset("USDT"), Notional::from_int(1_000))];
    job.replay.sim.maintenance_margin_bps = 500;
    let (script, _) = Script::following(&[Act::market(1, Side::Buy, "100.000")], &[]);
    let result = on_bars(job, &bars(&[FLAT, FLAT, (9_500, 9_500, 9_400, 9_400, 1_000_000_000)]), script);
    // 1000 − 5 − 600 at 94 is less than five per cent of 9400; 1000 − 5 − 500 at 95 was enough.
    let (_, closed) = result.log.fills.last().unwrap();
    assert_eq!((closed.price.to_string().as_str(), result.final_balance), ("94", money("395")));
    let [trade] = result.trades.as_slice() else { panic!("{:?}", result.trades) };
    assert!((trade.pnl + 605.0).abs() < 1e-9, "{trade:?}");
}

#[test]
fn what_is_open_at_the_end_tells_its_entry_and_counts_in_the_volume() {
    let rise = (11_000, 11_000, 11_000, 11_000, 1_000_000_000);
    let acts = [
        Act::market(1, Side::Buy, "10.000"),
        Act::market(2, Side::Buy, "30.000"),
        Act { purpose: keel_model::OrderPurpose::Exit, ..Act::market(3, Side::Sell, "20.000") },
    ];
    let (script, _) = Script::following(&acts, &[]);
    let result = on_bars(config(InstrumentKind::LinearPerpetual), &bars(&[FLAT, rise, rise, rise]), script);
    assert_eq!((result.fills, result.trades.len()), (3, 0), "part of it was sold, nothing has ended");
    let [position] = result.positions.as_slice() else { panic!("{:?}", result.positions) };
    assert_eq!(
        (position.entry_ns, position.quantity.to_string().as_str()),
        (Some(START_NS + 60_000_000_000), "20.000")
    );
    assert_eq!(position.entry_price.unwrap().to_string(), "107.5");
    assert_eq!(position.unrealized, Some(money("50")));
    assert!((result.volume - (1_000.0 + 3_300.0 + 2_200.0)).abs() < 1e-9, "{}", result.volume);
}

#[test]
fn funding_is_paid_by_longs_when_the_rate_is_positive_and_before_the_bar_of_the_same_time() {
    let columns = bars(&[FLAT; 4]);
    let funding = FundingColumns {
        rate_scale: 4,
        ts_ns: vec![START_NS + 60_000_000_000, START_NS + 120_000_000_000, START_NS + 180_000_000_000],
        // 0.0100, 0.0010, −0.0020.
        rate: vec![100, 10, -20],
    };
    let series = [
        Series { instrument: ID, rows: Rows::Bars(&columns) },
        Series { instrument: ID, rows: Rows::Funding(&funding) },
    ];
    let mut job = config(InstrumentKind::LinearPerpetual);
    job.replay.sim.fees = keel_sim::FeeModel::FREE;
    let (script, _) = Script::following(&[Act::market(1, Side::Buy, "10.000")], &[]);
    let result = run(job, &series, script, &|| 0.0).unwrap();
    // Bought on the first close, after the funding of that moment; then −1000 · 0.001 + 1000 · 0.002.
    assert_eq!((result.funding, result.final_balance), (money("1"), money("1000001")));
    assert_eq!(result.rows, 7);
}

#[test]
fn spot_stays_spot_what_is_not_there_is_not_sold() {
    let mut job = config(InstrumentKind::Spot);
    job.replay.balances = vec![(asset("USDT"), Notional::from_int(1_000)), (asset("BTC"), Notional::ZERO)];
    let acts = [
        Act::market(1, Side::Sell, "1.000"),
        Act::market(2, Side::Buy, "5.000"),
        Act { purpose: keel_model::OrderPurpose::Exit, ..Act::market(3, Side::Sell, "4.000") },
    ];
    let (script, ears) = Script::following(&acts, &[]);
    let result = on_bars(job, &bars(&[FLAT; 4]), script);
    assert_eq!((result.orders, result.orders_denied, result.fills), (2, 1, 2), "{:?}", heard(&ears));
    // Fees in what is received: 0.0025 BTC, 0.2 USDT.
    assert_eq!(result.final_balance, money("899.8"));
    assert_eq!(result.final_equity.unwrap(), money("999.55"), "0.9975 BTC at 100 beside it");
    assert_eq!(result.start_balance, money("1000"));
}

fn reduce_only(side: Side, quantity: &str) -> keel_sim::OrderRequest {
    let order = keel_sim::OrderRequest::market(ID, side, quantity.parse().unwrap());
    keel_sim::OrderRequest { reduce_only: true, ..order }
}

#[test]
fn a_reduce_only_order_never_opens_or_adds() {
    use keel_model::{OrderType, Price, Timestamp};
    use keel_sim::{ExpiryReason, MarketKind, MatchingEngine, OrderRequest, OrderState, Reject, SimConfig};
    let mut venue = MatchingEngine::new(SimConfig { bar_fill: keel_sim::BarFill::Close, ..SimConfig::default() });
    venue.add_market(instrument("BTCUSDT", InstrumentKind::LinearPerpetual), MarketKind::Touch).unwrap();
    let account = venue.add_account(&[(asset("USDT"), Notional::from_int(1_000_000))]).unwrap();
    let columns = bars(&[FLAT, (10_000, 10_200, 10_000, 10_200, 1_000_000), FLAT]);
    let bar = |at: usize| keel_model::MarketEvent::Bar(columns.bar(at, ID).unwrap());
    venue.on_market(&bar(0)).unwrap();
    let now = Timestamp::from_ns(START_NS + 60_000_000_000);
    let (sell, buy) = (reduce_only(Side::Sell, "2"), reduce_only(Side::Buy, "2"));
    let plain = OrderRequest::market(ID, Side::Buy, "1".parse().unwrap());
    let held = |venue: &MatchingEngine| venue.linear_position(account, ID).to_string();

    assert_eq!(venue.submit(now, account, &sell).unwrap_err(), Reject::ReduceOnly, "there is nothing to reduce");
    assert_eq!(Reject::ReduceOnly.binance().0, -2022);
    venue.submit(now, account, &plain).unwrap();
    assert_eq!(venue.submit(now, account, &buy).unwrap_err(), Reject::ReduceOnly, "it would add");
    let cut = venue.submit(now, account, &sell).unwrap();
    assert_eq!((cut.state, cut.cum_quantity.to_string().as_str()), (OrderState::Expired, "1.000"));
    assert_eq!((cut.expiry_reason, held(&venue).as_str()), (ExpiryReason::NothingToReduce, "0.000"));

    // Two targets and a stop over one position: together they close it once.
    venue.submit(now, account, &plain).unwrap();
    let price: Price = "101.00".parse().unwrap();
    let target = OrderRequest { reduce_only: true, ..OrderRequest::limit(ID, Side::Sell, "1".parse().unwrap(), price) };
    let stop = OrderRequest {
        order_type: OrderType::StopLoss,
        stop_price: Some("99.00".parse().unwrap()),
        reduce_only: true,
        ..OrderRequest::market(ID, Side::Sell, "1".parse().unwrap())
    };
    let ids = [target, target, stop].map(|order| venue.submit(now, account, &order).unwrap().order_id);
    venue.on_market(&bar(1)).unwrap();
    assert_eq!(held(&venue), "0.000");
    let state = |venue: &MatchingEngine, id| venue.order(account, ID, keel_sim::OrderRef::Id(id)).unwrap().state;
    assert_eq!(ids.map(|id| state(&venue, id)), [OrderState::Filled, OrderState::Expired, OrderState::New]);
    let fall = columns_of(&[(10_000, 10_000, 9_000, 9_000, 1_000_000)], 3);
    venue.on_market(&keel_model::MarketEvent::Bar(fall.bar(0, ID).unwrap())).unwrap();
    assert_eq!(
        (state(&venue, ids[2]), held(&venue).as_str()),
        (OrderState::Expired, "0.000"),
        "looked at when triggered"
    );
}

/// Bars that begin so many minutes later.
fn columns_of(rows: &[(i64, i64, i64, i64, i64)], minutes: u64) -> keel_marketdata::columns::BarColumns {
    let mut columns = bars(rows);
    columns.ts_open_ns.iter_mut().for_each(|time| *time += minutes * 60_000_000_000);
    columns
}
