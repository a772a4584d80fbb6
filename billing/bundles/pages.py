"""A bundle as pages show it: what it holds, how far it is, and where to fetch it."""

from dataclasses import dataclass

from billing.bundles.tables import BundleRow
from billing.documents.words import plural, show_size
from metering.periods import Month, show_moment

_COLOURS = {"waiting": "grey", "running": "yellow", "done": "green", "failed": "red"}
_WORDS = {
    "waiting": "Waiting",
    "running": "Being made",
    "done": "Ready",
    "failed": "Could not be made",
}


@dataclass(frozen=True)
class BundleView:
    """One bundle.

    Attributes:
        of: the months or the run that it is of.
        words: how far it is, in one sentence.
        asked: when it was asked for, on the London clock.
        unfinished: the page is worth looking at again.
        href: of its page; `file_href` of its bytes, empty until it is ready.
    """

    of: str
    status: str
    colour: str
    words: str
    asked: str
    done: int
    total: int
    unfinished: bool
    href: str
    file_href: str
    sha256: str


def months_of(row: BundleRow) -> str:
    """Return the months of an account's bundle, in words; empty for a run's."""
    if row.first_month is None or row.last_month is None:
        return ""
    first, last = Month.of_day(row.first_month), Month.of_day(row.last_month)
    return first.name if first == last else f"{first.name} to {last.name}"


def bundle_view(row: BundleRow, *, of: str, href: str, file_href: str) -> BundleView:
    """Return a bundle for its page."""
    documents = plural(row.invoices_total, "invoice or credit note", "invoices and credit notes")
    words = {
        "waiting": f"{documents} to pack. It starts in a few seconds.",
        "running": f"{row.invoices_done:,} of {documents} packed.",
        "done": f"{documents}, {show_size(row.size)}.",
        "failed": "Ask for it again. If it fails again, tell the central team.",
    }[row.status]
    return BundleView(
        of=of,
        status=_WORDS[row.status],
        colour=_COLOURS[row.status],
        words=words,
        asked=show_moment(row.asked_at),
        done=row.invoices_done,
        total=row.invoices_total,
        unfinished=row.status in {"waiting", "running"},
        href=href,
        file_href=file_href if row.status == "done" else "",
        sha256=row.sha256 or "",
    )


def bundle_file_name(row: BundleRow, *, stem: str) -> str:
    """Return the file name of a bundle: `RWE-documents-2026-04-to-2026-06.zip`."""
    if row.first_month is None or row.last_month is None:
        return f"{stem}.zip"
    first, last = Month.of_day(row.first_month), Month.of_day(row.last_month)
    return f"{stem}-{first}.zip" if first == last else f"{stem}-{first}-to-{last}.zip"
