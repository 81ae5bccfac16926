"""The one error of the lab."""


class LabError(Exception):
    """The lab cannot be built or started; the message says why and what to do."""
