// Forms: a sent form says so and cannot be sent twice; data-quiet forms are sent in the background and answer by a toast.
import { $, $$, csrf, say } from './dom.js';
import { toast } from './toast.js';

// A time zone is the person's own until he says otherwise.
for (const field of $$('[data-zone]')) {
  if (field.form.dataset.draft === 'fresh') field.value = Intl.DateTimeFormat().resolvedOptions().timeZone || field.value;
}

document.addEventListener('submit', e => {
  const form = e.target;
  if (e.defaultPrevented || form.method !== 'post') return;
  if ('quiet' in form.dataset) {
    e.preventDefault();
    send(form, e.submitter);
    return;
  }
  if (form.dataset.sent) {
    e.preventDefault();
    return;
  }
  form.dataset.sent = '1';
  e.submitter?.setAttribute('aria-busy', 'true');
});

async function send(form, button) {
  const body = new FormData(form, button);
  button?.setAttribute('aria-busy', 'true');
  button?.closest('[popover]')?.hidePopover();
  try {
    const answer = await fetch(button?.getAttribute('formaction') ?? form.getAttribute('action'), {
      method: 'POST',
      body,
      headers: { Accept: 'application/json', 'X-CSRFToken': csrf() },
    });
    const data = await answer.json();
    if (answer.ok) {
      toast('info', data.message, data.link);
      form.dispatchEvent(new CustomEvent('tpm-done', { bubbles: true, detail: data }));
    } else {
      toast('error', data.errors?.[0]?.message || data.detail || data.title);
    }
  } catch {
    toast('error', say('no_answer'));
  } finally {
    button?.removeAttribute('aria-busy');
  }
}

// Back from the history's cache: the buttons work again.
addEventListener('pageshow', e => {
  if (!e.persisted) return;
  for (const form of $$('[data-sent]')) {
    delete form.dataset.sent;
    $('[aria-busy]', form)?.removeAttribute('aria-busy');
  }
});

// The first bad field gets the focus, a summary is not needed.
$('[aria-invalid=true]')?.focus();

document.addEventListener('click', async e => {
  const button = e.target.closest('[data-copy]');
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    // Plain http has no clipboard: the text is selected instead.
    getSelection().selectAllChildren($(`#${button.dataset.copyFrom}`));
    return;
  }
  toast('success', say('copied'));
});

// <select data-go>: choosing is going.
document.addEventListener('change', e => {
  if (e.target.matches('[data-submit-on-change]')) e.target.form.requestSubmit();
});
