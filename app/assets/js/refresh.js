// Parts of a page that follow events: data-live="run action" names the types, data-live-id the object (all, when
// missing), data-live-src where the part is fetched from. Events carry numbers only; words come with the part.
import htmx from 'htmx.org';

import { $$, on, throttle } from './dom.js';

function refresh(part) {
  const node = document.getElementById(part);
  if (!node) return;
  // Not under the person's hands: a field being typed in or an open dialog waits.
  if (node.contains(document.activeElement) && /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
    setTimeout(() => refresh(part), 1000);
    return;
  }
  htmx.ajax('GET', node.dataset.liveSrc, { target: `#${part}`, swap: 'outerHTML' });
}

function concerns(node, type, data) {
  if (!node.dataset.live.split(' ').includes(type)) return false;
  const { liveId, liveServer } = node.dataset;
  if (type === 'run' && liveServer) return (data.names ?? []).includes(liveServer);
  if (type === 'action' && liveServer) return data.server === liveServer || String(data.server) === liveId;
  if (liveId && String(data.id) !== liveId) return false;
  return !(node.dataset.version && data.version && Number(data.version) <= Number(node.dataset.version));
}

const pending = new Map();

for (const type of ['server', 'run', 'action', 'cluster', 'notification']) {
  on(type, data => {
    for (const node of $$('[data-live]')) {
      if (!concerns(node, type, data)) continue;
      if (!pending.has(node.id)) pending.set(node.id, throttle(() => refresh(node.id), Number(node.dataset.liveEvery ?? 250)));
      pending.get(node.id)();
    }
  });
}

// Events were missed: everything on the page may be old. Once in ten seconds, so that a broken stream cannot spin.
on('reset', () => {
  const last = Number(sessionStorage.getItem('tpm:reset') ?? 0);
  if (Date.now() - last < 10_000) return;
  sessionStorage.setItem('tpm:reset', String(Date.now()));
  location.reload();
});
