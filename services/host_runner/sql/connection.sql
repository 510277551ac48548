-- name: use_wal
PRAGMA journal_mode = WAL;

-- name: use_full_sync
PRAGMA synchronous = FULL;

-- name: has_schema
SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta';

-- name: begin
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: rollback
ROLLBACK;
