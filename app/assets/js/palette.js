// Ctrl-K: a few letters, then Enter. The server finds; here is only the keyboard. "?" shows what keys there are.
import htmx from 'htmx.org';

import { $, $$ } from './dom.js';

const dialog = $('#palette');
const input = $('#pal-q');
const list = $('#pal-list');
let running = null;
let shown = null; // the words that the list is for

function choose(option) {
  for (const other of $$('[role=option]', list)) other.setAttribute('aria-selected', String(other === option));
  if (option) {
    input.setAttribute('aria-activedescendant', option.id);
    option.scrollIntoView({ block: 'nearest' });
  } else input.removeAttribute('aria-activedescendant');
}

// One request at a time: what is typed meanwhile is asked for next.
async function ask() {
  let words;
  do {
    words = input.value;
    await htmx.ajax('GET', `${dialog.dataset.src}?q=${encodeURIComponent(words)}`, { target: '#pal-list', swap: 'innerHTML' });
  } while (words !== input.value);
  shown = words;
  choose($('[role=option]', list));
}

function find() {
  running ??= ask().finally(() => {
    running = null;
  });
  return running;
}

function open() {
  if (dialog.open) return;
  for (const other of $$('dialog[open]')) other.close();
  input.value = '';
  dialog.showModal();
  find();
}

function move(by) {
  const options = $$('[role=option]', list);
  const at = options.findIndex(option => option.getAttribute('aria-selected') === 'true');
  if (options.length) choose(options[(at + by + options.length) % options.length]);
}

let waits = 0;
input.addEventListener('input', () => {
  clearTimeout(waits);
  waits = setTimeout(find, 60);
});
input.addEventListener('keydown', async e => {
  if (e.key === 'ArrowDown' || e.key === 'ArrowUp') move(e.key === 'ArrowDown' ? 1 : -1);
  else if (e.key === 'Enter') {
    e.preventDefault();
    // What was typed last may not have been asked for yet.
    clearTimeout(waits);
    if (shown !== input.value) await find();
    $('[role=option][aria-selected=true]', list)?.click();
  } else return;
  e.preventDefault();
});
list.addEventListener('click', e => {
  if (e.target.closest('a[role=option]')) dialog.close();
});
// Also after a question, whose answer sends the form without another click.
$('#pal-form').addEventListener('submit', () => dialog.close());
dialog.addEventListener('click', e => {
  if (e.target === dialog) dialog.close();
});

const typing = element => /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName) || element.isContentEditable;
document.addEventListener('keydown', e => {
  if ((e.ctrlKey || e.metaKey) && !e.shiftKey && !e.altKey && e.key.toLowerCase() === 'k') {
    e.preventDefault();
    dialog.open ? dialog.close() : open();
  } else if (e.key === '?' && !e.ctrlKey && !e.metaKey && !typing(e.target) && !$('dialog[open]')) {
    e.preventDefault();
    $('#keys').showModal();
  }
});
for (const button of $$('[data-palette]')) button.addEventListener('click', open);
