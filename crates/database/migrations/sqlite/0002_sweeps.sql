-- One row per sweep of parameters; made again when the same sweep is made again.
CREATE TABLE sweeps (
    sweep_id TEXT NOT NULL PRIMARY KEY,
    ts_written_ns INTEGER NOT NULL,
    strategy TEXT NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('fast', 'exact')),
    search TEXT NOT NULL,
    objective TEXT NOT NULL,
    trials INTEGER NOT NULL,
    is_complete INTEGER NOT NULL,
    summary TEXT NOT NULL
) STRICT;

-- The trials of a sweep, best first within each window; parameters as a JSON object. Figures are statistics, no money.
CREATE TABLE sweep_trials (
    sweep_id TEXT NOT NULL REFERENCES sweeps ON DELETE CASCADE,
    window_number INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    params TEXT NOT NULL,
    score REAL,
    total_return REAL NOT NULL,
    max_drawdown REAL NOT NULL,
    sharpe REAL,
    orders INTEGER NOT NULL,
    trades INTEGER NOT NULL,
    PRIMARY KEY (sweep_id, window_number, rank)
) STRICT;
