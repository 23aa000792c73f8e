//! Bars by integer arithmetic alone, so that every language makes the same bits: a reflected walk in ticks of 0.01.

fn mix(seed: u64, at: u64) -> u64 {
    let mut z = seed.wrapping_add((at + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Open, high, low and close in ticks of 0.01, bar by bar.
pub(crate) fn ticks(bars: usize) -> Vec<[i64; 4]> {
    let (mut walk, mut open) = (2_000_000i64, 3_000_000i64);
    let bar = |at: u64| {
        let a = mix(0x5EED_0001, at);
        let d = (a & 0xffff) + ((a >> 16) & 0xffff) + ((a >> 32) & 0xffff) + (a >> 48);
        walk += (d as i64 - 131_070) >> 5;
        let x = walk.rem_euclid(8_000_000);
        let close = 1_000_000 + if x < 4_000_000 { x } else { 8_000_000 - x };
        let b = mix(0x5EED_0002, at);
        let high = open.max(close) + (b & 0x3ff) as i64;
        let low = open.min(close) - ((b >> 10) & 0x3ff) as i64;
        let row = [open, high, low, close];
        open = close;
        row
    };
    (0..bars as u64).map(bar).collect()
}

/// The two grids of the job: 1,000 and 10,000 pairs, fast outer, slow inner.
pub(crate) fn grid(pairs: usize) -> (Vec<usize>, Vec<usize>) {
    if pairs == 1_000 {
        ((5..55).collect(), (60..=250).step_by(10).collect())
    } else {
        ((5..105).collect(), (110..606).step_by(5).collect())
    }
}

/// All of them as prices, a minute each from 2020-01-01.
pub(crate) fn bars(count: usize) -> keel_sweep::kernel::bars::Bars {
    let ticks = ticks(count);
    let prices = |which: usize| ticks.iter().map(|bar| bar[which] as f64 / 100.0).collect();
    let ts_open_ns = (0..count as u64).map(|at| (1_577_836_800_000 + 60_000 * at) * 1_000_000).collect();
    keel_sweep::kernel::bars::Bars::new(ts_open_ns, prices(0), prices(1), prices(2), prices(3)).expect("bars")
}
