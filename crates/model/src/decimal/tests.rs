//! Exactness, round trips and overflow of the money types.
use super::*;
use proptest::prelude::*;

fn price(text: &str) -> Price {
    text.parse().unwrap()
}
fn quantity(text: &str) -> Quantity {
    text.parse().unwrap()
}
fn notional(text: &str) -> Notional {
    text.parse().unwrap()
}

#[test]
fn shib_and_bitcoin_sized_numbers_are_exact() {
    assert_eq!(Notional::of(price("0.00001234"), quantity("46116860414.00")), notional("569082.05750876"));
    assert_eq!(Notional::of(price("61837.63000000"), quantity("0.00001000")), notional("0.6183763"));
    assert_eq!(
        Notional::of(price("0.000000000000000001"), quantity("0.000000000000000001")).to_string(),
        format!("0.{}1", "0".repeat(35))
    );
}

#[test]
fn text_is_kept_digit_by_digit() {
    for text in
        ["0", "1", "-1", "0.1", "1.50", "61837.63000000", "46116860414.00000000", "-0.00000001", "9223372036854775807"]
    {
        assert_eq!(price(text).to_string(), text);
        let mut buffer = [0u8; 24];
        let length = price(text).write_to(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], text.as_bytes());
        assert_eq!(notional(text).to_string(), text);
    }
}

#[test]
fn padding_that_would_overflow_is_given_up_not_refused() {
    assert_eq!(quantity("90000000000.00000000"), quantity("90000000000"));
    assert_eq!(quantity("922337203685477580.70000000000000").to_string(), "922337203685477580.7");
}

#[test]
fn what_is_not_a_number_is_refused_with_its_place() {
    assert_eq!("".parse::<Price>(), Err(NumberError::Empty));
    assert_eq!("-".parse::<Price>(), Err(NumberError::Empty));
    for (text, at) in [("1e5", 1), ("NaN", 0), ("1.2.3", 3), (" 1", 0), ("+1", 0), (".5", 0), ("1,5", 1), ("0x1", 1)] {
        assert!(matches!(text.parse::<Price>(), Err(NumberError::BadByte { at: found, .. }) if found == at), "{text}");
    }
    assert_eq!("9223372036854775808".parse::<Price>(), Err(NumberError::Overflow));
    assert_eq!("0.1234567890123456789".parse::<Price>(), Err(NumberError::TooPrecise { max: SCALE_MAX }));
}

#[test]
fn overflow_is_an_error_never_a_wrap() {
    let most = Price::from_int(i64::MAX);
    assert_eq!(most.checked_add(Price::from_int(1)), Err(NumberError::Overflow));
    assert_eq!(Price::from_int(i64::MIN).checked_sub(Price::from_int(1)), Err(NumberError::Overflow));
    assert_eq!(Price::from_int(i64::MIN).abs(), Err(NumberError::Overflow));
    assert_eq!(Notional::new(i128::MAX, 0).unwrap().checked_add(Notional::from_int(1)), Err(NumberError::Overflow));
    assert_eq!(Price::from_f64(f64::NAN, 2, Rounding::Down), Err(NumberError::Overflow));
    assert_eq!(Price::from_f64(1e300, 2, Rounding::Down), Err(NumberError::Overflow));
}

#[test]
fn steps_round_in_the_direction_asked_for() {
    let tick = price("0.01");
    assert_eq!(price("1.234").round_to_step(tick, Rounding::Down).unwrap().to_string(), "1.23");
    assert_eq!(price("1.234").round_to_step(tick, Rounding::Up).unwrap().to_string(), "1.24");
    assert_eq!(price("-1.234").round_to_step(tick, Rounding::Down).unwrap().to_string(), "-1.24");
    assert_eq!(price("1.235").round_to_step(tick, Rounding::HalfUp).unwrap().to_string(), "1.24");
    assert_eq!(price("-1.239").round_to_step(tick, Rounding::ToZero).unwrap().to_string(), "-1.23");
    assert_eq!(price("60001").round_to_step(price("25"), Rounding::HalfUp).unwrap().to_string(), "60000");
    assert!(price("1.25").is_multiple_of(price("0.05")) && !price("1.26").is_multiple_of(price("0.05")));
    assert!(price("1").round_to_step(Price::ZERO, Rounding::Down).is_err());
}

#[test]
fn ratios_are_rounded_once() {
    let cost = notional("100");
    assert_eq!(cost.mul_div(quantity("1"), quantity("3"), 8).unwrap().to_string(), "33.33333333");
    assert_eq!(cost.mul_div(quantity("2"), quantity("3"), 8).unwrap().to_string(), "66.66666667");
    assert_eq!(notional("-100").mul_div(quantity("2"), quantity("3"), 0).unwrap().to_string(), "-67");
    assert_eq!(notional("123.45").price_per(quantity("0.5"), 2).unwrap(), price("246.90"));
    let huge = Notional::new(i128::MAX / 2, 16).unwrap();
    assert_eq!(huge.mul_div(quantity("0.00000003"), quantity("0.00000003"), 16).unwrap(), huge);
}

proptest! {
    #[test]
    fn parse_print_round_trip(mantissa: i64, scale in 0u8..=SCALE_MAX) {
        let value = Price::new(mantissa, scale).unwrap();
        let text = value.to_string();
        let again: Price = text.parse().unwrap();
        prop_assert_eq!(again, value);
        prop_assert_eq!(again.to_string(), text.clone());
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(json, format!("\"{text}\""));
    }

    #[test]
    fn addition_agrees_with_wide_integers(a in -1_000_000_000_000i64..1_000_000_000_000, b in -1_000_000_000_000i64..1_000_000_000_000, sa in 0u8..6, sb in 0u8..6) {
        let sum = Quantity::new(a, sa).unwrap().checked_add(Quantity::new(b, sb).unwrap()).unwrap();
        let exact = i128::from(a) * 10i128.pow(u32::from(6 - sa)) + i128::from(b) * 10i128.pow(u32::from(6 - sb));
        prop_assert_eq!(Notional::from(sum), Notional::new(exact, 6).unwrap());
        prop_assert_eq!(sum.checked_sub(Quantity::new(b, sb).unwrap()).unwrap(), Quantity::new(a, sa).unwrap());
    }

    #[test]
    fn order_equality_and_hash_are_numeric(a: i64, b: i64, sa in 0u8..=SCALE_MAX, sb in 0u8..=SCALE_MAX) {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let (x, y) = (Price::new(a, sa).unwrap(), Price::new(b, sb).unwrap());
        let exact = (i128::from(a) * 10i128.pow(u32::from(SCALE_MAX - sa))).cmp(&(i128::from(b) * 10i128.pow(u32::from(SCALE_MAX - sb))));
        prop_assert_eq!(x.cmp(&y), exact);
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        if x == y { prop_assert_eq!(hasher.hash_one(x), hasher.hash_one(y)); }
        prop_assert_eq!(hasher.hash_one(x), hasher.hash_one(x.normalized()));
    }

    #[test]
    fn rounding_to_a_step_stays_within_it(value in -1_000_000_000i64..1_000_000_000, step in 1i64..1000) {
        let (value, step) = (Price::new(value, 4).unwrap(), Price::new(step, 3).unwrap());
        let down = value.round_to_step(step, Rounding::Down).unwrap();
        prop_assert!(down <= value && down.is_multiple_of(step));
        prop_assert!(value.checked_sub(down).unwrap() < step);
        let up = value.round_to_step(step, Rounding::Up).unwrap();
        prop_assert!(up >= value && up.is_multiple_of(step) && up.checked_sub(value).unwrap() < step);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
        let _ignored = Price::parse_bytes(&bytes);
    }
}
