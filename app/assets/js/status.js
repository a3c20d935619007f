// The pill that says whether the page is live, and what happens when the session ends elsewhere.
import { $, on, say } from './dom.js';
import { toast } from './toast.js';

const pill = $('#live');
let timer = 0;
function show(state) {
  pill.dataset.s = state;
  pill.lastElementChild.textContent = state === 'live' ? pill.dataset.on : pill.dataset.off;
}

// A page that opens, or a connection that is back at once, says nothing; what lasts three seconds is worth a word.
function heard(state) {
  clearTimeout(timer);
  if (state === 'live') show(state);
  else timer = setTimeout(() => show('waiting'), 3000);
}
if (pill) {
  heard('connecting');
  on('state', heard);
}

let leaving = false;
function signedOut() {
  if (leaving) return;
  leaving = true;
  toast('warning', say('signed_out'));
  setTimeout(() => location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`), 1200);
}

on('signed-out', signedOut);
