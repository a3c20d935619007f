"""Every page by the Tab key alone: it comes to everything that can be used, in sight and marked, and goes on."""

from playwright.sync_api import Page

from tests.e2e.conftest import NewContext
from tests.e2e.pages import live

# What can be used and is shown: of a group of radio buttons one, of what moves with arrows the one that holds the place.
USABLE = """() => {
  const seen = e => e.checkVisibility({ visibilityProperty: true }) && !e.closest('[inert]') && !(e.closest('details:not([open])') && !e.matches('summary'));
  const found = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')]
    .filter(e => !e.disabled && e.tabIndex >= 0 && e.type !== 'hidden' && seen(e))
    .filter(e => e.type !== 'radio' || e.checked || ![...document.getElementsByName(e.name)].some(o => o.form === e.form && o.checked && seen(o)))
    .filter((e, i, all) => e.type !== 'radio' || all.findIndex(o => o.type === 'radio' && o.name === e.name && o.form === e.form) === i);
  window.usable = new Set(found);
  return found.length;
}"""
# Follows the focus: what it came to, whether it can be seen there and how it is marked.
FOLLOW = """() => {
  window.come = new Set();
  window.unseen = [];
  addEventListener('focusin', event => {
    const e = event.target;
    come.add(e);
    const style = [e, e.parentElement, e.closest('label') ?? e, e.nextElementSibling ?? e].map(o => getComputedStyle(o));
    const marked = style.some(s => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || style.some(s => s.boxShadow !== 'none');
    if (!marked) unseen.push(`unmarked: ${e.outerHTML.slice(0, 120)}`);
    requestAnimationFrame(() => {
      if (document.activeElement !== e) return;
      const at = e.getBoundingClientRect();
      if (at.bottom < 0 || at.top > innerHeight) unseen.push(`out of sight: ${e.outerHTML.slice(0, 120)}`);
    });
  });
}"""
MISSED = "() => [...usable].filter(e => e.isConnected && !come.has(e)).map(e => `not reached: ${e.outerHTML.slice(0, 160)}`)"


def walk(page: Page) -> list[str]:
    """Press Tab until the focus leaves the page; what is wrong with where it went."""
    many = page.evaluate(USABLE)
    page.evaluate(FOLLOW)
    page.evaluate("document.activeElement?.blur()")
    for _ in range(many + 10):
        page.keyboard.press("Tab")
        if page.evaluate("come.size > 3 && document.activeElement === document.body"):
            break
    missed: list[str] = page.evaluate(MISSED)
    return missed + list(page.evaluate("unseen"))


def test_the_tab_key_comes_to_everything_on_every_page(open_browser: NewContext, paths: list[str]) -> None:
    page = open_browser(reduced_motion="reduce").new_page()
    faults = []
    for path in paths:
        live(page, path)
        faults += [f"{path} {fault}" for fault in walk(page)]
    assert not faults, "\n".join(faults)
