"""The object store of logs and artifacts: a folder (`file:///…`) or a bucket (`s3://bucket/prefix`).

For S3, region, credentials and endpoint come from where every program of the cloud looks for them: `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, a role of the machine or of the pod, and
`AWS_ENDPOINT_URL` for a store of your own. `http://` is refused there unless `AWS_ALLOW_HTTP=true`.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

STORE_AWAY = (BaseError, OSError)
"""What an object store raises when it is away, full, or does not let us in."""

# Whoever waits for an answer sends again by himself: better a quick no.
RETRIES = 3
RETRY_FOR = timedelta(seconds=10)


def open_store(url: str) -> ObjectStore:
    """The store at this url; a folder that is missing is made. Nothing is asked of a bucket yet.

    Raises `STORE_AWAY` for a folder that cannot be made, or a bucket whose settings are wrong.
    """
    if url.startswith("file://"):
        # A folder that is left empty goes with its last file, as it would in a bucket.
        return LocalStore(Path(unquote(urlsplit(url).path)), mkdir=True, automatic_cleanup=True)
    return from_url(url, retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_FOR})
