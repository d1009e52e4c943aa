"""The exporter's error: what happened, where, and what to do next."""


class ExportError(Exception):
    """A failure that can be explained to the person who ran the export.

    Args:
        what: one sentence that says what happened.
        where: the file, key or module it happened in.
        next: what to do about it.
    """

    def __init__(self, what, where="", next=""):
        super().__init__(what)
        self.what = what
        self.where = where
        self.next = next
