-- One row per sweep of parameters; made again when the same sweep is made again.
CREATE TABLE sweeps (
    sweep_id TEXT NOT NULL PRIMARY KEY,
    ts_written_ns BIGINT NOT NULL,
    strategy TEXT NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('fast', 'exact')),
    search TEXT NOT NULL,
    objective TEXT NOT NULL,
    trials BIGINT NOT NULL,
    is_complete BOOLEAN NOT NULL,
    summary TEXT NOT NULL
);

-- The trials of a sweep, best first within each window; parameters as a JSON object. Figures are statistics, no money.
CREATE TABLE sweep_trials (
    sweep_id TEXT NOT NULL REFERENCES sweeps ON DELETE CASCADE,
    window_number BIGINT NOT NULL,
    rank BIGINT NOT NULL,
    params TEXT NOT NULL,
    score DOUBLE PRECISION,
    total_return DOUBLE PRECISION NOT NULL,
    max_drawdown DOUBLE PRECISION NOT NULL,
    sharpe DOUBLE PRECISION,
    orders BIGINT NOT NULL,
    trades BIGINT NOT NULL,
    PRIMARY KEY (sweep_id, window_number, rank)
);
