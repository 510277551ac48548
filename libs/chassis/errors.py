"""What can go wrong in the chassis, by whose fault it is.

    ChassisError
    ├── Poison              the peer sent nonsense: dead letter, never tried again
    ├── Transient           a broker or a database is away: try again, with a pause
    │   ├── ConnectionLost      the connection or the channel went away under us
    │   ├── QueueMissing        the queue is not declared (yet)
    │   └── Unconfirmed         the broker did not take a message that must not be lost
    ├── Refused             the broker answered no: other arguments, in use by another, not permitted
    │   └── NotLetIn            … at the door: wrong user, password, or virtual host
    ├── ConsumerCancelled   the broker ended a consumer (its queue was deleted): the process ends, to be restarted
    └── ConsumerSilent      a consumer is given nothing although the broker is well: as above

Everything else is a bug and crashes loudly.
"""

from __future__ import annotations


class ChassisError(Exception):
    """The root of the tree above."""


class Poison(ChassisError):  # noqa: N818  # the name is the verdict, as consumers read it
    """A message that no repetition makes good; a handler may raise it, or name exception classes of its own."""


class Transient(ChassisError):  # noqa: N818  # the name is the verdict, as consumers read it
    """Something that we need is away; the same call may succeed later."""


class ConnectionLost(Transient):
    """The connection or channel closed; what was unacknowledged will be delivered again."""


class QueueMissing(Transient):
    """The queue does not exist (yet); whoever declares it may still be starting."""


class Unconfirmed(Transient):
    """A message that must not be lost was not confirmed by the broker."""


class Refused(ChassisError):  # noqa: N818  # the name is the verdict, as consumers read it
    """The broker said no, and will say it again until a person changes something."""


class NotLetIn(Refused):
    """The broker does not know the user, or the password is another."""


class ConsumerCancelled(ChassisError):  # noqa: N818  # the name is the verdict, as consumers read it
    """The broker sent `basic.cancel`. Nothing in the process mends that: it ends, and is started anew."""


class ConsumerSilent(ChassisError):  # noqa: N818  # the name is the verdict, as consumers read it
    """A consumer that is given nothing any more, on a connection that looks well. Connecting anew may leave in place
    whatever it was, so the process ends, and is started anew.
    """
