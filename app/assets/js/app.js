// The page shell. Everything else is loaded by the pages that need it.
import 'htmx.org';

import './theme.js';
import './popover.js';
import './confirm.js';
import './draft.js';
import './forms.js';
import './check.js';
import './times.js';
import './refresh.js';
import './bell.js';
import './status.js';
import { $, csrf, say } from './dom.js';
import { start } from './stream.js';
import { toast } from './toast.js';

document.addEventListener('htmx:config:request', e => {
  e.detail.ctx.request.headers['X-CSRFToken'] = csrf();
});
// A failed request never leaves a page in the dark.
for (const type of ['htmx:error', 'htmx:response:error']) {
  document.addEventListener(type, e => {
    const { ctx } = e.detail;
    const status = ctx?.response?.status;
    // Nobody asked for it, and the pill says that the page is not live: it is fetched again later.
    if (ctx?.unasked && status !== 401) document.dispatchEvent(new CustomEvent('tpm:missed'));
    else if (status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    else if (!status || status >= 500) toast('error', say('no_answer'));
  });
}

if ($('#palette')) await import('./palette.js');
if ($('#charts')) import('./charts.js');
if ($('#usage')) import('./usage.js');
if ($('#tbl')) await import('./rows.js');
if ($('#bulk') || $('#bulk-result')) await import('./pick.js');
if ($('#create')) await import('./create.js');
if ($('#log')) await import('./log.js');
start();
