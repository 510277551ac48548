-- The database and its owner, made by the superuser of our own server.

-- name: has_owner
SELECT 1 FROM pg_roles WHERE rolname = 'rigbeat';

-- name: create_owner
CREATE ROLE rigbeat LOGIN CREATEROLE;

-- name: has_database
SELECT 1 FROM pg_database WHERE datname = 'rigbeat';

-- name: create_database
CREATE DATABASE rigbeat OWNER rigbeat;

-- name: service_roles
SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)
