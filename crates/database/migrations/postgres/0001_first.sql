-- One row per setting of the database as a whole; `mode` says which kind of run it belongs to.
CREATE TABLE keel_meta (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);

-- One row per journal that is projected. The rows of all other tables belong to one of them.
CREATE TABLE journals (
    journal_id BIGINT NOT NULL PRIMARY KEY,
    instance BIGINT NOT NULL,
    born_ns BIGINT NOT NULL,
    mode TEXT NOT NULL,
    folder TEXT NOT NULL,
    projected_sequence BIGINT NOT NULL,
    projected_chain TEXT NOT NULL,
    first_sequence BIGINT NOT NULL,
    UNIQUE (instance, born_ns)
);

CREATE TABLE sessions (
    journal_id BIGINT NOT NULL REFERENCES journals ON DELETE CASCADE,
    epoch BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    mode TEXT NOT NULL,
    program TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    symbols TEXT NOT NULL,
    ts_start_ns BIGINT NOT NULL,
    ts_end_ns BIGINT,
    digest TEXT,
    is_clean BOOLEAN,
    PRIMARY KEY (journal_id, epoch)
);

CREATE TABLE orders (
    journal_id BIGINT NOT NULL REFERENCES journals ON DELETE CASCADE,
    client_order_id TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    order_sequence BIGINT NOT NULL,
    venue_order_id TEXT,
    strategy BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('Buy', 'Sell')),
    order_type TEXT NOT NULL,
    time_in_force TEXT NOT NULL,
    purpose TEXT NOT NULL,
    is_reduce_only BOOLEAN NOT NULL,
    quantity NUMERIC NOT NULL,
    price NUMERIC,
    stop_price NUMERIC,
    state TEXT NOT NULL,
    status TEXT NOT NULL,
    filled NUMERIC NOT NULL,
    cum_quantity NUMERIC NOT NULL,
    is_closed BOOLEAN NOT NULL,
    is_adopted BOOLEAN NOT NULL,
    is_resurrected BOOLEAN NOT NULL,
    ts_created_ns BIGINT NOT NULL,
    ts_changed_ns BIGINT NOT NULL,
    reason TEXT,
    PRIMARY KEY (journal_id, client_order_id)
);
CREATE INDEX orders_by_time ON orders (journal_id, ts_created_ns);

CREATE TABLE order_changes (
    journal_id BIGINT NOT NULL REFERENCES journals ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    part BIGINT NOT NULL,
    client_order_id TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state TEXT NOT NULL,
    reason TEXT,
    ts_ns BIGINT NOT NULL,
    PRIMARY KEY (journal_id, sequence, part)
);

CREATE TABLE fills (
    journal_id BIGINT NOT NULL REFERENCES journals ON DELETE CASCADE,
    symbol TEXT NOT NULL,
    trade_id TEXT NOT NULL,
    client_order_id TEXT NOT NULL,
    strategy BIGINT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('Buy', 'Sell')),
    price NUMERIC NOT NULL,
    quantity NUMERIC NOT NULL,
    value NUMERIC NOT NULL,
    fee NUMERIC NOT NULL,
    fee_asset TEXT NOT NULL,
    liquidity TEXT NOT NULL,
    ts_event_ns BIGINT NOT NULL,
    ts_booked_ns BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (journal_id, symbol, trade_id)
);
CREATE INDEX fills_by_time ON fills (ts_booked_ns);
CREATE INDEX fills_by_order ON fills (journal_id, client_order_id);

CREATE TABLE positions (
    journal_id BIGINT NOT NULL REFERENCES journals ON DELETE CASCADE,
    symbol TEXT NOT NULL,
    quantity NUMERIC NOT NULL,
    cost NUMERIC NOT NULL,
    realized NUMERIC NOT NULL,
    bought NUMERIC NOT NULL,
    sold NUMERIC NOT NULL,
    ts_changed_ns BIGINT NOT NULL,
    PRIMARY KEY (journal_id, symbol)
);

CREATE TABLE fees (
    journal_id BIGINT NOT NULL REFERENCES journals ON DELETE CASCADE,
    asset TEXT NOT NULL,
    amount NUMERIC NOT NULL,
    PRIMARY KEY (journal_id, asset)
);

CREATE TABLE balances (
    journal_id BIGINT NOT NULL REFERENCES journals ON DELETE CASCADE,
    asset TEXT NOT NULL,
    free NUMERIC NOT NULL,
    locked NUMERIC NOT NULL,
    ts_event_ns BIGINT NOT NULL,
    PRIMARY KEY (journal_id, asset)
);

CREATE TABLE decisions (
    journal_id BIGINT NOT NULL REFERENCES journals ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    kind TEXT NOT NULL,
    client_order_id TEXT,
    strategy BIGINT,
    symbol TEXT,
    side TEXT,
    order_type TEXT,
    purpose TEXT,
    quantity NUMERIC,
    price NUMERIC,
    stop_price NUMERIC,
    control TEXT,
    reason TEXT,
    ts_ns BIGINT NOT NULL,
    PRIMARY KEY (journal_id, sequence)
);

CREATE TABLE alarms (
    journal_id BIGINT NOT NULL REFERENCES journals ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    part BIGINT NOT NULL,
    kind TEXT NOT NULL,
    symbol TEXT,
    is_holding BOOLEAN NOT NULL,
    message TEXT NOT NULL,
    ts_ns BIGINT NOT NULL,
    PRIMARY KEY (journal_id, sequence, part)
);

CREATE TABLE latches (
    journal_id BIGINT NOT NULL REFERENCES journals ON DELETE CASCADE,
    name TEXT NOT NULL,
    is_latched BOOLEAN NOT NULL,
    reason TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    ts_ns BIGINT NOT NULL,
    PRIMARY KEY (journal_id, name)
);

-- The state of the fold at a place of a journal, so that going on does not begin at the first record.
CREATE TABLE fold_states (
    journal_id BIGINT NOT NULL PRIMARY KEY REFERENCES journals ON DELETE CASCADE,
    sequence BIGINT NOT NULL,
    chain TEXT NOT NULL,
    program TEXT NOT NULL,
    state BYTEA NOT NULL
);

-- Not from the journal: what the process used. Kept when the projection is built again.
CREATE TABLE resource_samples (
    instance BIGINT NOT NULL,
    ts_ns BIGINT NOT NULL,
    rss_bytes BIGINT NOT NULL,
    descriptors BIGINT NOT NULL,
    threads BIGINT NOT NULL,
    PRIMARY KEY (instance, ts_ns)
);
