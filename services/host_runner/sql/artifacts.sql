-- The files of ended runs that the API does not have yet. What is done has no row any more.

-- name: create_artifact_folders
CREATE TABLE IF NOT EXISTS artifact_folders (
    execution_id TEXT PRIMARY KEY,
    is_planned INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- name: create_artifact_files
CREATE TABLE IF NOT EXISTS artifact_files (
    execution_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    -- What is sent instead of a file of the folder: the list of what was left out.
    content TEXT,
    PRIMARY KEY (execution_id, position)
) WITHOUT ROWID;

-- name: open_artifacts
INSERT INTO artifact_folders (execution_id) VALUES (?) ON CONFLICT (execution_id) DO NOTHING;

-- name: select_artifact_folders
SELECT execution_id, is_planned FROM artifact_folders ORDER BY execution_id LIMIT ?;

-- name: select_artifact_files
SELECT position, name, content FROM artifact_files WHERE execution_id = ? ORDER BY position;

-- name: insert_artifact_file
INSERT INTO artifact_files (execution_id, position, name, content) VALUES (?, ?, ?, ?);

-- name: plan_artifacts
UPDATE artifact_folders SET is_planned = 1 WHERE execution_id = ?;

-- name: delete_artifact_file
DELETE FROM artifact_files WHERE execution_id = ? AND position = ?;

-- name: delete_artifact_folder
DELETE FROM artifact_folders WHERE execution_id = ?;
