// The bell: unread count, its list when opened, and a toast for what is one's own. Text is fetched: events have none.
import htmx from 'htmx.org';

import { $, csrf, on } from './dom.js';
import { toast } from './toast.js';

function badge(unread) {
  const count = $('#unread');
  if (!count || unread == null) return;
  count.textContent = unread > 99 ? '99+' : unread;
  count.hidden = !unread;
}

$('#bell')?.addEventListener('tpm-open', e => {
  htmx.ajax('GET', e.target.dataset.src, { target: '#bell', swap: 'innerHTML' });
});

on('notification', async data => {
  badge(data.unread);
  if (!data.own || !data.id) return;
  try {
    const answer = await fetch(`/notifications/${data.id}/text`, { headers: { Accept: 'application/json' } });
    if (!answer.ok) return;
    const { text, severity, link } = await answer.json();
    toast(severity, text, link);
  } catch {
    // The inbox has it too.
  }
});

// Read in another tab or browser.
on('notification-read', data => badge(data.unread));

document.addEventListener('tpm-done', e => badge(e.detail.unread));

// Following a notification marks it read; the request outlives the page.
document.addEventListener('click', e => {
  const link = e.target.closest('a[data-read]');
  if (link) fetch(link.dataset.read, { method: 'POST', keepalive: true, headers: { Accept: 'application/json', 'X-CSRFToken': csrf() } });
});
