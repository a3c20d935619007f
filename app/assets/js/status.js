// The pill that says whether the page is live, and what happens when the session ends elsewhere.
import { $, on, say } from './dom.js';
import { toast } from './toast.js';

on('state', state => {
  const pill = $('#live');
  if (!pill) return;
  pill.dataset.s = state;
  pill.lastElementChild.textContent = state === 'live' ? pill.dataset.on : pill.dataset.off;
});

let leaving = false;
function signedOut() {
  if (leaving) return;
  leaving = true;
  toast('warning', say('signed_out'));
  setTimeout(() => location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`), 1200);
}

on('signed-out', signedOut);
// Rights or sessions changed: one question tells whether this one still holds.
on('session', async () => {
  const answer = await fetch('/session').catch(() => null);
  if (answer?.status === 401) signedOut();
});
