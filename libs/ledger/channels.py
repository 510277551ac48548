"""The names of the NOTIFY channels. A notification only wakes: whoever listens also looks by itself now and then."""

DUE = "rigbeat_due"
"""A deployment became due sooner than a scheduler could know (created, resumed, edited)."""

OUTBOX = "rigbeat_outbox"
"""The outbox has something new."""

CHANGES = "rigbeat_changes"
"""The change feed has something new."""

APPLIED = "rigbeat_applied"
"""A host answered a command; the payload is the command's id."""

REVOKED = "rigbeat_revoked"
"""A token was taken back, or a session ended; the payload is its id."""

HOSTS = "rigbeat_hosts"
"""Who may use a host changed, or it was revoked; the payload is its name."""
