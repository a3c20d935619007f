// Parts of a page that follow events: data-live="run action" names the types, data-live-id the object (all, when
// missing), data-live-workspace whatever concerns that workspace, data-live-src where the part is fetched from (empty: the page's own address, as it is then). Events carry numbers only; words come with the part.
import htmx from 'htmx.org';

import { $$, on, throttle } from './dom.js';

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
  const keep = kept(node);
  // Its own source: of several requests of one element (the body, without this) htmx drops the third.
  const source = node.dataset.liveSrc || location.pathname + location.search;
  await htmx.ajax('GET', source, { source: node, target: `#${part}`, swap: 'outerHTML' });
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
  if (type === 'action' && liveServer) return data.server === liveServer || String(data.server) === liveId;
  if (liveId && String(data.id) !== liveId) return false;
  return !(node.dataset.version && data.version && Number(data.version) <= Number(node.dataset.version));
}

const pending = new Map();

for (const type of ['server', 'run', 'action', 'cluster', 'workspace', 'notification', 'notification-read']) {
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

// Events were missed: everything on the page may be old. Once in ten seconds, so that a broken stream cannot spin.
on('reset', () => {
  const last = Number(sessionStorage.getItem('tpm:reset') ?? 0);
  if (Date.now() - last < 10_000) return;
  sessionStorage.setItem('tpm:reset', String(Date.now()));
  location.reload();
});
