//! Verbs of the control socket in words, and what they carry as values.

use keel_control::Ask;
use keel_model::{ClientOrderId, Price, Quantity, Settlement, WindView};

/// What is asked for, for logs and answers.
pub(super) fn of(ask: &Ask) -> String {
    match ask {
        Ask::Status {} => "status".to_owned(),
        Ask::Resources {} => "resources".to_owned(),
        Ask::Pause {} => "pause: nothing new that adds exposure".to_owned(),
        Ask::Resume {} => "resume: trade again".to_owned(),
        Ask::ReduceOnly {} => "reduce-only: nothing that adds exposure, new or open".to_owned(),
        Ask::Cancel { order } => format!("cancel order {order}"),
        Ask::CancelAll {} => "cancel every order of ours".to_owned(),
        Ask::Flatten { instrument: None } => "flatten: cancel every order of ours and close every position".to_owned(),
        Ask::Flatten { instrument: Some(symbol) } => format!("flatten {symbol}: cancel its orders, close its position"),
        Ask::EmergencyStop { reason } => format!("emergency stop: {reason}"),
        Ask::Rearm { reason } => format!("rearm: {reason}"),
        Ask::Release { instrument } => format!("release {instrument}"),
        Ask::Settle { order, filled, .. } => format!("settle order {order}: filled {filled} in all"),
        Ask::Stop { force: false } => "stop in order".to_owned(),
        Ask::Stop { force: true } => "stop in order, and hurry".to_owned(),
    }
}

/// What is left of an exit policy, a flatten or an emergency stop.
pub(in crate::run) fn winding(wind: &WindView) -> Vec<String> {
    let of = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
    [
        of(wind.orders_left, "orders that have to go are not confirmed to be gone"),
        of(wind.unresolved, "orders of unknown outcome or with fills missing"),
        of(wind.in_flight, "placements without an answer"),
        of(wind.positions_left, "positions are not closed yet"),
        of(
            wind.positions_given_up,
            "positions could not be closed in as many tries as are allowed; close them by hand",
        ),
        of(wind.orders_missing, "orders that the venue had accepted and does not know any more"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What became of an order, from an operator's words.
pub(crate) fn settlement(
    order: &str,
    filled: &str,
    price: Option<&str>,
) -> Result<(ClientOrderId, Settlement), String> {
    let id = order.parse().map_err(|error| format!("{error}"))?;
    if filled == "never-accepted" {
        return Ok((id, Settlement::NeverAccepted));
    }
    let filled: Quantity =
        filled.parse().map_err(|error| format!("the quantity filled, '{filled}', is no number: {error}"))?;
    let price: Option<Price> = price
        .map(|text| text.parse().map_err(|error| format!("the price '{text}' is no number: {error}")))
        .transpose()?;
    Ok((id, Settlement::Ended { filled, price }))
}
