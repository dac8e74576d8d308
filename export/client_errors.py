"""What can go wrong between a client and a server."""


class ServingError(Exception):
    """A server did not answer; the message says what to do about it."""


class Unavailable(ServingError):
    """Nobody listens there, or the server cannot answer at the moment."""


class NotFound(ServingError):
    """The server has no model of this name or no such version of it."""


class Refused(ServingError):
    """The server will never answer this: no such signature, a wrong input."""


class DeadlineExceeded(ServingError):
    """The answer did not come in time."""


def unavailable(address, details):
    """An `Unavailable` with what to look at."""
    return Unavailable(
        f"no answer from {address}: {_line(details)}. Is the server running, "
        "and is that its port? TensorFlow Serving has gRPC on 8500 "
        "(localhost:8500) and REST on 8501 (http://localhost:8501)"
    )


def not_found(address, model, version, details):
    """A `NotFound` with the model that was asked for."""
    name = f"model {model!r}"
    if version is not None:
        name += f" of version {version}"
    return NotFound(
        f"{address} has no {name}: {_line(details)}. Its name is the server's "
        "MODEL_NAME or stands in models.config; it may still be loading"
    )


def refused(address, signature, details):
    """A `Refused` with the signature that was asked for."""
    details = _line(details)
    hint = ""
    if "ignature" in details and "not found" in details:
        hint = "; `classify` exists only if a probe was exported with the model"
    if "atch size" in details:
        hint = "; give the client a `batch_size` that the server takes"
    return Refused(
        f"{address} does not answer {signature}: {details.rstrip('.')}{hint}"
    )


def deadline_exceeded(address, timeout):
    """A `DeadlineExceeded` with the deadline."""
    return DeadlineExceeded(
        f"{address} did not answer within {timeout:.3g} s. A model that is "
        "just loaded is slow at first; otherwise give fewer images at a time "
        "or a longer `timeout`"
    )


def failed(address, code, details):
    """Any other error of the server."""
    return ServingError(f"{address} failed with {code}: {_line(details)}")


def _line(details):
    """The first 300 characters on one line, without a stop at the end."""
    return " ".join(str(details).split())[:300].rstrip(".")
