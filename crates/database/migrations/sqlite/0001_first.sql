-- One row per setting of the database as a whole; `mode` says which kind of run it belongs to.
CREATE TABLE keel_meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;

-- One row per journal that is projected. The rows of all other tables belong to one of them.
CREATE TABLE journals (
    journal_id INTEGER NOT NULL PRIMARY KEY,
    instance INTEGER NOT NULL,
    born_ns INTEGER NOT NULL,
    mode TEXT NOT NULL,
    folder TEXT NOT NULL,
    projected_sequence INTEGER NOT NULL,
    projected_chain TEXT NOT NULL,
    first_sequence INTEGER NOT NULL,
    UNIQUE (instance, born_ns)
) STRICT;

CREATE TABLE sessions (
    journal_id INTEGER NOT NULL REFERENCES journals ON DELETE CASCADE,
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    mode TEXT NOT NULL,
    program TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    symbols TEXT NOT NULL,
    ts_start_ns INTEGER NOT NULL,
    ts_end_ns INTEGER,
    digest TEXT,
    is_clean INTEGER,
    PRIMARY KEY (journal_id, epoch)
) STRICT;

CREATE TABLE orders (
    journal_id INTEGER NOT NULL REFERENCES journals ON DELETE CASCADE,
    client_order_id TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    order_sequence INTEGER NOT NULL,
    venue_order_id TEXT,
    strategy INTEGER NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('Buy', 'Sell')),
    order_type TEXT NOT NULL,
    time_in_force TEXT NOT NULL,
    purpose TEXT NOT NULL,
    is_reduce_only INTEGER NOT NULL,
    quantity TEXT NOT NULL,
    price TEXT,
    stop_price TEXT,
    state TEXT NOT NULL,
    status TEXT NOT NULL,
    filled TEXT NOT NULL,
    cum_quantity TEXT NOT NULL,
    is_closed INTEGER NOT NULL,
    is_adopted INTEGER NOT NULL,
    is_resurrected INTEGER NOT NULL,
    ts_created_ns INTEGER NOT NULL,
    ts_changed_ns INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (journal_id, client_order_id)
) STRICT;
CREATE INDEX orders_by_time ON orders (journal_id, ts_created_ns);

CREATE TABLE order_changes (
    journal_id INTEGER NOT NULL REFERENCES journals ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    part INTEGER NOT NULL,
    client_order_id TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    reason TEXT,
    ts_ns INTEGER NOT NULL,
    PRIMARY KEY (journal_id, sequence, part)
) STRICT;

CREATE TABLE fills (
    journal_id INTEGER NOT NULL REFERENCES journals ON DELETE CASCADE,
    symbol TEXT NOT NULL,
    trade_id TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    strategy INTEGER NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('Buy', 'Sell')),
    price TEXT NOT NULL,
    quantity TEXT NOT NULL,
    value TEXT NOT NULL,
    fee TEXT NOT NULL,
    fee_asset TEXT NOT NULL,
    liquidity TEXT NOT NULL,
    ts_event_ns INTEGER NOT NULL,
    ts_booked_ns INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    PRIMARY KEY (journal_id, symbol, trade_id)
) STRICT;
CREATE INDEX fills_by_time ON fills (ts_booked_ns);
CREATE INDEX fills_by_order ON fills (journal_id, client_order_id);

CREATE TABLE positions (
    journal_id INTEGER NOT NULL REFERENCES journals ON DELETE CASCADE,
    symbol TEXT NOT NULL,
    quantity TEXT NOT NULL,
    cost TEXT NOT NULL,
    realized TEXT NOT NULL,
    bought TEXT NOT NULL,
    sold TEXT NOT NULL,
    ts_changed_ns INTEGER NOT NULL,
    PRIMARY KEY (journal_id, symbol)
) STRICT;

CREATE TABLE fees (
    journal_id INTEGER NOT NULL REFERENCES journals ON DELETE CASCADE,
    asset TEXT NOT NULL,
    amount TEXT NOT NULL,
    PRIMARY KEY (journal_id, asset)
) STRICT;

CREATE TABLE balances (
    journal_id INTEGER NOT NULL REFERENCES journals ON DELETE CASCADE,
    asset TEXT NOT NULL,
    free TEXT NOT NULL,
    locked TEXT NOT NULL,
    ts_event_ns INTEGER NOT NULL,
    PRIMARY KEY (journal_id, asset)
) STRICT;

CREATE TABLE decisions (
    journal_id INTEGER NOT NULL REFERENCES journals ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    kind TEXT NOT NULL,
    client_order_id TEXT,
    strategy INTEGER,
    symbol TEXT,
    side TEXT,
    order_type TEXT,
    purpose TEXT,
    quantity TEXT,
    price TEXT,
    stop_price TEXT,
    control TEXT,
    reason TEXT,
    ts_ns INTEGER NOT NULL,
    PRIMARY KEY (journal_id, sequence)
) STRICT;

CREATE TABLE alarms (
    journal_id INTEGER NOT NULL REFERENCES journals ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    part INTEGER NOT NULL,
    kind TEXT NOT NULL,
    symbol TEXT,
    is_holding INTEGER NOT NULL,
    message TEXT NOT NULL,
    ts_ns INTEGER NOT NULL,
    PRIMARY KEY (journal_id, sequence, part)
) STRICT;

CREATE TABLE latches (
    journal_id INTEGER NOT NULL REFERENCES journals ON DELETE CASCADE,
    name TEXT NOT NULL,
    is_latched INTEGER NOT NULL,
    reason TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    ts_ns INTEGER NOT NULL,
    PRIMARY KEY (journal_id, name)
) STRICT;

-- The state of the fold at a place of a journal, so that going on does not begin at the first record.
CREATE TABLE fold_states (
    journal_id INTEGER NOT NULL PRIMARY KEY REFERENCES journals ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    chain TEXT NOT NULL,
    program TEXT NOT NULL,
    state BLOB NOT NULL
) STRICT;

-- Not from the journal: what the process used. Kept when the projection is built again.
CREATE TABLE resource_samples (
    instance INTEGER NOT NULL,
    ts_ns INTEGER NOT NULL,
    rss_bytes INTEGER NOT NULL,
    descriptors INTEGER NOT NULL,
    threads INTEGER NOT NULL,
    PRIMARY KEY (instance, ts_ns)
) STRICT;
