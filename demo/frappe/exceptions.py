"""Exceptions and the HTTP status each becomes."""


class ValidationError(Exception):
    """The request is understood and refused; what an unknown method answers, too."""

    http_status_code = 417


class AuthenticationError(Exception):
    http_status_code = 401


class PermissionError(Exception):  # noqa: A001  (the framework's own name)
    http_status_code = 403


class DoesNotExistError(ValidationError):
    http_status_code = 404


class IncorrectSitePath(Exception):  # noqa: N818  (the framework's own name)
    http_status_code = 404


class DuplicateEntryError(Exception):
    http_status_code = 409


class SessionStopped(Exception):  # noqa: N818  (the framework's own name)
    """Maintenance mode."""

    http_status_code = 503


class InReadOnlyMode(ValidationError):  # noqa: N818  (the framework's own name)
    http_status_code = 503


class AppNotInstalledError(ValidationError):
    """A hook or call names an app that the site does not have."""


class ImplicitCommitError(ValidationError):
    """A statement that commits by itself came after a write."""


class QueryDeadlockError(Exception):
    http_status_code = 500


class QueryTimeoutError(Exception):
    http_status_code = 500
