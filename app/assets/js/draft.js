// What is typed into a form[data-draft] survives an expired login, a 503 and a reload: kept in sessionStorage until the
// form was taken. Login and error pages carry data-keep-drafts on <body>.
import { $$ } from './dom.js';

const SENT = 'tpm:sent';
const key = path => `tpm:draft:${path}`;
const kept = field => field.name && !['hidden', 'password', 'file', 'submit', 'button'].includes(field.type) && !('noDraft' in field.dataset);

function read(form) {
  const values = {};
  for (const field of [...form.elements].filter(kept)) {
    if (field.type === 'radio') {
      if (field.checked) values[field.name] = field.value;
    } else {
      values[field.name] = field.type === 'checkbox' ? field.checked : field.value;
    }
  }
  return values;
}

function write(form, values) {
  for (const field of [...form.elements].filter(kept)) {
    if (!(field.name in values)) continue;
    if (field.type === 'radio') field.checked = field.value === values[field.name];
    else if (field.type === 'checkbox') field.checked = Boolean(values[field.name]);
    else field.value = values[field.name];
  }
}

try {
  const sent = sessionStorage.getItem(SENT);
  // With what it was opened for: another one like this is not what was begun before.
  const here = location.pathname + location.search;
  if (sent && sent !== here && !('keepDrafts' in document.body.dataset)) {
    sessionStorage.removeItem(key(sent));
    sessionStorage.removeItem(SENT);
  }
  for (const form of $$('form[data-draft]')) {
    // Sent and not taken: what was filled in is still to be kept.
    if (form.dataset.draft === 'answered') sessionStorage.removeItem(SENT);
    const saved = sessionStorage.getItem(key(here));
    // An answer with faults already carries the input.
    if (saved && form.dataset.draft !== 'answered') {
      form.dataset.kept = saved; // for what a script of the page adds
      write(form, JSON.parse(saved));
    }
    form.addEventListener('input', () => sessionStorage.setItem(key(here), JSON.stringify(read(form))));
    form.addEventListener('submit', () => {
      sessionStorage.setItem(key(here), JSON.stringify(read(form)));
      sessionStorage.setItem(SENT, here);
    });
  }
} catch {
  // Storage is blocked: the form works without.
}
