// The server list: the newest value per server, painted at most every 100 ms and by textContent; row menu.
import htmx from 'htmx.org';

import { $, $$, connected, lang, on, say, throttle } from './dom.js';

let rows = new Map();
const index = () => {
  rows = new Map($$('#tbl [data-id]').map(row => [row.dataset.id, row]));
};

const setText = (node, text) => {
  if (node && node.textContent !== text) node.textContent = text;
};

function setBar(row, name, percent) {
  const bar = percent == null ? null : $(`[data-bar=${name}]`, row);
  if (!bar) return;
  $('.v', bar).setAttribute('width', `${percent}%`);
  setText($('.num', bar), `${percent}%`);
  const hot = percent >= 90 ? '2' : percent >= 75 ? '1' : '';
  if (hot) bar.dataset.hot = hot;
  else delete bar.dataset.hot;
}

function lock(sign, what) {
  if (!sign || sign.hidden === !what) return;
  sign.hidden = !what;
  sign.title = what ? say('locked', { x: what }) : '';
  setText(sign.lastElementChild, sign.title);
}

function setRow(row, d) {
  if (d.version && Number(row.dataset.version) > d.version) return; // an older event came late
  if (d.version) row.dataset.version = d.version;
  if (d.status && row.dataset.status !== d.status) {
    const status = $('.st', row);
    status.className = `st st-${d.status}`;
    setText(status.lastElementChild, say(`server.${d.status}`) || d.status);
    row.dataset.status = d.status;
    row.toggleAttribute('data-off', d.status !== 'running');
  }
  if (d.node) setText($('.c-node', row), d.node);
  const ip = Array.isArray(d.ip) ? d.ip[0] : d.ip;
  const shown = ip && $('.c-ip .copyable', row);
  if (shown) {
    setText(shown, ip);
    shown.dataset.copy = ip;
  } else if (ip) refetch(); // it had none: the table knows how one looks
  if ('lock' in d) lock($('.lock', row), d.lock);
  if ('busy' in d) row.toggleAttribute('data-busy', Boolean(d.busy));
  setBar(row, 'cpu', d.cpu);
  setBar(row, 'mem', d.mem);
}

// A server that came, went or changed its status moves the counts: the table is fetched again.
// Not under the person's hands: a selection and an open menu wait.
// Nor while the pointer moves over the rows: nothing goes from under it.
let pointed = 0;
document.addEventListener('pointermove', e => {
  if (e.target.closest?.('#tbl tbody')) pointed = Date.now();
}, { passive: true });
const busy = () => $('#tbl input:checked') || $('#row-menu:popover-open') || $('#confirm[open]') || Date.now() - pointed < 1500;
const refetch = throttle(async () => {
  await connected();
  if (busy()) {
    setTimeout(refetch, 1000);
    return;
  }
  htmx.ajax('GET', location.pathname + location.search, { target: '#tbl', swap: 'outerHTML', unasked: true });
}, 1000);
on('stale', refetch);

// A table on its way replaces what was focused meanwhile: the new one gets it back, before the next key comes (`after:swap`
// is some frames later). What is selected: pick.js.
const focusable = row => $$('a,button,input', row);
let focused = null;
document.addEventListener('htmx:before:swap', () => {
  const row = document.activeElement?.closest('#tbl [data-id]');
  focused = row && { id: row.dataset.id, at: focusable(row).indexOf(document.activeElement) };
});
new MutationObserver(() => {
  const fresh = focused && document.activeElement === document.body && $(`#tbl [data-id="${focused.id}"]`);
  if (fresh) focusable(fresh)[focused.at]?.focus({ preventScroll: true });
}).observe($('#tbl').parentNode, { childList: true });
// What was typed has been asked for already when the field is left.
$('#q')?.addEventListener('change', e => e.stopPropagation());

const elsewhere = new Map(); // servers not on this page → the status last heard
const changed = new Map();
let pending = 0;
function paint() {
  pending = 0;
  for (const [id, d] of changed) {
    const row = rows.get(id);
    const before = row ? row.dataset.status : elsewhere.get(id);
    if (d.deleted || d.created || (d.status && d.status !== before)) refetch();
    if (row) setRow(row, d);
    else if (d.status) elsewhere.set(id, d.status);
  }
  changed.clear();
}

on('server', data => {
  for (const d of data.items ?? [data]) changed.set(String(d.id), { ...changed.get(String(d.id)), ...d });
  pending ||= setTimeout(() => requestAnimationFrame(paint), 100);
});

// a kept view is what the address says when it is kept
$('#save-view')?.addEventListener('submit', e => {
  e.target.elements.query.value = location.search.slice(1);
});

// filter counts travel with the table
function counts() {
  const table = $('#tbl');
  if (!table?.dataset.counts) return;
  const by = JSON.parse(table.dataset.counts);
  for (const chip of $$('[data-count]')) {
    setText(chip, (by[chip.dataset.count] ?? 0).toLocaleString(lang));
    chip.closest('label').hidden = chip.dataset.count !== '' && !by[chip.dataset.count] && !$('input', chip.closest('label')).checked;
  }
}

document.addEventListener('htmx:after:swap', () => {
  index();
  counts();
});

// the row menu offers what fits the row's status
$('#row-menu')?.addEventListener('tpm-row', e => {
  const { name, status } = e.detail.dataset;
  const menu = e.currentTarget;
  for (const item of $$('[role=menuitem]', menu)) {
    if (item.dataset.when) item.hidden = !item.dataset.when.split(' ').includes(status);
    for (const place of ['href', 'formaction', 'data-confirm', 'data-confirm-type']) {
      const pattern = (item.pattern ??= {});
      if (item.hasAttribute(place)) pattern[place] ??= item.getAttribute(place);
      if (pattern[place]) item.setAttribute(place, pattern[place].replaceAll('__name__', name));
    }
  }
});

index();
