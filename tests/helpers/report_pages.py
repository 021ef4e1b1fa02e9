"""Pages read back by an HTML parser, and what no page may have."""

import base64
import hashlib
import html.parser
import pathlib

VOID = {"meta", "img", "source", "br", "link", "input"}
FORBIDDEN = {
    "script",
    "iframe",
    "object",
    "embed",
    "link",
    "form",
    "base",
    "a",
    "svg",
    "math",
    "video",
    "audio",
    "foreignobject",
}


class Page(html.parser.HTMLParser):
    """Tags with attributes, text without style, and whether every tag was closed in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text, self.stack, self.style, self.wrong = [], "", [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if not self.stack or self.stack.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data):
        if self.stack and self.stack[-1] == "style":
            self.style += data
        else:
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def parse(path):
    page = Page(pathlib.Path(path).read_text("utf-8"))
    assert page.wrong == [] and page.stack == []
    return page


def check_harmless(page):
    """No script, no handler, no request."""
    assert not {tag for tag, _ in page.tags} & FORBIDDEN
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style", (tag, name)
            if name == "src":
                assert value.startswith("data:image/png;base64,"), (tag, name)
            assert name not in ("href", "srcset", "action", "background", "data"), (tag, name)
    metas = {a["http-equiv"]: a["content"] for a in page.all("meta") if "http-equiv" in a}
    assert set(metas) == {"Content-Security-Policy"}
    policy = metas["Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "url(" not in page.style and "@import" not in page.style
    assert all(image.get("alt") for image in page.all("img"))


def check_readable(page):
    """What a keyboard and a screen reader need: landmarks, headings, captions, scopes, names."""
    assert [len(page.all(tag)) for tag in ("main", "h1", "footer", "title")] == [1] * 4
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    names = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for tag, attributes in page.tags:
        if "scroll" in attributes.get("class", "").split():
            assert attributes["tabindex"] == "0" and attributes["aria-label"], tag
        assert attributes.get("aria-labelledby", "") in names | {""}, attributes
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
