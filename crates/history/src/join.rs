//! Pieces of one series put into one: in the order of their times, on the finest of their scales, cut to the span.

use crate::HistoryError;
use keel_catalogue::Dataset;
use keel_catalogue::Span;

/// The columns of any kind, by what becomes of them.
struct View<'a> {
    price_scale: &'a mut u8,
    quantity_scale: Option<&'a mut u8>,
    prices: Vec<&'a mut Vec<i64>>,
    quantities: Vec<&'a mut Vec<i64>>,
    times: &'a mut Vec<u64>,
    ids: Option<&'a mut Vec<u64>>,
    sells: Option<&'a mut Vec<bool>>,
}

/// `None` for a recording, which has no columns.
fn view(data: &mut Dataset) -> Option<View<'_>> {
    Some(match data {
        Dataset::Bars(it) => View {
            price_scale: &mut it.price_scale,
            quantity_scale: Some(&mut it.quantity_scale),
            prices: vec![&mut it.open, &mut it.high, &mut it.low, &mut it.close],
            quantities: vec![&mut it.volume],
            times: &mut it.ts_open_ns,
            ids: None,
            sells: None,
        },
        Dataset::Quotes(it) => View {
            price_scale: &mut it.price_scale,
            quantity_scale: Some(&mut it.quantity_scale),
            prices: vec![&mut it.bid, &mut it.ask],
            quantities: vec![&mut it.bid_quantity, &mut it.ask_quantity],
            times: &mut it.ts_ns,
            ids: None,
            sells: None,
        },
        Dataset::Trades(it) => View {
            price_scale: &mut it.price_scale,
            quantity_scale: Some(&mut it.quantity_scale),
            prices: vec![&mut it.price],
            quantities: vec![&mut it.quantity],
            times: &mut it.ts_ns,
            ids: Some(&mut it.trade_id),
            sells: Some(&mut it.is_sell),
        },
        Dataset::Funding(it) => View {
            price_scale: &mut it.rate_scale,
            quantity_scale: None,
            prices: vec![&mut it.rate],
            quantities: Vec::new(),
            times: &mut it.ts_ns,
            ids: None,
            sells: None,
        },
        Dataset::Recording(_) => return None,
    })
}

/// Joins pieces of one kind that do not overlap. `None` without a row in the span.
pub(crate) fn join(mut pieces: Vec<Dataset>, span: Span) -> Result<Option<Dataset>, HistoryError> {
    pieces.retain(|piece| !piece.is_empty());
    pieces.sort_by_key(|piece| piece.times().first().copied());
    let mut views: Vec<View<'_>> = pieces.iter_mut().filter_map(view).collect();
    let price = views.iter().map(|it| *it.price_scale).max().unwrap_or(0);
    let quantity = views.iter().filter_map(|it| it.quantity_scale.as_deref().copied()).max().unwrap_or(0);
    for it in &mut views {
        it.rescale(price, quantity)?;
        it.cut(span);
    }
    drop(views);
    let mut pieces = pieces.into_iter();
    let Some(mut whole) = pieces.next() else { return Ok(None) };
    for mut piece in pieces {
        if let (Some(whole), Some(piece)) = (view(&mut whole), view(&mut piece)) {
            whole.append(piece);
        }
    }
    Ok(Some(whole).filter(|data| !data.is_empty()))
}

impl View<'_> {
    fn rescale(&mut self, price: u8, quantity: u8) -> Result<(), HistoryError> {
        widen(&mut self.prices, self.price_scale, price)?;
        match &mut self.quantity_scale {
            Some(scale) => widen(&mut self.quantities, scale, quantity),
            None => Ok(()),
        }
    }

    fn cut(&mut self, span: Span) {
        let from = self.times.partition_point(|ts| *ts < span.from_ns);
        let to = self.times.partition_point(|ts| *ts < span.to_ns).max(from);
        for column in self.prices.iter_mut().chain(&mut self.quantities) {
            column.truncate(to);
            column.drain(..from.min(column.len()));
        }
        let times = std::iter::once(&mut *self.times).chain(self.ids.as_deref_mut());
        for column in times {
            column.truncate(to);
            column.drain(..from.min(column.len()));
        }
        if let Some(sells) = self.sells.as_deref_mut() {
            sells.truncate(to);
            sells.drain(..from.min(sells.len()));
        }
    }

    fn append(self, other: View<'_>) {
        let own = self.prices.into_iter().chain(self.quantities);
        for (own, other) in own.zip(other.prices.into_iter().chain(other.quantities)) {
            own.append(other);
        }
        self.times.append(other.times);
        if let (Some(own), Some(other)) = (self.ids, other.ids) {
            own.append(other);
        }
        if let (Some(own), Some(other)) = (self.sells, other.sells) {
            own.append(other);
        }
    }
}

fn widen(columns: &mut [&mut Vec<i64>], scale: &mut u8, to: u8) -> Result<(), HistoryError> {
    let too_big = || HistoryError::Archive {
        file: "the pieces together".to_owned(),
        cause: "a number has more digits than 64 bits hold at the scale that the others need".to_owned(),
    };
    if *scale < to {
        let factor = 10i64.checked_pow(u32::from(to - *scale)).ok_or_else(too_big)?;
        for value in columns.iter_mut().flat_map(|column| column.iter_mut()) {
            *value = value.checked_mul(factor).ok_or_else(too_big)?;
        }
        *scale = to;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use keel_marketdata::FundingColumns;

    fn funding(rate_scale: u8, rows: &[(u64, i64)]) -> Dataset {
        let (ts_ns, rate) = rows.iter().copied().unzip();
        Dataset::Funding(FundingColumns { rate_scale, ts_ns, rate })
    }

    #[test]
    fn pieces_come_in_order_on_one_scale_and_cut_to_the_span() {
        let pieces = vec![funding(2, &[(30, 7), (40, 8)]), funding(0, &[(10, 1), (20, 2)]), funding(5, &[])];
        let whole = join(pieces, Span::new(15, 40)).unwrap();
        assert_eq!(whole, Some(funding(2, &[(20, 200), (30, 7)])));
        assert_eq!(join(vec![funding(0, &[(10, 1)])], Span::new(11, 20)).unwrap(), None);
        assert_eq!(join(Vec::new(), Span::new(0, 1)).unwrap(), None);
        let error = join(vec![funding(0, &[(1, i64::MAX)]), funding(1, &[(2, 1)])], Span::new(0, 9)).unwrap_err();
        assert!(error.to_string().contains("64 bits"), "{error}");
    }
}
