"""A quick start for the processes of this package."""

import sys


def skip_iri_grammar() -> None:
    """Let jsonschema do without its grammar of international addresses.

    It takes a second to build whenever nbformat is imported, and no notebook needs it: jsonschema
    then accepts any text for such an address. Only processes that are entirely ours call this.
    """
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
