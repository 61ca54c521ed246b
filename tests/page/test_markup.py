from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refersat.page.markup import Html, document, join, tag


def test_text_is_escaped_in_content_and_in_attributes():
    made = tag("p", "<script>alert('&')</script>", title='"><img src=x onerror=alert(1)>')
    element = ElementTree.fromstring(made)
    assert element.text == "<script>alert('&')</script>"
    assert element.attrib == {"title": '"><img src=x onerror=alert(1)>'}
    assert len(element) == 0


@given(st.text())
def test_any_text_comes_out_well_formed_and_as_it_was(text):
    element = ElementTree.fromstring(tag("p", text, title=text))
    shown = element.text or ""
    assert len(element) == 0
    # A parser reads every kind of line break as one; what XML cannot hold became U+FFFD, one for one.
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    assert len(shown) == len(plain)
    assert all(a == b or a == "\ufffd" for a, b in zip(shown, plain, strict=True))
    made = tag("p", text)
    made.encode()  # lone surrogates could not be


def test_control_characters_are_replaced():
    assert tag("p", "a\x00b\x1bc\ud800") == "<p>a\ufffdb\ufffdc\ufffd</p>"


def test_markup_is_kept_and_iterables_are_joined():
    items = (tag("li", str(k)) for k in range(2))
    assert tag("ul", items, None, Html("<!-- kept -->")) == "<ul><li>0</li><li>1</li><!-- kept --></ul>"
    assert join("<", ["&", None, [Html("<br/>")]]) == "&lt;&amp;<br/>"


def test_attributes():
    made = tag("input", class_="a b", stroke_width=1.5, checked=True, disabled=False, title=None, x=0, name="view")
    assert made == '<input class="a b" stroke-width="1.5" checked="checked" x="0" name="view"/>'


def test_void_elements_have_no_content():
    with pytest.raises(AssertionError):
        tag("br", "text")


def test_document_is_well_formed_and_forbids_scripts_and_the_network():
    page = document("<title>", "p > b { color: red }", tag("p", "text"))
    root = ElementTree.fromstring(page)
    policy = root.find("head/meta[@http-equiv='Content-Security-Policy']").attrib["content"]
    assert policy.startswith("default-src 'none'")
    assert root.findtext("head/title") == "<title>"
    assert root.findtext("head/style") == "p > b { color: red }"
    assert page.startswith("<!DOCTYPE html>\n")
