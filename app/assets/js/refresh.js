// Parts of a page that follow events: data-live="run action" names the types, data-live-id the object (all, when
// missing), data-live-workspace whatever concerns that workspace, data-live-src where the part is fetched from (empty: the page's own address, as it is then). Events carry numbers only; words come with the part.
import htmx from 'htmx.org';

import { $, $$, connected, on, throttle } from './dom.js';

// Parts that are being fetched, and whether something happened meanwhile: one answer at a time, and the last word counts.
const running = new Map();

async function refresh(part) {
  if (running.has(part)) {
    running.set(part, true);
    return;
  }
  running.set(part, false);
  try {
    await fetched(part);
  } finally {
    const again = running.get(part);
    running.delete(part);
    if (again) refresh(part);
  }
}

async function fetched(part) {
  const node = document.getElementById(part);
  if (!node) return;
  // Not under the person's hands: a field being typed in or an open dialog waits.
  if (node.contains(document.activeElement) && /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
    setTimeout(() => refresh(part), 1000);
    return;
  }
  await connected();
  const keep = kept(node);
  // Its own source: of several requests of one element (the body, without this) htmx drops the third.
  const address = node.dataset.liveSrc || location.pathname + location.search;
  await htmx.ajax('GET', address, { source: node, target: `#${part}`, swap: 'outerHTML', unasked: true });
  keep(document.getElementById(part));
}

// What a person opened and typed stays as it was: the new part gets it back.
function kept(node) {
  const open = new Map($$('details[data-key]', node).map(d => [d.dataset.key, d.open]));
  const typed = $$('input[id],textarea[id]', node).filter(f => f.value !== f.defaultValue).map(f => [f.id, f.value]);
  return fresh => {
    for (const d of fresh ? $$('details[data-key]', fresh) : []) d.open = open.get(d.dataset.key) ?? d.open;
    for (const [id, value] of typed) {
      const field = document.getElementById(id);
      if (field && fresh?.contains(field)) field.value = value;
    }
  };
}

function concerns(node, type, data) {
  if (!node.dataset.live.split(' ').includes(type)) return false;
  const { liveId, liveServer, liveWorkspace } = node.dataset;
  if (liveWorkspace) return String(data.workspace) === liveWorkspace;
  if (type === 'run' && liveServer) return (data.names ?? []).includes(liveServer);
  if (type === 'safe_change' && liveServer) return data.server === liveServer;
  if (type === 'action' && liveServer) return data.server === liveServer || String(data.server) === liveId;
  if (liveId && String(data.id) !== liveId) return false;
  return !(node.dataset.version && data.version && Number(data.version) <= Number(node.dataset.version));
}

const pending = new Map();

// Whatever the page hears of; a log is followed by its own part alone.
const types = (document.body.dataset.stream ?? '').split(',').filter(type => type && type !== 'log');
for (const type of [...types, 'notification-read']) {
  on(type, data => {
    for (const node of $$('[data-live]')) {
      if (!concerns(node, type, data)) continue;
      if (!pending.has(node.id)) pending.set(node.id, throttle(() => refresh(node.id), Number(node.dataset.liveEvery ?? 250)));
      pending.get(node.id)();
    }
  });
}

// What takes its time is not waited for by the page: data-live-now is fetched after it.
for (const node of $$('[data-live-now]')) refresh(node.id);

// What could not be fetched is fetched when the stream is back, or after a while: events that are told of are not told again.
let later = 0;
function stale() {
  clearTimeout(later);
  later = 0;
  for (const node of $$('[data-live]')) refresh(node.id);
  document.dispatchEvent(new CustomEvent('tpm:stale'));
}
on('missed', () => {
  later ||= setTimeout(stale, 5000);
});
on('state', state => state === 'live' && later && stale());

// Events were missed: everything on the page may be old, and it is fetched anew as a whole. Under the person's hands
// only the parts that refresh by themselves are, and the page when they are done; not without a network, which would
// leave the browser's own error page; and once in ten seconds at most, so that a broken stream cannot spin.
const PAUSE = 10_000;
const pause = () => PAUSE - (Date.now() - Number(sessionStorage.getItem('tpm:reset') ?? 0));
const typing = () => $('dialog[open]') || $$('form[method=post] :is(input, textarea)').some(f => f.type !== 'hidden' && f.value !== f.defaultValue);
let due = 0;
function anew() {
  clearTimeout(due);
  if (pause() > 0 || typing() || !navigator.onLine) {
    due = setTimeout(anew, Math.max(pause(), 1000));
    return;
  }
  sessionStorage.setItem('tpm:reset', String(Date.now()));
  location.reload();
}
on('reset', () => {
  if (pause() > 0 || typing()) stale();
  anew();
});
