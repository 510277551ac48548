"""Why something did not run, or did not end well: a closed list, each with a sentence that a person will read."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Reason(StrEnum):
    """The code that travels on the wire and stands in the ledger."""

    ALREADY_QUEUED = "already_queued"
    DEVICE_BUSY = "device_busy"
    DEVICE_LOCKED = "device_locked"
    HOST_BUSY = "host_busy"
    WAITED_TOO_LONG = "waited_too_long"
    MISSED = "missed"
    LIMIT_IN_FLIGHT = "limit_in_flight"
    LIMIT_REACHED = "limit_reached"
    PAUSED = "paused"
    STOPPED = "stopped"
    DELETED = "deleted"
    EXPIRED = "expired"
    UNDELIVERABLE = "undeliverable"
    UNKNOWN_DEVICE = "unknown_device"
    TIMED_OUT = "timed_out"
    SILENT = "silent"
    INTERRUPTED = "interrupted"
    HOST_LOST = "host_lost"
    SCRIPT_NOT_FOUND = "script_not_found"
    INVALID_PARAMETERS = "invalid_parameters"
    SPAWN_FAILED = "spawn_failed"
    EXIT_CODE = "exit_code"
    SIGNALLED = "signalled"
    SCRIPT_REPORTED_FAILURE = "script_reported_failure"
    CANCELLED_BY_USER = "cancelled_by_user"


SENTENCES: Mapping[Reason, str] = {
    Reason.ALREADY_QUEUED: "Already queued (max 1)",
    Reason.DEVICE_BUSY: "The device was busy with another deployment",
    Reason.DEVICE_LOCKED: "The device was locked by a person",
    Reason.HOST_BUSY: "The host already ran as many scripts as it may",
    Reason.WAITED_TOO_LONG: "It waited longer than it was allowed to wait",
    Reason.MISSED: "It was due while it could not be started, and its window has passed",
    Reason.LIMIT_IN_FLIGHT: "The runs that are still under way may use up the limit",
    Reason.LIMIT_REACHED: "The limit of executions was reached",
    Reason.PAUSED: "The deployment was paused",
    Reason.STOPPED: "The deployment was stopped",
    Reason.DELETED: "The deployment was deleted",
    Reason.EXPIRED: "The end date of the deployment was reached",
    Reason.UNDELIVERABLE: "The broker had no queue for the host",
    Reason.UNKNOWN_DEVICE: "The host has no device of this name",
    Reason.TIMED_OUT: "It was stopped at its time limit",
    Reason.SILENT: "It was stopped because it printed nothing for too long",
    Reason.INTERRUPTED: "The process that watched the script died; what was left of the script was killed",
    Reason.HOST_LOST: "The host went away and did not come back with a result",
    Reason.SCRIPT_NOT_FOUND: "There is no such script on the host",
    Reason.INVALID_PARAMETERS: "The parameters cannot be split into arguments",
    Reason.SPAWN_FAILED: "The script could not be started",
    Reason.EXIT_CODE: "The script ended with an exit code other than 0",
    Reason.SIGNALLED: "The script was ended by a signal",
    Reason.SCRIPT_REPORTED_FAILURE: "The script reported SCRIPT_SUCCESS:false",
    Reason.CANCELLED_BY_USER: "It was cancelled",
}
