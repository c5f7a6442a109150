"""Whatever text comes into a page is shown and never run."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from brain2pix.compute.reproduce.html import element, figure, items, page, picture, table

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)> & \"'"


class Reader(HTMLParser):
    """Tags, attributes and text of a page, as a browser would take them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *each) for each in attrs]

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize(
    "part",
    [
        element("p", HOSTILE),
        element("p", "x", kind=HOSTILE),
        table(HOSTILE, (HOSTILE,), [(HOSTILE,)], key=HOSTILE),
        items([HOSTILE]),
        picture(b"png", HOSTILE),
        HOSTILE,
    ],
)
def test_hostile_text_stays_text(part):
    found = Reader(page(HOSTILE, [part]))
    assert "script" not in found.tags
    assert not [each for each in found.attributes if each[1].startswith("on") or each[1:] == ("src", "x")]
    assert HOSTILE in found.texts or HOSTILE in [each[2] for each in found.attributes]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\r"), min_size=1))
def test_any_text_comes_back(text):
    found = Reader(page("title", [element("p", text)]))
    assert "".join(found.texts).endswith(f"{text}\n") and found.tags.count("p") == 1


def test_nothing_is_loaded():
    drawn = Figure(figsize=(1, 1))
    found = Reader(page("title", [figure(drawn, "words"), picture(b"png", "words")]))
    sources = [value for tag, name, value in found.attributes if name in ("src", "href")]
    assert len(sources) == 2 and all(each.startswith("data:image/png;base64,") for each in sources)
    assert ("meta", "content", "default-src 'none'; img-src data:; style-src 'unsafe-inline'") in found.attributes
    assert not {"script", "link", "iframe"} & set(found.tags)
