// Menus under their buttons: native popovers, placed by us, walked by arrow keys.
import { $, $$ } from './dom.js';

function place(menu, button) {
  const r = button.getBoundingClientRect();
  const up = r.bottom + menu.offsetHeight + 8 > innerHeight && r.top > menu.offsetHeight;
  menu.style.top = `${up ? r.top - menu.offsetHeight - 4 : r.bottom + 6}px`;
  menu.style.left = `${Math.max(8, Math.min(r.right - menu.offsetWidth, innerWidth - menu.offsetWidth - 8))}px`;
}

let opener = null;
document.addEventListener('click', e => {
  const button = e.target.closest('[popovertarget]');
  if (button) opener = button;
}, true);

document.addEventListener('toggle', e => {
  if (!e.target.matches?.('[popover]') || e.newState !== 'open' || !opener) return;
  place(e.target, opener);
  e.target.dispatchEvent(new CustomEvent('tpm-open', { bubbles: true }));
}, true);

// The row menu is one popover for all rows. Focus moves in the click: `toggle` is queued, and keys may come first.
document.addEventListener('click', e => {
  const button = e.target.closest('[data-row-menu]');
  if (!button) return;
  const menu = $('#row-menu');
  const row = button.closest('[data-name]');
  opener = button;
  menu.dispatchEvent(new CustomEvent('tpm-row', { detail: row }));
  menu.showPopover({ source: button });
  place(menu, button);
  $$('[role=menuitem]:not([hidden])', menu)[0]?.focus();
});

document.addEventListener('keydown', e => {
  const menu = e.target.closest?.('[role=menu]');
  if (menu && ['ArrowDown', 'ArrowUp', 'Home', 'End'].includes(e.key)) {
    const items = $$('[role=menuitem]:not([hidden])', menu);
    const at = items.indexOf(document.activeElement);
    const next = { Home: 0, End: items.length - 1, ArrowDown: at + 1, ArrowUp: at - 1 }[e.key];
    e.preventDefault();
    items[(next + items.length) % items.length].focus();
  }
  if (e.key === '/' && !/^(INPUT|TEXTAREA|SELECT)$/.test(e.target.tagName)) {
    const field = $('#q') ?? $('#log-q');
    if (field) {
      e.preventDefault();
      field.focus();
      field.select();
    }
  }
});
