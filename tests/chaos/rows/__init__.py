"""The rows, by what they do it to. Importing this registers all of them."""

from tests.chaos.rows import broker, clocks, database, disks, hosts, links, messages, points, processes, scripts, users

__all__ = [
    "broker",
    "clocks",
    "database",
    "disks",
    "hosts",
    "links",
    "messages",
    "points",
    "processes",
    "scripts",
    "users",
]
