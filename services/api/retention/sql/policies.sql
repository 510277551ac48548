-- What operators ask and set.

-- name: policies
SELECT kind, keep_days, least_days, kept_from, changed_at, changed_by FROM retention ORDER BY kind;

-- name: policy
SELECT kind, keep_days, least_days, kept_from, changed_at, changed_by FROM retention WHERE kind = $1;

-- name: next_run
SELECT at, asked_by FROM retention_next;

-- name: latest_runs
SELECT id, started_at, ended_at, broke_off, asked_by, removed FROM retention_runs ORDER BY id DESC LIMIT $1;

-- name: set_policy
SELECT ledger.set_retention($1, $2, $3);

-- name: ask
SELECT ledger.ask_for_retention($1);

-- name: horizons
SELECT kind, horizon FROM ledger.retention_horizons();

-- name: plan
SELECT kind, count, oldest FROM ledger.retention_plan($1);
