"""The report: one HTML file that says what was found beside what was published, what is missing, and why."""

from typing import TYPE_CHECKING

from brain2pix.compute.reproduce import drawings, html, sections
from brain2pix.config.reproduce import PAPERS

if TYPE_CHECKING:
    from brain2pix.compute.reproduce.gather import Findings
    from brain2pix.compute.reproduce.prepare import Reproduction
    from brain2pix.events import CancelToken


def make_report(reproduction: "Reproduction", found: "Findings", cancel: "CancelToken") -> str:
    """Write the page.

    Parameters
    ----------
    reproduction : Reproduction
    found : Findings
    cancel : CancelToken

    Returns
    -------
    str, HTML that needs no other file and no network
    """
    title = f"{PAPERS[reproduction.plan.method]}, evaluation"
    parts: list[object] = [html.element("h1", title), *sections.head(reproduction)]
    parts += sections.missing(found)
    parts += sections.orderings(found)
    parts += sections.beside(reproduction, found)
    parts.append(html.element("h2", "Reconstructions"))
    drawn = drawings.reconstructions(reproduction, found)
    parts.append(html.figure(drawn, "stimuli and reconstructions") if drawn else _none("no reconstructions yet"))
    parts += sections.identification(reproduction, found)
    for repeats, words in ((False, "2-way identification of each row"), (True, "2-way identification by number of repeats")):
        if (drawn := drawings.bars(reproduction, found, repeats=repeats)) is not None:
            parts.append(html.figure(drawn, words))
    parts += sections.statistics(found)
    parts += sections.classification(reproduction, found)
    if found.classes is not None and found.classes.is_file():
        parts.append(html.picture(found.classes.read_bytes(), "reconstructions with their best classes"))
    parts += sections.encoder(found)
    if found.maps is not None:
        shown = drawings.accuracy_map(found.maps, cancel)
        words = "noise-corrected accuracy on the cortex"
        parts.append(_none(f"no map on the cortex: {shown}") if isinstance(shown, str) else html.figure(shown, words))
    parts += sections.cells(reproduction)
    return html.page(title, parts)


def _none(why: str) -> html.Markup:
    return html.element("p", why, kind="missing")
