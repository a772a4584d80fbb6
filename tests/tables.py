"""What each table of a page is: a list with order, file and paging, or named here with why."""

from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import parse_qs, urlsplit

import lxml.html

NOT_LISTS = {
    "By service, without VAT": "the overview's summary; the usage explorer is the list",
    "Budgets": "the overview's excerpt; the page of budgets is the list",
    "Latest invoices": "the overview's excerpt; the page of invoices is the list",
    "What is open today, by age": "five ages that add up",
    "Open invoices at the month’s end": "part of a statement of balances, whose file has them",
    "What it counted for": "one event's few meters",
    "Lines": "the invoice itself, in its printed order; its CSV is among the documents",
    "VAT": "sums of one invoice",
    "Prices of ": "a price list in the order of the tariff, which its file holds",
    "Tiers of ": "tiers, which only make sense from the first to the last",
    "Cookies that Paygo uses": "two cookies",
}
"""Beginnings of captions."""

IN_ITS_ORDER = ("download=trial-balance", "download=journal")
"""Lists whose order is part of what they say: with a total at the end, or as it was posted."""

FIND_FROM = 10


def faults(pages: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the tables of pages, one sentence for each fault."""
    for address, text in pages.items():
        if "<table" not in text:
            continue
        seen: set[str] = set()
        for table in lxml.html.fromstring(text).iter("table"):
            if table.xpath("ancestor::figure"):
                continue  # the figures of a chart
            if table.xpath("tbody//input[not(@type='hidden')]"):
                continue  # the fields of a form
            caption = _caption(table)
            where = f"{address}: the table “{caption}”"
            if any(caption.startswith(one) for one in NOT_LISTS):
                continue
            if "paygo-list" not in table.get("class", ""):
                yield f"{where} is not drawn by ui.listing"
                continue
            yield from (f"{where} {fault}" for fault in _faults_of(table, seen))


def _caption(table: lxml.html.HtmlElement) -> str:
    found = table.xpath("caption")
    if found:
        return " ".join(str(found[0].text_content()).split())
    label = table.xpath("string(//*[@id=$id])", id=table.get("aria-labelledby") or "")
    return " ".join(str(label).split())


def _faults_of(table: lxml.html.HtmlElement, seen: set[str]) -> Iterator[str]:
    rows = len(table.xpath("tbody/tr"))
    box = table.getparent()
    after = box.getnext()
    file = after is not None and "paygo-download" in after.get("class", "")
    if not file:
        yield "cannot be downloaded"
        return
    (href,) = after.xpath("a/@href")
    links = table.xpath("thead//a/@href")
    if rows > 1 and not links and not any(name in href for name in IN_ITS_ORDER):
        yield "cannot be put in another order"
    names = {_sort_name(link) for link in links}
    if names & seen:
        yield "shares its order with another list of the page"
    seen |= names
    if rows > FIND_FROM and not table.xpath("//form[@role='search']"):
        yield "cannot be searched"


def _sort_name(href: str) -> str:
    """Return the name in the address by which this link sorts: the last that ends in `sort`."""
    names = [name for name in parse_qs(urlsplit(href).query) if name.rpartition("-")[2] == "sort"]
    return names[-1] if names else ""


def files_of(pages: Mapping[str, str]) -> Iterable[str]:
    """Return the addresses that were followed and gave a list as a file."""
    return [address for address in pages if "download=" in address or address.endswith(".csv")]
