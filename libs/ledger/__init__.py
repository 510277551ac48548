"""The database as a contract: schema and roles (migrations), connections, and the writing of decisions."""
