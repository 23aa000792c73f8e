//! The tables that the projection writes, and the one statement per table and dialect that writes many rows at once.
//!
//! Invariant: statements are made of the constants in this file only; whatever comes from outside is bound as one JSON
//! text, never written into a statement.

use crate::Dialect;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use std::sync::OnceLock;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number of 64 bits.
    Int,
    /// A text.
    Text,
    /// An exact decimal: TEXT in SQLite, NUMERIC in PostgreSQL.
    Money,
    /// Yes or no.
    Flag,
}
use Kind::{Flag, Int, Money, Text};

/// One table of the projection.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// How many of the first columns are the key.
    pub(crate) key: usize,
    pub(crate) columns: &'static [(&'static str, Kind)],
    upsert: [OnceLock<String>; 2],
}

const fn table(name: &'static str, key: usize, columns: &'static [(&'static str, Kind)]) -> Table {
    Table { name, key, columns, upsert: [OnceLock::new(), OnceLock::new()] }
}

/// Rows of one table.
pub(crate) type Row = Vec<Value>;

pub(crate) static SESSIONS: Table = table(
    "sessions",
    2,
    &[
        ("journal_id", Int),
        ("epoch", Int),
        ("sequence", Int),
        ("mode", Text),
        ("program", Text),
        ("config_hash", Text),
        ("symbols", Text),
        ("ts_start_ns", Int),
        ("ts_end_ns", Int),
        ("digest", Text),
        ("is_clean", Flag),
    ],
);
pub(crate) static ORDERS: Table = table(
    "orders",
    2,
    &[
        ("journal_id", Int),
        ("client_order_id", Text),
        ("epoch", Int),
        ("order_sequence", Int),
        ("venue_order_id", Text),
        ("strategy", Int),
        ("symbol", Text),
        ("side", Text),
        ("order_type", Text),
        ("time_in_force", Text),
        ("purpose", Text),
        ("is_reduce_only", Flag),
        ("quantity", Money),
        ("price", Money),
        ("stop_price", Money),
        ("state", Text),
        ("status", Text),
        ("filled", Money),
        ("cum_quantity", Money),
        ("is_closed", Flag),
        ("is_adopted", Flag),
        ("is_resurrected", Flag),
        ("ts_created_ns", Int),
        ("ts_changed_ns", Int),
        ("reason", Text),
    ],
);
pub(crate) static ORDER_CHANGES: Table = table(
    "order_changes",
    3,
    &[
        ("journal_id", Int),
        ("sequence", Int),
        ("part", Int),
        ("client_order_id", Text),
        ("from_state", Text),
        ("to_state", Text),
        ("reason", Text),
        ("ts_ns", Int),
    ],
);
pub(crate) static FILLS: Table = table(
    "fills",
    3,
    &[
        ("journal_id", Int),
        ("symbol", Text),
        ("trade_id", Text),
        ("client_order_id", Text),
        ("strategy", Int),
        ("side", Text),
        ("price", Money),
        ("quantity", Money),
        ("value", Money),
        ("fee", Money),
        ("fee_asset", Text),
        ("liquidity", Text),
        ("ts_event_ns", Int),
        ("ts_booked_ns", Int),
        ("sequence", Int),
    ],
);
pub(crate) static POSITIONS: Table = table(
    "positions",
    2,
    &[
        ("journal_id", Int),
        ("symbol", Text),
        ("quantity", Money),
        ("cost", Money),
        ("realized", Money),
        ("bought", Money),
        ("sold", Money),
        ("ts_changed_ns", Int),
    ],
);
pub(crate) static FEES: Table = table("fees", 2, &[("journal_id", Int), ("asset", Text), ("amount", Money)]);
pub(crate) static BALANCES: Table = table(
    "balances",
    2,
    &[("journal_id", Int), ("asset", Text), ("free", Money), ("locked", Money), ("ts_event_ns", Int)],
);
pub(crate) static DECISIONS: Table = table(
    "decisions",
    2,
    &[
        ("journal_id", Int),
        ("sequence", Int),
        ("kind", Text),
        ("client_order_id", Text),
        ("strategy", Int),
        ("symbol", Text),
        ("side", Text),
        ("order_type", Text),
        ("purpose", Text),
        ("quantity", Money),
        ("price", Money),
        ("stop_price", Money),
        ("control", Text),
        ("reason", Text),
        ("ts_ns", Int),
    ],
);
pub(crate) static ALARMS: Table = table(
    "alarms",
    3,
    &[
        ("journal_id", Int),
        ("sequence", Int),
        ("part", Int),
        ("kind", Text),
        ("symbol", Text),
        ("is_holding", Flag),
        ("message", Text),
        ("ts_ns", Int),
    ],
);
pub(crate) static LATCHES: Table = table(
    "latches",
    2,
    &[("journal_id", Int), ("name", Text), ("is_latched", Flag), ("reason", Text), ("sequence", Int), ("ts_ns", Int)],
);
pub(crate) static RESOURCE_SAMPLES: Table = table(
    "resource_samples",
    2,
    &[("instance", Int), ("ts_ns", Int), ("rss_bytes", Int), ("descriptors", Int), ("threads", Int)],
);

/// Every table whose rows come from the journal.
pub(crate) static OF_JOURNAL: [&Table; 10] =
    [&SESSIONS, &ORDERS, &ORDER_CHANGES, &FILLS, &POSITIONS, &FEES, &BALANCES, &DECISIONS, &ALARMS, &LATCHES];

impl Table {
    /// The statement that writes all rows of a JSON array of arrays, new ones and known ones.
    pub(crate) fn upsert(&'static self, dialect: Dialect) -> AssertSqlSafe<&'static str> {
        let at = usize::from(dialect == Dialect::Postgres);
        let [sqlite, postgres] = &self.upsert;
        let cell = if at == 0 { sqlite } else { postgres };
        AssertSqlSafe(cell.get_or_init(|| self.build(dialect)).as_str())
    }

    fn build(&self, dialect: Dialect) -> String {
        let names: Vec<&str> = self.columns.iter().map(|(name, _)| *name).collect();
        let pick = |(at, (_, kind)): (usize, &(&str, Kind))| match (dialect, kind) {
            (Dialect::Sqlite, _) => format!("json_extract(r.value, '$[{at}]')"),
            (Dialect::Postgres, Int) => format!("CAST(r.value->>{at} AS BIGINT)"),
            (Dialect::Postgres, Text) => format!("r.value->>{at}"),
            (Dialect::Postgres, Money) => format!("CAST(r.value->>{at} AS NUMERIC)"),
            (Dialect::Postgres, Flag) => format!("CAST(r.value->>{at} AS BOOLEAN)"),
        };
        let values: Vec<String> = self.columns.iter().enumerate().map(pick).collect();
        let source = match dialect {
            Dialect::Sqlite => "json_each($1) AS r",
            Dialect::Postgres => "jsonb_array_elements(CAST($1 AS JSONB)) AS r(value)",
        };
        let (key, rest) = names.split_at(self.key.min(names.len()));
        // A reason stays until there is another one.
        let set = |name: &&str| match *name {
            "reason" => format!("reason = COALESCE(excluded.reason, {}.reason)", self.name),
            name => format!("{name} = excluded.{name}"),
        };
        let sets: Vec<String> = rest.iter().map(set).collect();
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM {source} WHERE true ON CONFLICT ({}) DO UPDATE SET {}",
            self.name,
            names.join(", "),
            values.join(", "),
            key.join(", "),
            sets.join(", "),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_names_a_key_and_more_and_no_column_twice() {
        for table in OF_JOURNAL.into_iter().chain([&RESOURCE_SAMPLES]) {
            let names: std::collections::BTreeSet<_> = table.columns.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), table.columns.len(), "{}", table.name);
            assert!(table.key < table.columns.len(), "{}", table.name);
        }
    }

    #[test]
    fn both_schemas_declare_exactly_the_columns_that_are_written() {
        for (dialect, text) in [
            ("sqlite", include_str!("../migrations/sqlite/0001_first.sql")),
            ("postgres", include_str!("../migrations/postgres/0001_first.sql")),
        ] {
            for table in OF_JOURNAL.into_iter().chain([&RESOURCE_SAMPLES]) {
                let head = format!("CREATE TABLE {} (\n", table.name);
                let body = text.split(&head).nth(1).and_then(|rest| rest.split("\n)").next()).unwrap();
                let declared: Vec<(&str, &str)> = body
                    .lines()
                    .map(|line| line.trim().trim_end_matches(','))
                    .filter(|line| !line.starts_with("PRIMARY KEY"))
                    .map(|line| line.split_once(' ').map(|(n, t)| (n, t.split(' ').next().unwrap())).unwrap())
                    .collect();
                let wanted: Vec<(&str, &str)> = table
                    .columns
                    .iter()
                    .map(|(name, kind)| {
                        let kind = match (dialect, kind) {
                            ("sqlite", Int | Flag) => "INTEGER",
                            ("sqlite", _) | (_, Text) => "TEXT",
                            (_, Int) => "BIGINT",
                            (_, Money) => "NUMERIC",
                            (_, Flag) => "BOOLEAN",
                        };
                        (*name, kind)
                    })
                    .collect();
                assert_eq!(declared, wanted, "{dialect} {}", table.name);
            }
        }
    }
}
